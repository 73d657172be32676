"""Patterns that are known: what a chain of causes often means, with the numbers that speak for it.

`HINTS` is the table; each row is a pure function of a `Case`, and says nothing when its pattern is not there.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import TYPE_CHECKING, Final

from actors.tracing.answers.evidence import FAILURE_TAG, Moment, failed
from actors.tracing.answers.tables import duration
from actors.tracing.usage import JobTimes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from actors.tracing.answers.evidence import Evidence
    from actors.tracing.answers.links import Link
    from actors.tracing.events import TraceEvent

__all__ = ["Case", "Hint", "hints_for"]

NEAR_LOOKS_MAX: Final = 30_000
FAILED_LIVES_MIN: Final = 2
ALIKE_MIN: Final = 3
STORM_MIN: Final = 8
STORM_SHARE: Final = 0.8
# Links about a message that may be one of many tries; the latest may still be under way.
STORMY: Final = frozenset({"expired", "given_up", "refused", "full", "dropped", "down", "failed", "waiting"})


@dataclass(frozen=True, slots=True)
class Hint:
    """What a pattern means.

    Attributes:
        name: of the pattern.
        text: what it is here.
    """

    name: str
    text: str


@dataclass(frozen=True)
class Case:
    """A chain of causes and the events around its end.

    Attributes:
        evidence: of the run.
        links: from the symptom to the root.
    """

    evidence: Evidence
    links: tuple[Link, ...]

    @property
    def root(self) -> Link:
        """The last link."""
        return self.links[-1]

    @property
    def time_s(self) -> float:
        """When the symptom showed."""
        times_s = [link.event.time_s for link in self.links if link.event is not None]
        return max(times_s, default=self.evidence.trace.now_s)

    def first(self, *kinds: str) -> Link | None:
        """The link of such a kind that is nearest to the root."""
        return next((link for link in reversed(self.links) if link.kind in kinds), None)

    @cached_property
    def near(self) -> tuple[TraceEvent, ...]:
        """The events before the symptom and some after it, in their order."""
        trace, at_s = self.evidence.trace, self.time_s
        before = [*trace.select(until_s=at_s, backwards=True, looks_max=NEAR_LOOKS_MAX)]
        after = trace.select(since_s=at_s, looks_max=NEAR_LOOKS_MAX)
        return (*reversed(before), *(event for event in after if event.time_s > at_s))


def hints_for(evidence: Evidence, links: tuple[Link, ...]) -> tuple[Hint, ...]:
    """What is known of the patterns in a chain, the surest first."""
    case = Case(evidence, links)
    found = ((name, hint(case)) for name, hint in HINTS.items())
    return tuple(Hint(name, text) for name, text in found if text)


def _blocked_loop(case: Case) -> str:
    link = case.first("blocked")
    if link is None:
        return ""
    return (
        f"no other actor could run and no deadline could be kept while {link.actor} held the event loop: "
        "what computes or blocks belongs into a job (ctx.offload)"
    )


def _wait_cycle(case: Case) -> str:
    link = case.first("refused")
    if link is None or link.event is None:
        return ""
    text = f"{link.type} {link.event.detail}"
    if "UpwardAsk" not in text and "WaitCycle" not in text:
        return ""
    both = re.search(r"(/\S+) cannot wait for (/[^\s,:]+)", link.event.detail)
    who = f"{both[1]} and {both[2]}" if both is not None else link.actor
    return (
        f"waits point down: {who} could wait for each other for ever; whoever is below tells, and never asks"
    )


def _wrong_state(case: Case) -> str:
    link = case.first("refused")
    if link is None or link.type != "WrongState" or link.event is None:
        return ""
    found = re.search(r" is (\S+) and takes \S+ only in (.+)$", link.event.detail)
    if found is None:
        return ""
    moved = case.evidence.latest(Moment.of(link.event), link.actor, "state", "start")
    since = f" for {duration(link.event.time_s - moved.time_s)}" if moved is not None else ""
    return f"{link.actor} had been {found[1]}{since} and the message is taken only in {found[2]}"


def _lost_child(case: Case) -> str:
    """Somebody failed again and again, and was not started any more."""
    for link in reversed(case.links):
        ends = _failed_lives(case.evidence, link) if link.kind in {"ended", "failed"} else []
        if len(ends) < FAILED_LIVES_MIN:
            continue
        if case.evidence.next_of(Moment.of(ends[-1]), link.actor, "restart", "start") is not None:
            continue
        span_s = ends[-1].time_s - ends[0].time_s
        reason = Counter(event.detail.partition(":")[0] for event in ends).most_common(1)[0][0]
        return (
            f"{link.actor} is lost: it failed {len(ends)} times within {duration(span_s)}, mostly with "
            f"{reason}, and its restarts are exhausted (max_restarts of its supervision)"
        )
    return ""


def _failed_lives(evidence: Evidence, link: Link) -> list[TraceEvent]:
    """The ends by failure of an actor, up to the one that a link is about."""
    last = link.event
    if last is not None and last.kind != "end":
        last = evidence.next_of(Moment.of(last), link.actor, "end")
    if last is None:
        return []
    before = evidence.before(Moment.of(last), (link.actor,), ("end",))
    ends = [end for end in before if not end.detail.startswith(("stopped", "shutdown"))]
    return [*reversed(ends), last]


def _stuck_job(case: Case) -> str:
    link = case.first("job")
    if link is None or link.event is None or JobTimes.of(link.event) is not None:
        return ""
    if link.event.kind == "job_end" and not link.event.detail:
        return ""  # it was never begun
    if link.event.kind == "wait_end" and link.event.detail not in {"Expired", "given up"}:
        return ""
    name = link.type
    siblings = [
        times.worked_s
        for event in case.near
        if event.kind == "job_end" and event.type == name and (times := JobTimes.of(event)) is not None
    ]
    said = f"job {name} of {link.actor} did not come back in {duration(link.lasted_s)}"
    if not siblings:
        return f"{said}; no other job of that name has ended near it"
    return f"{said}; {len(siblings)} others of that name took {duration(median(siblings))} at the median"


def _deadline(case: Case) -> str:
    link = case.first("expired")
    if link is None or not link.msg_id or not link.limit_s:
        return ""
    took_s = _answer_times_s(case, link.type)
    if len(took_s) < ALIKE_MIN or link.limit_s >= median(took_s):
        return ""
    return (
        f"the deadline was too short: message {link.msg_id} ({link.type}) was given {duration(link.limit_s)} "
        f"(timeout_s); the {len(took_s)} like it that were answered took {duration(median(took_s))} at the "
        "median"
    )


def _answer_times_s(case: Case, tag: str) -> list[float]:
    """How long the answers to messages of this class took, from when they were asked."""
    sent: dict[int, float] = {}
    took_s = []
    for event in case.near:
        if event.kind == "send" and event.type == tag:
            sent[event.msg_id] = event.time_s
        elif event.kind == "reply" and event.type != FAILURE_TAG and event.msg_id in sent:
            took_s.append(event.time_s - sent.pop(event.msg_id))
    return took_s


def _retry_storm(case: Case) -> str:
    """The same again and again, each time in vain."""
    for link in case.links:
        if not link.type or link.kind not in STORMY:
            continue
        tag = _tag_of(case, link)
        tries = list(_tries(case, tag, link)) if tag else []
        vain = sum(not well for _, well in tries)
        if len(tries) >= STORM_MIN and vain >= STORM_SHARE * len(tries):
            span_s = tries[-1][0].time_s - tries[0][0].time_s
            sender, receiver = tries[-1][0].actor, tries[-1][0].detail
            to = f" to {receiver}" if tries[-1][0].kind == "send" else ""
            return (
                f"a retry storm: {sender} sent {tag}{to} {len(tries)} times in {duration(span_s)}, {vain} of "
                "them in vain: what it asks for has not changed meanwhile"
            )
    return ""


def _tag_of(case: Case, link: Link) -> str:
    message = case.evidence.message(link.msg_id)
    return message.tag if link.msg_id and message.tag else link.type


def _tries(case: Case, tag: str, link: Link) -> Iterator[tuple[TraceEvent, bool]]:
    """Each time that such a message went from one to the other, and whether that went well."""
    message = case.evidence.message(link.msg_id)
    sender = message.sender or link.actor
    vain, well = _outcomes(case)
    for event in case.near:
        if event.actor != sender or event.type != tag or event.time_s > case.time_s:
            continue
        if event.kind == "send" and event.detail == (message.receiver or event.detail):
            yield event, event.msg_id in well and event.msg_id not in vain
        elif event.kind == "refuse":
            yield event, False


def _outcomes(case: Case) -> tuple[set[int], set[int]]:
    """Numbers of messages that came to nothing, and of those that were handled."""
    vain: set[int] = set()
    well: set[int] = set()
    for event in case.near:
        if event.kind in {"drop", "error", "full"} or (event.kind == "reply" and event.type == FAILURE_TAG):
            vain.add(event.msg_id)
        elif failed(event):
            vain.add(event.wait_id)
        elif event.kind in {"done", "reply"}:
            well.add(event.msg_id)
    return vain, well


def _mailbox_fills(case: Case) -> str:
    """More comes than is handled."""
    receiver, until_s = _full_mailbox(case)
    until = [event for event in case.near if event.time_s <= until_s]
    sent = [event for event in until if event.kind == "send" and event.detail == receiver]
    if not receiver or not sent:
        return ""
    took_s = _handling_times_s(until, receiver)
    who = f", most of them from {Counter(event.actor for event in sent).most_common(1)[0][0]}"
    each = f"; each takes it {duration(median(took_s))}" if took_s else ""
    span_s = until_s - sent[0].time_s
    if not span_s:
        return f"the mailbox of {receiver} fills: {len(sent)} messages come at once{who}{each}"
    return (
        f"the mailbox of {receiver} fills: {len(sent) / span_s:.3g} messages come a second{who}, and it "
        f"handles {len(took_s) / span_s:.3g} a second{each}"
    )


def _full_mailbox(case: Case) -> tuple[str, float]:
    """Whose mailbox had no room, and when; an empty name when there was room everywhere."""
    link = case.first("full") or case.first("busy")
    if link is None or link.event is None:
        return "", 0.0
    if link.kind == "full":
        return link.receiver, link.event.time_s
    found = [
        event.time_s
        for event in case.near
        if event.kind == "full" and event.detail.startswith(f"{link.actor} ") and event.time_s <= case.time_s
    ]
    return (link.actor, found[-1]) if found else ("", 0.0)


def _handling_times_s(events: Sequence[TraceEvent], actor: str) -> list[float]:
    """How long an actor's handlers took."""
    begun: dict[int, float] = {}
    took_s = []
    for event in events:
        if event.actor == actor and event.kind == "receive":
            begun[event.msg_id] = event.time_s
        elif event.actor == actor and event.kind == "done" and event.msg_id in begun:
            took_s.append(event.time_s - begun.pop(event.msg_id))
    return took_s


HINTS: Final[Mapping[str, Callable[[Case], str]]] = {
    "blocked_loop": _blocked_loop,
    "wait_cycle": _wait_cycle,
    "wrong_state": _wrong_state,
    "lost_child": _lost_child,
    "stuck_job": _stuck_job,
    "deadline_too_short": _deadline,
    "retry_storm": _retry_storm,
    "mailbox_fills": _mailbox_fills,
}
