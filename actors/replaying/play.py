"""`replay`: one life of one actor, played again."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from actors import ending
from actors.actor import Actor
from actors.delivery import Told
from actors.epochs import Scope
from actors.errors import ProtocolError
from actors.host import HANDLER_TIMEOUT_S, ChildSpec, Host
from actors.replaying.bodies import packed_of
from actors.replaying.host import Ghost, InlineJobs, ReplayedCell, ReplayedDelivery
from actors.replaying.loop import ReplayLoop
from actors.replaying.record import life_of
from actors.replaying.refs import Refs
from actors.replaying.script import Orders, Script
from actors.tracing.events import TraceQueryError
from actors.tracing.payloads import Arguments, read_payload
from actors.tracing.reading import Trace
from actors.waits import OUTSIDE, Deadlines, WaitTable

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from actors.replaying.bodies import Rebuild
    from actors.replaying.record import LifeRecord
    from actors.replaying.report import Replay

__all__ = ["replay"]

# Numbers of what happens now; those of the record are smaller.
IDS_FROM: Final = 1 << 61
UNWIND_TURNS: Final = 16
FOREVER_S: Final = 1e9


def replay(
    trace: Trace | Path | str,
    actor: str,
    make: Callable[[], Actor] | None = None,
    *,
    incarnation: int | None = None,
    until: int | None = None,
    stop_at: int | None = None,
    on_message: Callable[[int, Any], None] | None = None,
    rebuild: Rebuild | None = None,
    ignore: Collection[str] = (),
    strict: bool = False,
) -> Replay:
    """Hand one actor the messages of a recorded life again, in their order, and compare what it does.

    Everything runs in the calling thread, jobs too, so breakpoints stop; the clock stands at the time of the
    record, so nothing expires meanwhile. What the actor asks is answered from the record, whom it starts is
    not started. Not controlled are files, sockets, random numbers, clocks other than the loop's, and memory
    that it shares with others: those are the matter of `make`.

    Args:
        trace: a file, or what was read from one; recorded with payloads.
        actor: its path, or the last part of that.
        make: makes the actor; by default its class is called with the arguments in the record.
        incarnation: which life, the last one by default.
        until: number of the last message to be handled; by default all are.
        stop_at: number of a message before whose handler the debugger is entered, as by `breakpoint()`.
        on_message: called with number and body of each message, before its handler.
        rebuild: makes a message of one whose arrays were recorded as hashes; None if it cannot. What it makes
            must have those hashes.
        ignore: fields that may differ, each as `tag.field`; for what was measured, such as times.
        strict: raise at the first difference.

    Raises:
        ReplayDiffers: it is strict, and something differs.
        TraceQueryError: there is no such actor, life or message in the trace, or not enough of it.
        ProtocolError: the trace is damaged, or has messages of a class that is not known here.
        OSError: it cannot be read.
        RuntimeError: called while an event loop runs in this thread.
        Exception: whatever `make` or `on_message` raises.
    """
    _check_no_loop()
    trace = trace if isinstance(trace, Trace) else Trace.open(Path(trace))
    record = life_of(trace, actor, incarnation)
    numbers = {received.number for received in record.messages}
    for wanted in (until, stop_at):
        if wanted is not None and wanted not in numbers:
            known = f"{min(numbers)} to {max(numbers)}" if numbers else "none at all"
            raise TraceQueryError(f"{record.path} has not handled message {wanted}; its numbers are {known}")
    orders = Orders(
        until=until, stop_at=stop_at, on_message=on_message, rebuild=rebuild, ignore=ignore, strict=strict
    )
    make = make or _maker(record)
    loop = ReplayLoop(record.start.event.time_s)
    # Not `asyncio.run`, for which a first Ctrl-C would only be a wish: a job here may never come back.
    playing = loop.create_task(_play(loop, record, make, orders))
    try:
        return loop.run_until_complete(playing)
    finally:
        if not playing.done():
            playing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                loop.run_until_complete(playing)
        loop.close()


def _check_no_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError("a replay runs in a plain script: an event loop is running in this thread already")


async def _play(loop: ReplayLoop, record: LifeRecord, make: Callable[[], Actor], orders: Orders) -> Replay:
    script = Script(record, Refs(_payloads(record)), orders, loop)
    cell = script.cell = _cell(record, make, script, loop)
    loop.prompter = script
    try:
        cell.start()
        await script.finished
    finally:
        loop.prompter = None
        ending.abandon(cell, "the replay is over")
        for _ in range(UNWIND_TURNS):
            await asyncio.sleep(0)
    return script.outcome()


def _cell(record: LifeRecord, make: Callable[[], Actor], script: Script, loop: ReplayLoop) -> ReplayedCell:
    """The actor's place, as it was when its life began."""

    def made() -> Actor:
        try:
            return make()
        except Exception as error:
            script.fail(error)
            raise

    refs = script.refs
    above, _, name = record.path.rpartition("/")
    deadlines = Deadlines(loop)
    deadlines.ids = itertools.count(IDS_FROM)
    delivery = ReplayedDelivery(loop, WaitTable(loop, deadlines, None), script)
    host = Host(delivery, deadlines, InlineJobs(script))
    parent = Ghost(refs.of(above)) if above else None
    kind: Any = made  # what a cell calls to have its actor
    spec = ChildSpec(actor=kind, args=(), kwargs={}, supervision=None, handler_timeout_s=HANDLER_TIMEOUT_S)
    cell = ReplayedCell(host, parent, name, spec, script)
    cell.ref = refs.of(record.path)
    cell.incarnation = record.incarnation - 1
    if record.kept is not None:
        cell.snapshot = Told(packed_of(record.kept, None), OUTSIDE, 0)
    if parent is not None and record.incarnation > 1 and record.joined:
        epoch = int(record.joined[0].rpartition("(")[2].rstrip(")"))
        until_s = record.start.event.time_s + FOREVER_S
        parent.scope = Scope(epoch, (cell.ref,), until_s, finishing=len(record.joined) > 1)
    return cell


def _payloads(record: LifeRecord) -> list[bytes]:
    events = [received.sent for received in record.messages if received.sent is not None]
    events += [at.event for at in record.answers.values()]
    events += [at.event for queue in record.sends.values() for at in queue]
    return [event.payload for event in events]


def _maker(record: LifeRecord) -> Callable[[], Actor]:
    """What makes the actor from the record alone.

    Raises:
        TraceQueryError: the record does not say enough.
    """
    event = record.start.event
    remedy = f"give `make`, such as replay(trace, {record.path!r}, lambda: {event.type}(...))"
    module, _, qualname = event.detail.partition(":")
    try:
        kind: Any = importlib.import_module(module) if qualname else None
        for part in qualname.split(".") if kind is not None else ():
            kind = getattr(kind, part)
    except (ImportError, AttributeError) as error:
        raise TraceQueryError(f"{event.type} cannot be imported ({error}): {remedy}") from error
    if not (isinstance(kind, type) and issubclass(kind, Actor)):
        raise TraceQueryError(f"the trace does not say which class {record.path} is of: {remedy}")
    if not event.payload:
        raise TraceQueryError(f"the arguments of {event.type} are not in the trace: {remedy}")
    try:
        given = read_payload(event.payload).rebuild()
    except ProtocolError as error:
        raise TraceQueryError(f"the arguments of {event.type} cannot be read ({error}): {remedy}") from error
    if not isinstance(given, Arguments) or given.missing:
        missing = "; ".join(given.missing) if isinstance(given, Arguments) else "they are no arguments"
        raise TraceQueryError(f"not all arguments of {event.type} are in the trace ({missing}): {remedy}")
    return lambda: kind(*given.args, **given.kwargs)
