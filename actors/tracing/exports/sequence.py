"""A trace as a sequence diagram in Mermaid's language, which forges and many editors draw.

solid arrow       a message, when it is sent
broken arrow      its answer
arrow and cross   a message, or an answer, that nobody has heard
bar               a handler is at work
note              states, jobs, errors, ends, restarts, refusals
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from actors.tracing.events import TraceQueryError
from actors.tracing.exports.spans import apart, spans_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from actors.tracing.exports.spans import Handler, Job, Message, Spans
    from actors.tracing.reading import Trace

__all__ = ["sequence"]

LIMIT: Final = 200
TEXT_MAX: Final = 120
NAMES_SHOWN: Final = 12

# Moments that are worth a note. The start of a first life, and what is kept of a state, would be in the way.
_NOTED: Final = frozenset(
    {"state", "end", "restart", "error", "refuse", "full", "fault", "blocked", "gap", "dump"}
)
# These become entities: Mermaid would take `;` and `#` for the end of a statement and a comment, `%%` and `{`
# for directives, `<` for a tag, and `:` after certain words for styles.
_UNSAFE: Final = re.compile(r"[^\w ./()+,='!?|@*\[\]-]")
# Steps of the same time: what belongs to a handler lies between its beginning and its end.
_BEGIN, _SHOWN, _END = range(3)


class _Step(NamedTuple):
    """One line of the diagram.

    Attributes:
        time_s: when.
        rank: decides between steps of the same time.
        actors: who is in it; the line has `{0}` and `{1}` in their places.
        line: the line.
        bar: number of the handler whose bar it begins or ends, None for anything that is shown by itself.
    """

    time_s: float
    rank: int
    actors: tuple[str, ...]
    line: str
    bar: int | None = None


def sequence(
    trace: Trace, *, message: int | None = None, actors: Collection[str] | None = None, limit: int = LIMIT
) -> str:
    """The trace, or a part of it, as the text of a Mermaid sequence diagram.

    Args:
        trace: a recorded run.
        message: only this message and whatever it has caused.
        actors: only what these have a part in, by path or by the last part of it.
        limit: at most so many arrows and notes, the first ones; a last note says how many are left out.

    Raises:
        TraceQueryError: there is no such message or actor in the trace.
        ValueError: `limit` is not positive.
    """
    if limit < 1:
        raise ValueError(f"limit must be positive, got {limit}")
    found = spans_of(apart(trace), trace.begin_s)
    about = None if message is None else _tree(found, message)
    chosen = None if actors is None else _chosen(found, actors)
    steps = [step for step in _steps(found, about) if chosen is None or not chosen.isdisjoint(step.actors)]
    steps.sort(key=lambda step: step[:2])
    return _drawn(found, *_first(steps, limit))


def _tree(found: Spans, root: int) -> frozenset[int]:
    """Numbers of a message and of all that it has caused."""
    below: dict[int, list[int]] = {}
    for message in found.messages:
        below.setdefault(message.cause_id, []).append(message.msg_id)
    numbers = {message.msg_id for message in found.messages} | {handler.msg_id for handler in found.handlers}
    if root not in numbers:
        there = f"its messages are {min(numbers)} to {max(numbers)}" if numbers else "it has no messages"
        raise TraceQueryError(f"there is no message {root} in this trace: {there}")
    tree, fresh = {root}, [root]
    while fresh:
        fresh = [number for parent in fresh for number in below.get(parent, ()) if number not in tree]
        tree.update(fresh)
    return frozenset(tree)


def _chosen(found: Spans, names: Collection[str]) -> frozenset[str]:
    chosen: set[str] = set()
    for name in names:
        same = {actor for actor in found.actors if name in {actor, actor.rpartition("/")[2]}}
        if not same:
            shown = ", ".join(found.actors[:NAMES_SHOWN])
            more = len(found.actors) - NAMES_SHOWN
            shown += f" and {more} more" if more > 0 else ""
            raise TraceQueryError(f"there is no actor {name!r} in this trace: it has {shown or 'none'}")
        chosen |= same
    return frozenset(chosen)


def _steps(found: Spans, about: frozenset[int] | None) -> Iterator[_Step]:
    """All that can be shown, in no order."""
    for message in found.messages:
        if about is None or message.msg_id in about:
            yield from _arrows(message)
    for number, handler in enumerate(found.handlers):
        if about is None or handler.msg_id in about:
            yield from _bar(number, handler, found.end_s)
    for job in found.jobs:
        if about is None or job.msg_id in about:
            yield from _work(job)
    yield from _notes(found, about)


def _notes(found: Spans, about: frozenset[int] | None) -> Iterator[_Step]:
    arrows = {message.msg_id for message in found.messages if message.sender and message.receiver}
    for mark in found.marks:
        if about is not None and mark.msg_id not in about:
            continue
        if mark.kind == "state":
            yield _note(mark.time_s, mark.actor, mark.text)
        elif mark.kind in _NOTED:
            yield _note(mark.time_s, mark.actor, f"{mark.kind} {mark.text}")
        elif mark.kind == "drop" and mark.msg_id not in arrows:
            yield _note(mark.time_s, mark.actor, f"dead letter {mark.text}")


def _arrows(message: Message) -> Iterator[_Step]:
    ends = message.sender, message.receiver
    if not all(ends):
        return
    unheard = message.lost_s is not None and message.received_s is None
    if message.sent_s is not None:
        name = f"{message.type} ({message.msg_id})"
        text = _safe(f"{name} {message.lost}") if unheard else _safe(name)
        yield _Step(message.sent_s, _SHOWN, ends, f"{{0}}{'-x' if unheard else '->>'}{{1}}: {text}")
    if message.replied_s is not None:
        text = _safe(f"{message.reply_type or 'answer'} ({message.msg_id})")
        yield _Step(message.replied_s, _SHOWN, ends[::-1], f"{{0}}-->>{{1}}: {text}")
    elif message.lost_s is not None and not unheard:
        text = _safe(f"{message.lost} ({message.msg_id})")
        yield _Step(message.lost_s, _SHOWN, ends[::-1], f"{{0}}--x{{1}}: {text}")


def _bar(number: int, handler: Handler, end_s: float) -> Iterator[_Step]:
    end_s = end_s if handler.end_s is None else handler.end_s
    yield _Step(handler.begin_s, _BEGIN, (handler.actor,), "activate {0}", number)
    yield _Step(end_s, _END, (handler.actor,), "deactivate {0}", number)


def _work(job: Job) -> Iterator[_Step]:
    if job.left_behind:
        yield _note(job.asked_s, job.actor, f"job {job.name}")
        yield _note(
            job.asked_s if job.end_s is None else job.end_s, job.actor, f"job {job.name} {job.detail}"
        )
        return
    took = "goes on" if job.end_s is None else f"{1000 * (job.end_s - job.begin_s):.3g} ms"
    if job.begin_s > job.asked_s:
        took = f"queued {1000 * (job.begin_s - job.asked_s):.3g} ms, {took}"
    yield _note(job.asked_s, job.actor, f"job {job.name}, {took}")


def _note(time_s: float, actor: str, text: str) -> _Step:
    return _Step(time_s, _SHOWN, (actor,), f"Note over {{0}}: {_safe(text)}")


def _first(steps: list[_Step], limit: int) -> tuple[list[_Step], int]:
    """The first steps, with bars that begin before they end, and how many are left out."""
    shown: list[_Step] = []
    open_: dict[int, _Step] = {}
    drawn = 0
    for step in steps:
        if step.bar is None:
            if drawn == limit:
                break
            drawn += 1
        elif step.rank == _BEGIN:
            open_[step.bar] = step
        elif open_.pop(step.bar, None) is None:
            continue  # of a handler whose beginning is not shown
        shown.append(step)
    shown += [step._replace(line="deactivate {0}") for step in open_.values()]
    return shown, sum(step.bar is None for step in steps) - drawn


def _drawn(found: Spans, steps: list[_Step], left_out: int) -> str:
    there = {actor for step in steps for actor in step.actors}
    names = [actor for actor in found.actors if actor in there]
    ids = {name: f"p{number}" for number, name in enumerate(names)}
    lines = ["sequenceDiagram"]
    lines += _participants(names, ids)
    lines += [step.line.format(*(ids[actor] for actor in step.actors)) for step in steps]
    if not names:
        lines += ["participant p0 as nobody", "Note over p0: there is nothing to show"]
    elif left_out:
        ends = ",".join(dict.fromkeys((ids[names[0]], ids[names[-1]])))
        lines.append(f"Note over {ends}: {left_out} more arrows and notes are left out")
    return "\n    ".join(lines) + "\n"


def _participants(names: list[str], ids: dict[str, str]) -> Iterator[str]:
    """Actors as boxes, others as figures, each with the last part of its path if nobody else has the same."""
    short = [name.rpartition("/")[2] for name in names]
    for name, last in zip(names, short, strict=True):
        shape = "participant" if name.startswith("/") else "actor"
        own = name.startswith("/") and last and short.count(last) == 1
        yield f"{shape} {ids[name]} as {_safe(last if own else name)}"


def _safe(text: str) -> str:
    """Text that Mermaid shows as it is, on one line; what is longer than `TEXT_MAX` is cut off."""
    text = " ".join(text.split())
    if len(text) > TEXT_MAX:
        text = text[: TEXT_MAX - 1] + "…"
    return _UNSAFE.sub(_entity, text) or "-"


def _entity(found: re.Match[str]) -> str:
    return f"#{ord(found[0])};"
