"""What would have helped: how an actor compares with those that did the same beside it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actors.tracing.answers.backwards import Lap, Part
    from actors.tracing.answers.handlings import Message

__all__ = ["Comparison", "compare", "saved_by"]

_MUCH: Final = 1.25
# The time of jobs is taken if it is a good part of the handler's. It is not where time is virtual, for one.
_PART_OF_HANDLER: Final = 0.1


class Comparison(NamedTuple):
    """How what one actor was asked for compares with what was asked of the others beside it.

    Attributes:
        type: tag of the messages that are compared, all by the same asker.
        siblings: how many others got such messages.
        larger: its mean size over the median of theirs; 0 if sizes are not known.
        longer: the same of the time that it took: of its jobs, or of its handler if that did other things.
        excess_s: seconds that it took longer than their median, over all messages.
    """

    type: str
    siblings: int
    larger: float
    longer: float
    excess_s: float

    @property
    def stands_out(self) -> bool:
        """Whether it took much longer than its siblings."""
        return self.longer >= _MUCH

    def __str__(self) -> str:
        """What that says: more to do, or slower."""
        time = f"took {self.longer:.1f} times as long"
        if not self.larger:
            return f"its {self.type} {time if self.longer >= _MUCH else 'took as long'} as its siblings'"
        if self.larger < _MUCH:
            ending = f"but {time}: it is slower" if self.longer >= _MUCH else "and took as long"
            return f"its {self.type} was as large as its siblings', {ending}"
        large = f"its {self.type} was {self.larger:.1f} times as large as its siblings'"
        if self.longer < _MUCH:
            return f"{large}, but took no longer"
        more = "it has more to do" + (", and is slower besides" if self.longer > self.larger * _MUCH else "")
        return f"{large} and {time}: {more}"


@dataclass(slots=True)
class _Done:
    """What one actor did for messages of one type from one asker."""

    number: int = 0
    size: int = 0
    worked_s: float = 0.0
    handled_s: float = 0.0

    def add(self, message: Message, handled_s: float) -> None:
        self.number += 1
        self.size += message.size
        self.worked_s += message.worked_s
        self.handled_s += handled_s

    @property
    def worked_in_jobs(self) -> bool:
        return _PART_OF_HANDLER * self.handled_s <= self.worked_s <= self.handled_s

    def took_s(self, *, in_jobs: bool) -> float:
        return (self.worked_s if in_jobs else self.handled_s) / self.number


def compare(messages: Iterable[Message], types: Mapping[str, str]) -> dict[str, Comparison]:
    """Compare actors with their siblings; those that have none are left out.

    Args:
        messages: everything that was handled meanwhile.
        types: tag of the messages by which to compare each actor.
    """
    done: dict[tuple[str, str], dict[str, _Done]] = defaultdict(lambda: defaultdict(_Done))
    askers: dict[tuple[str, str], str] = {}
    wanted = set(types.values())
    for message in messages:
        handled_s = message.handled_s
        if message.type in wanted and message.sender and handled_s is not None:
            done[message.sender, message.type][message.receiver].add(message, handled_s)
            askers[message.receiver, message.type] = message.sender
    found = {}
    for actor, type_ in types.items():
        asker = askers.get((actor, type_))
        if asker is not None and len(beside := done[asker, type_]) > 1:
            found[actor] = _comparison(
                type_, beside[actor], [beside[other] for other in beside if other != actor]
            )
    return found


def _comparison(type_: str, own: _Done, others: list[_Done]) -> Comparison:
    in_jobs = all(each.worked_in_jobs for each in (own, *others))
    took_s, usually_s = own.took_s(in_jobs=in_jobs), median(each.took_s(in_jobs=in_jobs) for each in others)
    usual_size = median(each.size / each.number for each in others)
    return Comparison(
        type_,
        len(others),
        own.size / own.number / usual_size if usual_size else 0.0,
        took_s / usually_s if usually_s else 0.0,
        (took_s - usually_s) * own.number,
    )


def saved_by(parts: Iterable[Part]) -> tuple[dict[tuple[str, str], float], dict[str, float]]:
    """How much shorter the path had been if a part, or all of an actor, were as fast as the second slowest.

    Returns:
        Seconds by actor and what it did, and by actor. What was in no lap is not in there: nothing did the
        same beside it. In each lap no more than the slack is saved, and no more than the part lasted.
    """
    seconds: dict[tuple[str, str, Lap], float] = defaultdict(float)
    for segment, lap in parts:
        if lap is not None and segment.actor != lap.asker:
            seconds[segment.actor, segment.what, lap] += segment.seconds
    by_item: dict[tuple[str, str], float] = defaultdict(float)
    whole: dict[tuple[str, Lap], float] = defaultdict(float)
    for (actor, what, lap), item_s in seconds.items():
        by_item[actor, what] += min(item_s, lap.slack_s)
        whole[actor, lap] += item_s
    by_actor: dict[str, float] = defaultdict(float)
    for (actor, lap), actor_s in whole.items():
        by_actor[actor] += min(actor_s, lap.slack_s)
    return dict(by_item), dict(by_actor)
