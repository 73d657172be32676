"""What went wrong in a run, a line for each kind, the gravest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.tracing.answers.tables import counted, duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.tracing.answers.summary import (
        ActorSummary,
        BlockedSummary,
        FirstError,
        JobSummary,
        Refusal,
        Summary,
        WaitSummary,
    )

__all__ = ["blocked_lines", "troubles"]

_MOST: Final = 4
_DETAIL_CHARS: Final = 100


def troubles(summary: Summary) -> list[str]:
    """What went wrong, a line for each kind, the gravest first."""
    return [
        *blocked_lines(summary.blocked),
        *_left_behind_lines(summary.jobs),
        *_full_lines(summary.full),
        *_error_lines(summary.errors),
        *_expiry_lines(summary.expired),
        *_restart_lines(summary.actors),
        *_refusal_lines(summary.refusals),
        *_dead_letter_lines(summary.dead_letters),
    ]


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _DETAIL_CHARS else f"{line[: _DETAIL_CHARS - 3]}..."


def _listed(parts: list[str]) -> str:
    more = len(parts) - _MOST
    return ", ".join(parts[:_MOST]) + (f" and {more:,} more" if more > 0 else "")


def blocked_lines(blocked: tuple[BlockedSummary, ...]) -> list[str]:
    """Who has blocked the event loop, in a line; no line for nobody."""
    if not blocked:
        return []
    worst = blocked[0]
    who = _listed(
        [f"{each.actor} {counted(each.count, 'time')}, {duration(each.total_s)}" for each in blocked]
    )
    where = f", {_cut(worst.where)}" if worst.where else ""
    return [f"the event loop was blocked by {who}; the longest {duration(worst.longest_s)}{where}"]


def _left_behind_lines(jobs: tuple[JobSummary, ...]) -> list[str]:
    left = [f"{each.name} ({each.left_behind:,})" for each in jobs if each.left_behind]
    return [f"jobs left behind in their threads: {_listed(left)}"] if left else []


def _full_lines(full: Mapping[str, int]) -> list[str]:
    found = [f"{path} {counted(times, 'time')}" for path, times in full.items()]
    return [f"mailboxes found full: {_listed(found)}"] if found else []


def _error_lines(errors: tuple[FirstError, ...]) -> list[str]:
    if not errors:
        return []
    counts, first = _listed([f"{each.type} ({each.count:,})" for each in errors]), errors[0]
    return [f"errors in handlers: {counts}; the first {first.type} in {first.actor}: {_cut(first.text)}"]


def _expiry_lines(expired: tuple[WaitSummary, ...]) -> list[str]:
    if not expired:
        return []
    count = sum(each.expired for each in expired)
    who = [
        f"{each.waiter} for {each.target} ({each.reason or 'a wait'}; {each.expired:,})" for each in expired
    ]
    return [f"{counted(count, 'wait')} expired: {_listed(who)}"]


def _restart_lines(actors: tuple[ActorSummary, ...]) -> list[str]:
    again = sorted((each for each in actors if each.restarts), key=lambda each: -each.restarts)
    count = sum(each.restarts for each in again)
    who = _listed([f"{each.actor} ({each.restarts:,})" for each in again])
    return [f"{counted(count, 'restart')}: {who}"] if again else []


def _refusal_lines(refusals: tuple[Refusal, ...]) -> list[str]:
    count = sum(each.count for each in refusals)
    what = _listed([f"{each.type}: {_cut(each.why)} ({each.count:,})" for each in refusals])
    return [f"{counted(count, 'refusal')}: {what}"] if refusals else []


def _dead_letter_lines(dead_letters: Mapping[str, int]) -> list[str]:
    count = sum(dead_letters.values())
    why = _listed([f"{reason} ({times:,})" for reason, times in dead_letters.items()])
    return [f"{counted(count, 'dead letter')}: {why}"] if dead_letters else []
