"""Asking the spheres of a team for their parts, until each part is there or hope is lost.

An answer belongs to the ask it was given to; what is missing is asked for again. Nothing is counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from actors import ActorDown, ActorRef, AskError, AskFailed, Context
from actors.notes import notes_of
from crystalline.errors import NonFiniteError, TrainingError
from crystalline.training.messages import Disturbed
from crystalline.training.team import Run, Setback, Team

__all__ = ["Reasons", "ask_once", "gather"]

Reasons = Mapping[ActorRef[Any], Setback]
Part = tuple[ActorRef[Any], Run]


@dataclass(slots=True)
class _Round:
    """What came of asking everybody once.

    Attributes:
        answers: in no order.
        again: the parts of spheres that are being restarted, to be asked for again.
        orphans: the parts of spheres that are lost for good.
        reasons: what happened to either.
    """

    answers: list[Any] = field(default_factory=list)
    again: list[Part] = field(default_factory=list)
    orphans: list[Run] = field(default_factory=list)
    reasons: dict[ActorRef[Any], Setback] = field(default_factory=dict)


async def gather(ctx: Context, team: Team, whole: Any) -> list[Any]:
    """Ask a team for all parts of `whole`, and again for what was lost; return the answers from low to high.

    Ends because a sphere's supervision allows only so many restarts, and a team has only so many spheres.

    Args:
        ctx: of the handler that asks.
        team: whom to ask; who is lost leaves it.
        whole: a request with a `run` that can be cut by `part`.

    Raises:
        NonFiniteError: a sphere found that the numbers are not finite. Trying again gives the same ones.
        TrainingError: a sphere is lost for good and the others may not take over, did not answer within the
            handler's time, or does not understand.
    """
    answers: list[Any] = []
    parts: Sequence[Part] = team.share(whole.run)
    reasons: Reasons = {}
    while parts:
        found = await _ask_round(ctx, team, whole, parts, reasons)
        answers += found.answers
        parts = found.again + [part for run in found.orphans for part in team.share(run)]
        reasons = found.reasons
    return sorted(answers, key=lambda answer: answer.lo)


async def ask_once(
    ctx: Context, team: Team, whole: Any, earlier: Reasons | None = None
) -> tuple[list[Any] | None, Reasons]:
    """Ask a team for all parts of `whole`, once.

    Returns:
        The answers from low to high, None when one is missing; and what has happened to those who are being
        restarted, or are lost.

    Raises:
        NonFiniteError, TrainingError: as `gather`.
    """
    found = await _ask_round(ctx, team, whole, team.share(whole.run), earlier or {})
    if found.reasons:
        return None, found.reasons
    return sorted(found.answers, key=lambda answer: answer.lo), {}


async def _ask_round(ctx: Context, team: Team, whole: Any, parts: Sequence[Part], earlier: Reasons) -> _Round:
    asks = [(ref, whole.part(run)) for ref, run in parts]
    outcomes = await ctx.ask_all(asks, timeout_s=ctx.remaining_s)
    found = _Round()
    for (ref, run), (_, request), outcome in zip(parts, asks, outcomes, strict=True):
        if isinstance(outcome, AskFailed) and outcome.error_type == NonFiniteError.__name__:
            raise NonFiniteError(outcome.error_text) from outcome
        if _is_setback(outcome, request):
            found.again.append((ref, run))
            found.reasons[ref] = _setback(outcome)
        elif isinstance(outcome, AskError):
            setback = _setback(outcome).after(earlier.get(ref))
            if not isinstance(outcome, ActorDown):
                raise setback.error(f"{ref} could not do its part") from outcome
            team.lose(ref, setback)
            found.orphans.append(run)
            found.reasons[ref] = setback
        elif not _belongs(outcome, request):
            raise TrainingError(
                f"{ref} answered something else than it was asked for: {type(outcome).__name__}"
            )
        else:
            found.answers.append(outcome)
    return found


def _belongs(answer: Any, request: Any) -> bool:
    """Results are keyed by what was asked; one under another key is never taken for the right one."""
    run = (getattr(answer, "lo", None), getattr(answer, "hi", None))
    return run == request.run and _has_key(answer, request)


def _has_key(answer: Any, request: Any) -> bool:
    key = [name for name in ("epoch", "step", "batch", "attempt") if hasattr(request, name)]
    return all(getattr(answer, name, None) == getattr(request, name) for name in key)


def _is_setback(outcome: object, request: Any) -> bool:
    """A handler that raised ends its sphere, which is restarted as far as its supervision goes."""
    if isinstance(outcome, AskFailed):
        return outcome.error_type != "NoReply"
    if isinstance(outcome, Disturbed):
        return _has_key(outcome, request)
    return isinstance(outcome, ActorDown) and outcome.restarting


def _setback(outcome: AskError | Disturbed) -> Setback:
    # Text alone: an error would keep what its traceback refers to, which are the answers of the others.
    if isinstance(outcome, Disturbed):
        return Setback(outcome.reason, outcome.notes)
    return Setback(str(outcome), tuple(notes_of(outcome)))
