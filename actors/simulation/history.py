"""What must hold of a run, read from its trace: the laws, as statements about the order of events."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from actors.lifecycle import TRANSITIONS, Event, State
from actors.simulation.observer import AskLedger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actors.simulation.run import Simulation
    from actors.tracing import TraceEvent

__all__ = ["check", "check_lives", "check_losses", "check_order"]

DOWN = "actors.down"
# What travels in the system lane, and what the runtime asks: it has places of its own in the other lane.
SYSTEM_LANE = {DOWN, "actors.abort_epoch"}
RUNTIME = "actors."
SLACK_S = 1e-6
OUTSIDE = "outside/"  # prefix of the addresses that code outside the tree reads at its leisure


def check(events: list[TraceEvent], run: Simulation) -> Iterator[str]:
    """Yield what is wrong with a trace."""
    ledger = run.host.deadlines.waits if run.opened else None
    if isinstance(ledger, AskLedger):
        yield from check_lives(events, run.closing_at)
        yield from check_order(events)
        yield from _letters(events, ledger)
        yield from _answers(events, ledger)
        yield from _waits(events)
        yield from check_losses(events, run.host.delivery.dead_letters)


def check_lives(events: list[TraceEvent], closing_at: int | None = None) -> Iterator[str]:
    """Yield what is wrong with who lives when, who hears of whose end, and in which states they are.

    Args:
        events: the trace.
        closing_at: at which event the system begins to shut down, None for never.
    """
    return _Lives(events, closing_at).check()


@dataclass(slots=True)
class _Life:
    """One incarnation, while the trace is read."""

    path: str
    incarnation: int
    alive: bool = True
    state: State = State.IDLE
    epoch: int = 0
    handling: int = 0  # the message that it handles
    expected: Counter[str] = field(default_factory=Counter)  # who must hear of its end, how often
    told: Counter[str] = field(default_factory=Counter)

    @property
    def in_shutdown(self) -> bool:
        return self.state is State.SHUTDOWN


class _Lives:
    """Reads a trace from its start to its end, and knows who is alive."""

    def __init__(self, events: list[TraceEvent], closing_at: int | None) -> None:
        self._events = events
        self._closing_at = len(events) if closing_at is None else closing_at
        self._at = 0
        self._latest: dict[str, _Life] = {}
        self._ended: list[_Life] = []
        self._watchers: dict[str, dict[str, int]] = {}

    def check(self) -> Iterator[str]:
        readers: dict[str, Callable[[TraceEvent], Iterator[str]]] = {
            "start": self._start,
            "end": self._end,
            "restart": self._restart,
            "state": self._state,
            "watch": self._watch,
            "unwatch": self._unwatch,
            "send": self._send,
            "receive": self._receive,
            "reply": self._settled,
            "drop": self._settled,
            "done": self._settled,
        }
        for at, event in enumerate(self._events):
            self._at = at
            reader = readers.get(event.kind)
            if reader is not None:
                yield from reader(event)
        for life in self._ended:
            yield from _downs(life)

    def _alive(self, path: str) -> _Life | None:
        life = self._latest.get(path)
        return life if life is not None and life.alive else None

    def _start(self, event: TraceEvent) -> Iterator[str]:
        path = event.actor
        if self._alive(path) is not None:
            yield f"{path}#{event.incarnation} started while the one before it was alive"
        parent = _parent(path)
        if parent and self._alive(parent) is None:
            yield f"{path}#{event.incarnation} started, and its parent is not alive"
        if event.incarnation == 1:
            self._watchers[path] = {}  # another actor than the last one at this address
        self._latest[path] = _Life(path, event.incarnation)

    def _end(self, event: TraceEvent) -> Iterator[str]:
        life = self._alive(event.actor)
        if life is None:  # it was between two lives, and the restart that was promised is called off
            self._expect(self._latest[event.actor])
            return
        if event.detail.startswith(AssertionError.__name__):
            yield f"{life.path}#{life.incarnation} has failed: {event.detail}"
        life.alive = False
        for path, other in self._latest.items():
            if other.alive and _parent(path) == life.path:
                yield f"{life.path}#{life.incarnation} ended before its child {path}"
        self._expect(life)
        self._ended.append(life)

    def _expect(self, life: _Life) -> None:
        watchers = self._watchers[life.path].items()
        hearers = {path for path, number in watchers if path.startswith(OUTSIDE) or self._hears(path, number)}
        if self._hears(_parent(life.path)):
            hearers.add(_parent(life.path))
        life.expected.update(hearers)

    def _hears(self, path: str, incarnation: int | None = None) -> bool:
        life = self._alive(path)
        return life is not None and not life.in_shutdown and incarnation in {None, life.incarnation}

    def _restart(self, event: TraceEvent) -> Iterator[str]:
        parent = self._latest.get(_parent(event.actor))
        if self._at >= self._closing_at or (parent is not None and (parent.in_shutdown or not parent.alive)):
            yield f"{event.actor} is to be started again during a shutdown"

    def _state(self, event: TraceEvent) -> Iterator[str]:
        life = self._alive(event.actor)
        if life is None:
            yield f"{event.actor} is now {event.type}, and is not alive"
            return
        name, _, number = event.type.rstrip(")").partition("(")
        state, epoch = State(name), int(number) if number else life.epoch
        if not any(TRANSITIONS.get((life.state, moved)) is state for moved in Event):
            yield f"{life.path}#{life.incarnation} goes from {life.state.value} to {event.type}"
        if state is State.RUNNING and epoch <= life.epoch:
            yield f"{life.path}#{life.incarnation} begins epoch {epoch} after epoch {life.epoch}"
        if state is State.EPOCH_DONE and not event.detail:
            yield from self._epoch_done(life, epoch)
        life.state, life.epoch = state, epoch

    def _epoch_done(self, life: _Life, epoch: int) -> Iterator[str]:
        for path, child in self._latest.items():
            at_work = child.alive and child.state is State.RUNNING and child.epoch == epoch
            if at_work and _parent(path) == life.path:
                yield f"{life.path} has finished epoch {epoch}, and its child {path} has not"

    def _watch(self, event: TraceEvent) -> Iterator[str]:
        self._watchers.setdefault(event.type, {})[event.actor] = event.incarnation
        yield from ()

    def _unwatch(self, event: TraceEvent) -> Iterator[str]:
        self._watchers[event.type].pop(event.actor, None)
        yield from ()

    def _send(self, event: TraceEvent) -> Iterator[str]:
        if event.type != DOWN or event.actor == event.detail:  # the latter: "no such actor", from itself
            return
        life = self._latest[event.actor]
        if life.alive:
            yield f"{event.actor}#{event.incarnation} is said to be down, and is alive"
        life.told[event.detail] += 1

    def _receive(self, event: TraceEvent) -> Iterator[str]:
        if event.actor.startswith(OUTSIDE):  # code outside the tree has no lives
            return
        life = self._alive(event.actor)
        if life is None:
            yield f"{event.actor} handles message {event.msg_id}, and is not alive"
            return
        if life.handling:
            yield f"{event.actor} handles message {event.msg_id} while it handles {life.handling}"
        life.handling = event.msg_id

    def _settled(self, event: TraceEvent) -> Iterator[str]:
        life = self._alive(event.actor)
        if life is not None and life.handling == event.msg_id:
            life.handling = 0
        yield from ()


def _downs(life: _Life) -> Iterator[str]:
    for path in sorted({*life.expected, *life.told}):
        if life.told[path] != life.expected[path]:
            end = f"the end of {life.path}#{life.incarnation}"
            yield f"{path} heard {life.told[path]} times of {end}, not {life.expected[path]}"


def check_order(events: list[TraceEvent]) -> Iterator[str]:
    """The system lane comes before the user lane, and in the latter nobody overtakes anybody."""
    order: dict[int, int] = {}
    urgent: dict[str, set[int]] = defaultdict(set)  # recipient -> what lies in its system lane
    latest: dict[str, int] = defaultdict(int)
    for at, event in enumerate(events):
        if event.kind == "send":
            order[event.msg_id] = at
            if event.type in SYSTEM_LANE:
                urgent[event.detail].add(event.msg_id)
        elif event.kind == "end":
            urgent.pop(event.actor, None)
        elif event.kind in {"receive", "drop"} and event.type in SYSTEM_LANE:
            urgent[event.actor].discard(event.msg_id)
        elif event.kind == "receive":
            if waiting := urgent[event.actor]:
                yield f"{event.actor} handles message {event.msg_id} before {min(waiting)} of the runtime"
            sent = order.get(event.msg_id, at)
            if sent < latest[event.actor] and not event.type.startswith(RUNTIME):
                yield f"message {event.msg_id} ({event.type}) to {event.actor} was overtaken"
            latest[event.actor] = sent if not event.type.startswith(RUNTIME) else latest[event.actor]


def check_losses(events: list[TraceEvent], counted: Counter[str]) -> Iterator[str]:
    """Dead letters are counted by reason, each once."""
    told = Counter(event.detail for event in events if event.kind == "drop")
    if told != counted:
        yield f"dead letters are {dict(told)}, and were counted as {dict(counted)}"


def _letters(events: list[TraceEvent], ledger: AskLedger) -> Iterator[str]:
    """Every message is handled, or is a dead letter, or was an ask that ended otherwise."""
    fates = {event.msg_id for event in events if event.kind in {"receive", "drop"}}
    for event in events:
        if event.kind == "send" and event.msg_id not in fates and not event.detail.startswith(OUTSIDE):
            ended = ledger.ended.get(event.msg_id, [])
            if event.msg_id not in ledger.begun or "answered" in ended:
                yield f"message {event.msg_id} ({event.type}) from {event.actor} to {event.detail} is lost"


def _answers(events: list[TraceEvent], ledger: AskLedger) -> Iterator[str]:
    """An ask has one answer when it ended in one, none when it did not; one that was handled has an end."""
    replies = Counter(event.msg_id for event in events if event.kind == "reply")
    accounted = {event.msg_id for event in events if event.kind in {"reply", "drop"}}
    for ask_id, ended in ledger.ended.items():
        due = int("answered" in ended)
        if replies[ask_id] != due:
            yield f"ask {ask_id} ended as {ended} and has {replies[ask_id]} answers"
    for event in events:
        if event.kind == "receive" and event.time_s > ledger.ended_s.get(event.msg_id, math.inf) + SLACK_S:
            yield f"{event.actor} begins with ask {event.msg_id} ({event.type}), which has ended long before"
        if event.kind == "done" and event.msg_id in ledger.begun and event.msg_id not in accounted:
            yield f"{event.actor} has handled ask {event.msg_id} ({event.type}) and given no answer"


def _waits(events: list[TraceEvent]) -> Iterator[str]:
    """Waits end as often as they begin."""
    open_waits: Counter[tuple[str, int, str]] = Counter()
    for event in events:
        if event.kind in {"wait", "wait_end"}:
            key = (event.actor, event.incarnation, event.type)
            open_waits[key] += 1 if event.kind == "wait" else -1
    for (waiter, incarnation, target), count in open_waits.items():
        if count:
            yield f"{count} waits of {waiter}#{incarnation} for {target} have no end in the trace"


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
