"""Asking several spheres for their parts, until each has answered or hope is lost.

An answer belongs to the ask it was given to; what is missing is asked for again. Nothing is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from actors import ActorDown, ActorRef, AskError, AskFailed, Context, Request
from crystalline.errors import NonFiniteError, TrainingError

__all__ = ["Reasons", "ask_each", "gather"]

R = TypeVar("R")
Refs = Mapping[ActorRef[Any], Request[R]]
Reasons = Mapping[ActorRef[Any], str]


async def ask_each(
    ctx: Context, asks: Refs[R], earlier: Reasons | None = None
) -> tuple[dict[ActorRef[Any], R], Reasons]:
    """Ask every sphere once.

    Args:
        ctx: of the handler that asks.
        asks: what to ask of whom.
        earlier: why spheres failed when they were asked before, for the story.

    Returns:
        The answers, and the spheres that failed and are being restarted, each with the reason.

    Raises:
        NonFiniteError: a sphere found that the numbers are not finite. Trying again gives the same ones.
        TrainingError: a sphere is lost for good, did not answer within the handler's time, or does not
            understand.
    """
    refs = list(asks)
    outcomes = await ctx.ask_all([(ref, asks[ref]) for ref in refs], timeout_s=ctx.remaining_s)
    answers: dict[ActorRef[Any], R] = {}
    restarting: dict[ActorRef[Any], str] = {}
    for ref, outcome in zip(refs, outcomes, strict=True):
        if isinstance(outcome, AskFailed) and outcome.error_type == NonFiniteError.__name__:
            raise NonFiniteError(outcome.error_text) from outcome
        if _worth_another_try(outcome):
            restarting[ref] = str(outcome)
        elif isinstance(outcome, AskError):
            story = f"; before that, {earlier[ref]}" if earlier and ref in earlier else ""
            raise TrainingError(f"{ref} could not do its part: {outcome}{story}") from outcome
        elif not _belongs(outcome, asks[ref]):
            raise TrainingError(
                f"{ref} answered something else than it was asked for: {type(outcome).__name__}"
            )
        else:
            answers[ref] = outcome
    return answers, restarting


async def gather(ctx: Context, asks: Refs[R]) -> list[R]:
    """Ask every sphere, and again whichever was restarted; return the answers in the order of `asks`.

    Ends because a sphere's supervision allows only so many restarts.

    Raises:
        TrainingError: as `ask_each`.
    """
    answers: dict[ActorRef[Any], R] = {}
    pending: Refs[R] = asks
    restarting: Reasons = {}
    while pending:
        found, restarting = await ask_each(ctx, pending, restarting)
        answers |= found
        pending = {ref: asks[ref] for ref in restarting}
    return [answers[ref] for ref in asks]


def _belongs(answer: Any, request: Any) -> bool:
    """Results are keyed by what was asked; one under another key is never taken for the right one."""
    key = [name for name in ("epoch", "step", "batch", "attempt") if hasattr(request, name)]
    return (answer.lo, answer.hi) == request.run and all(
        getattr(answer, name, None) == getattr(request, name) for name in key
    )


def _worth_another_try(outcome: object) -> bool:
    """A handler that raised ends its sphere, which is restarted as far as its supervision goes."""
    if isinstance(outcome, AskFailed):
        return outcome.error_type != "NoReply"
    return isinstance(outcome, ActorDown) and outcome.restarting
