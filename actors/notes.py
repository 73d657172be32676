"""What an error tells besides its text: who waited for whom just then, and who had asked for it.

Notes are made when an error is made, never before, from the tables as they are at that moment. Each is one
line, and an error has `NOTES_MAX` of them at most.

    of_expiry       a wait is over: the chain of waits from the waiter down, and what the last one does
    of_end          an incarnation has ended: which life, at which message, and for whom
    of_asker        who had asked it, and on whose behalf
    of_jobs         no thread is left: where those are that hold them
    of_refusal      a request was not admitted: how its recipient stands, and for whom it was made
    notes_of        the notes of an error and of its causes, to be handed on to another error
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, Protocol, TypeVar, runtime_checkable

from actors.waits import OUTSIDE, Wait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from actors.cell import Cell
    from actors.delivery import Delivery
    from actors.host import Run
    from actors.jobs import JobExecutor
    from actors.waits import Origin

__all__ = [
    "NOTES_MAX",
    "describe_run",
    "describe_wait",
    "next_waits",
    "notes_of",
    "of_asker",
    "of_end",
    "of_expiry",
    "of_jobs",
    "of_refusal",
    "with_notes",
]

NOTES_MAX: Final = 12
# Of them, those that tell a chain; what is longer is cut in the middle.
CHAIN_MAX: Final = 8
LATEST_MAX: Final = 3
NOTE_CHARS_MAX: Final = 400
CAUSES_MAX: Final = 16

E = TypeVar("E", bound=BaseException)
T = TypeVar("T")
P = ParamSpec("P")


def _harmless(make: Callable[Concatenate[T, P], list[str]]) -> Callable[Concatenate[T, P], list[str]]:
    """Whatever goes wrong while notes are made is a note: the error itself must reach whoever waits."""

    @wraps(make)
    def made(about: T, /, *args: P.args, **kwargs: P.kwargs) -> list[str]:
        try:
            return make(about, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - an error of the user may raise anything when it is looked at
            return [f"(no explanation: {type(error).__name__})"]

    return made


@runtime_checkable
class _Letter(Protocol):
    """A message in a mailbox, or an ask."""

    @property
    def tag(self) -> str: ...

    @property
    def msg_id(self) -> int: ...

    @property
    def origin(self) -> Origin: ...


def with_notes(error: E, lines: Iterable[str]) -> E:
    """Add notes to an error, and return it; those that it has already are not added again."""
    has = getattr(error, "__notes__", ())
    for line in lines:
        if line not in has:
            error.add_note(line)
    return error


@_harmless
def notes_of(error: BaseException | None) -> list[str]:
    """The one-line notes of an error and of those that caused it, `NOTES_MAX` at most."""
    lines: dict[str, None] = {}
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        notes = getattr(error, "__notes__", ())
        if isinstance(notes, (list, tuple)):
            lines |= dict.fromkeys(note for note in notes if isinstance(note, str) and "\n" not in note)
        error = error.__cause__
    return _shortened([_clipped(line) for line in lines], NOTES_MAX)


@_harmless
def of_expiry(delivery: Delivery, wait: Wait) -> list[str]:
    """The chain of waits from the waiter down, and what the last one is doing."""
    now_s = delivery.clock()
    chain = _chain(delivery, wait)
    lines = _shortened([describe_wait(each, now_s) for each in chain], CHAIN_MAX)
    last = chain[-1]
    standing = _standing(delivery, last, now_s)
    if standing:
        lines.append(standing)
    return _clip_all([*lines, *_latest(delivery, last.target, now_s)])


@_harmless
def of_end(delivery: Delivery, cell: Cell, reason: str) -> list[str]:
    """Which life of an actor has ended, with which message in hand, and who had asked for that."""
    now_s = delivery.clock()
    lines = [f"{cell.path} ({cell.spec.actor.__name__}) ended in life {cell.incarnation}: {reason}"]
    if cell.last_run is not None:
        lines.append(f"{cell.path} had begun with {_work(cell.last_run, now_s)}")
        if cell.last_run.entry is not None:
            lines += _causes(delivery, cell.last_run.entry, now_s)
    return _clip_all([*_shortened(lines, CHAIN_MAX), *_latest(delivery, cell.path, now_s)])


@_harmless
def of_asker(delivery: Delivery, ask: Wait) -> list[str]:
    """Who asked, and on whose behalf."""
    return _clip_all(_shortened(_causes(delivery, ask, delivery.clock()), CHAIN_MAX))


@_harmless
def of_refusal(delivery: Delivery, origin: Origin, path: str) -> list[str]:
    """How the actor at `path` stands, for whom it waits, and on whose behalf `origin` wanted it."""
    now_s = delivery.clock()
    lines = [line for line in [_doing(delivery, path, now_s)] if line]
    waits = next_waits(delivery, path)
    if waits:
        lines += [describe_wait(each, now_s) for each in _chain(delivery, waits[0])]
    return _clip_all(_shortened([*lines, *_behalf(delivery, origin, now_s)], CHAIN_MAX))


@_harmless
def of_jobs(executor: JobExecutor) -> list[str]:
    """Where each job is that holds a thread."""
    lasts = {name: stack.rstrip().rpartition("  File ")[2] for name, stack in executor.stacks().items()}
    return _clip_all(_shortened([f"{name} is at {last}" for name, last in lasts.items()], NOTES_MAX))


def describe_wait(wait: Wait, now_s: float) -> str:
    """Who waits for whom, why and for how long, in words."""
    return f"{wait.waiter} waits for {wait.target} ({wait.reason}) for {max(0.0, now_s - wait.since_s):.1f} s"


def describe_run(run: Run, now_s: float) -> str:
    """What a handler is doing, in words."""
    return f"{run.name} handles {_work(run, now_s)}"


def next_waits(delivery: Delivery, path: str) -> list[Wait]:
    """Those waits of an actor that nothing has ended yet, oldest first."""
    return [wait for wait in delivery.waits.of(path) if wait.open]


def _chain(delivery: Delivery, wait: Wait) -> list[Wait]:
    chain = [wait]
    while (below := next_waits(delivery, chain[-1].target)) and below[0] not in chain:
        chain.append(below[0])
    return chain


def _standing(delivery: Delivery, wait: Wait, now_s: float) -> str:
    """What the last one of a chain does, and whether it has begun with what it was asked for."""
    if (job := delivery.waits.jobs.get(wait.wait_id)) is not None:
        return f"{wait.target}: {job.last_seen()}"
    doing = _doing(delivery, wait.target, now_s)
    begun = getattr(wait, "incarnation", None)
    if doing and isinstance(wait, _Letter) and begun == 0:
        return f"{doing}, and has not begun with {_named(wait)}"
    return doing


def _doing(delivery: Delivery, path: str, now_s: float) -> str:
    """What an actor does just now; empty for what is no actor."""
    cell: Any = delivery.recipients.get(path)
    if cell is None or not cell.takes_asks:
        return f"{path} is not there any more" if path.startswith("/") and cell is None else ""
    queued = f"{len(cell.mailbox)} queued"
    if cell.run is not None:
        return f"{describe_run(cell.run, now_s)}, {queued}"
    phase = cell.phase.value
    return f"{path} is {'idle' if phase == 'live' else phase}, {queued}"


def _work(run: Run, now_s: float) -> str:
    what = "a hook" if run.entry is None else _named(run.entry)
    return f"{what} for {max(0.0, now_s - run.begun_s):.1f} s"


def _named(letter: _Letter) -> str:
    return f"message {letter.msg_id} ({letter.tag})"


def _causes(delivery: Delivery, letter: Any, now_s: float) -> list[str]:
    """Who sent a message, while handling which other one, and so on up to code outside the tree."""
    lines: list[str] = []
    while isinstance(letter, _Letter) and len(lines) < CAUSES_MAX:
        verb = "asked" if isinstance(letter, Wait) else "told"
        ago = f" {max(0.0, now_s - letter.since_s):.1f} s before" if isinstance(letter, Wait) else ""
        lines.append(f"{_named(letter)} was {verb} by {letter.origin.name}{ago}")
        letter = _cause(delivery, letter.origin)
    return lines


def _behalf(delivery: Delivery, origin: Origin, now_s: float) -> list[str]:
    letter = _cause(delivery, origin)
    if letter is None:
        return []
    return [f"{origin.name} was handling {_named(letter)}", *_causes(delivery, letter, now_s)]


def _cause(delivery: Delivery, origin: Origin) -> _Letter | None:
    """The message during which something was sent, if that is still under way."""
    if origin is OUTSIDE or not origin.cause_id:
        return None
    letter: object = getattr(origin, "entry", None)  # of a run that is under way
    if letter is None:
        letter = delivery.waits.numbered(origin.cause_id)
    return letter if isinstance(letter, _Letter) else None


def _latest(delivery: Delivery, path: str, now_s: float) -> list[str]:
    """The last events of an actor, when a trace is in memory."""
    if delivery.tracer is None:
        return []
    return [
        f"{max(0.0, now_s - event.time_s):.3f} s before, {path}: "
        + " ".join(word for word in (event.kind, event.type, event.detail) if word)
        for event in delivery.tracer.latest(path, LATEST_MAX)
    ]


def _shortened(lines: Sequence[str], most: int) -> list[str]:
    if len(lines) <= most:
        return list(lines)
    head = most // 2
    tail = most - head - 1
    return [*lines[:head], f"... {len(lines) - head - tail} more ...", *lines[-tail:]]


def _clip_all(lines: Sequence[str]) -> list[str]:
    return [_clipped(line) for line in lines]


def _clipped(line: str) -> str:
    flat = " ".join(line.split())
    return flat if len(flat) <= NOTE_CHARS_MAX else f"{flat[:NOTE_CHARS_MAX]} ..."
