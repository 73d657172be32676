"""What a trace says about one life of one actor: what it got, sent, and was answered. Pure."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from actors.errors import IllegalTransition
from actors.messages import Down, schema_of
from actors.tracing.events import TraceQueryError

if TYPE_CHECKING:
    from actors.tracing.events import TraceEvent
    from actors.tracing.reading import Trace

__all__ = ["At", "LifeRecord", "Received", "life_of"]

START: Final = "its start"
INTERRUPTED: Final = "handler ended:"
DOWN: Final = schema_of(Down).tag
FULL: Final = "mailbox full"


class At(NamedTuple):
    """An event, and how many events of the trace are before it."""

    position: int
    event: TraceEvent


@dataclass(slots=True)
class Received:
    """One message that a life has handled.

    Attributes:
        receive: when its handler began.
        sent: with the message itself; None when the trace begins after that.
        reply: the answer; None for a message that was not answered.
        done: when its handler ended; None when the trace ends before.
        interrupted: when its handler was ended by the runtime; None if it was not.
    """

    receive: At
    sent: TraceEvent | None = None
    reply: TraceEvent | None = None
    done: At | None = None
    interrupted: At | None = None

    @property
    def number(self) -> int:
        """Of the message."""
        return self.receive.event.msg_id


@dataclass(slots=True)
class LifeRecord:
    """One life.

    Attributes:
        path: of the actor.
        start: of the life.
        messages: in the order in which they were handled.
        sends: by what was being handled: messages, and requests that were refused, in their order.
        answers: to what it has asked, by number.
        wait_ends: by number of the wait.
        job_ends: by what was being handled and the name of the job, in their order.
        starts: of children: when each wait for one began and what it was for.
        children: what happened to actors right below: starts, ends and restarts, by path.
        states: moves of the lifecycle.
        kept: the state that it was handed by the life before; None for none.
        full: numbers of messages that found no room.
        end: of the life; None when it was there to the end of the trace.
    """

    path: str
    start: At
    messages: list[Received] = field(default_factory=list)
    sends: dict[int, deque[At]] = field(default_factory=lambda: defaultdict(deque))
    answers: dict[int, At] = field(default_factory=dict)
    wait_ends: dict[int, At] = field(default_factory=dict)
    job_ends: dict[tuple[int, str], deque[At]] = field(default_factory=lambda: defaultdict(deque))
    starts: deque[At] = field(default_factory=deque)
    children: dict[str, list[At]] = field(default_factory=lambda: defaultdict(list))
    states: list[At] = field(default_factory=list)
    kept: TraceEvent | None = None
    full: set[int] = field(default_factory=set)
    end: At | None = None

    @property
    def incarnation(self) -> int:
        """Which life."""
        return self.start.event.incarnation

    @property
    def joined(self) -> list[str]:
        """Moves of the lifecycle before the first message: of the epoch that it was started into."""
        first = self.messages[0].receive.position if self.messages else float("inf")
        return [at.event.type for at in self.states if at.position < first and at.event.cause_id == 0]


def life_of(trace: Trace, path: str, incarnation: int | None) -> LifeRecord:
    """Read what a trace says about a life, in one pass.

    Args:
        trace: the run.
        path: of the actor, or the last part of one.
        incarnation: which life, the last one by default. Of two actors that had the path, the later one.

    Raises:
        TraceQueryError: there is no such actor or life, or a part of it is not in the trace.
    """
    path = _known(trace, path)
    if trace.rotated:
        raise TraceQueryError(
            f"a part of the trace was deleted, and what {path} was sent then is not known: record the run "
            "with a larger bytes_max"
        )
    reader = _Reader(path)
    for position, event in enumerate(trace):
        reader.take(At(position, event))
    lives = [life for life in reader.lives if incarnation in {None, life.incarnation}]
    if lives:
        return lives[-1]
    if not path.startswith("/"):
        raise TraceQueryError(f"{path} is code outside the tree: only an actor can be replayed")
    if not reader.lives:
        raise TraceQueryError(
            f"the start of {path} is not in the trace, which begins later: only a whole life can be replayed"
        )
    known = ", ".join(str(life.incarnation) for life in reader.lives)
    raise TraceQueryError(f"{path} has no life {incarnation} in the trace; there is {known}")


def _known(trace: Trace, path: str) -> str:
    actors = trace.actors
    if path in actors:
        return path
    ending = [actor for actor in actors if actor.endswith(f"/{path.strip('/')}")]
    if len(ending) == 1:
        return ending[0]
    there = ", ".join(ending or [actor for actor in actors if actor.startswith("/")][:20])
    raise TraceQueryError(f"there is no actor {path} in the trace, but {there or 'no actor at all'}")


class _Reader:
    """Sorts the events of a trace into the lives of one actor.

    Attributes:
        lives: found so far, the latest last.
    """

    def __init__(self, path: str) -> None:
        self.lives: list[LifeRecord] = []
        self._path = path
        self._below = f"{path}/"
        self._sent: dict[int, TraceEvent] = {}
        self._answers: dict[int, At] = {}
        self._kept: TraceEvent | None = None
        self._under_way: dict[int, Received] = {}

    def take(self, at: At) -> None:
        event = at.event
        if event.kind == "gap" and self.lives and self.lives[-1].end is None:
            raise TraceQueryError(f"events of the life of {self._path} are missing: {event.detail}")
        if event.actor == self._path:
            self._take_own(at)
        elif event.kind == "reply" and event.detail == self._path:
            if self.lives:
                self.lives[-1].answers[event.msg_id] = at
        elif self.lives and event.kind in {"start", "end", "restart"} and self._is_child(event.actor):
            self.lives[-1].children[event.actor].append(at)
        if event.kind == "send" and event.detail == self._path:
            self._sent[event.msg_id] = event

    def _is_child(self, actor: str) -> bool:
        return actor.startswith(self._below) and "/" not in actor.removeprefix(self._below)

    def _take_own(self, at: At) -> None:
        event = at.event
        if event.kind == "start":
            if event.incarnation == 1:
                self._kept = None
            self.lives.append(LifeRecord(self._path, at))
            self._under_way.clear()
        elif event.kind == "snapshot":
            self._kept = event
        elif self.lives and event.incarnation == self.lives[-1].incarnation:
            self._take_of_life(self.lives[-1], at)

    def _take_of_life(self, life: LifeRecord, at: At) -> None:  # noqa: C901, PLR0912 - one row for each kind of event
        event = at.event
        match event.kind:
            case "receive":
                received = Received(at, self._sent.pop(event.msg_id, None))
                life.messages.append(received)
                self._under_way[event.msg_id] = received
            case "reply" if event.msg_id in self._under_way:
                self._under_way[event.msg_id].reply = event
            case "drop" if event.msg_id in self._under_way and event.detail.startswith(INTERRUPTED):
                self._under_way[event.msg_id].interrupted = at
            case "done" if event.msg_id in self._under_way:
                self._under_way.pop(event.msg_id).done = at
            case "refuse" if event.detail.startswith(IllegalTransition.__name__):
                pass  # no message was to be sent
            case "send" if event.type == DOWN:
                pass  # the runtime sends those, to the actor itself or when it has ended
            case "send" | "refuse":
                life.sends[event.cause_id].append(at)
            case "drop" if event.detail == FULL:
                life.full.add(event.msg_id)
            case "wait" if event.detail == START:
                life.starts.append(at)
            case "wait_end":
                life.wait_ends[event.wait_id] = at
            case "job_end":
                life.job_ends[event.cause_id, event.type].append(at)
            case "state":
                life.states.append(at)
            case "restore":
                life.kept = event if event.payload else self._kept or event
            case "end":
                life.end = at
