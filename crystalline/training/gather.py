"""Asking several spheres for their parts, until each has answered or hope is lost.

An answer belongs to the ask it was given to; what is missing is asked for again. Nothing is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from actors import ActorDown, ActorRef, AskError, AskFailed, Context, Request
from crystalline.errors import TrainingError

__all__ = ["ask_each", "gather"]

R = TypeVar("R")
Refs = Mapping[ActorRef[Any], Request[R]]


async def ask_each(ctx: Context, asks: Refs[R]) -> tuple[dict[ActorRef[Any], R], list[ActorRef[Any]]]:
    """Ask every sphere once.

    Returns:
        The answers, and the spheres that failed and are being restarted.

    Raises:
        TrainingError: a sphere is lost for good, did not answer within the handler's time, or does not
            understand.
    """
    refs = list(asks)
    outcomes = await ctx.ask_all([(ref, asks[ref]) for ref in refs], timeout_s=ctx.remaining_s)
    answers: dict[ActorRef[Any], R] = {}
    restarting: list[ActorRef[Any]] = []
    for ref, outcome in zip(refs, outcomes, strict=True):
        if _worth_another_try(outcome):
            restarting.append(ref)
        elif isinstance(outcome, AskError):
            raise TrainingError(f"{ref} could not do its part: {outcome}") from outcome
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
    pending = list(asks)
    while pending:
        found, pending = await ask_each(ctx, {ref: asks[ref] for ref in pending})
        answers |= found
    return [answers[ref] for ref in asks]


def _worth_another_try(outcome: object) -> bool:
    """A handler that raised ends its sphere, which is restarted as far as its supervision goes."""
    if isinstance(outcome, AskFailed):
        return outcome.error_type != "NoReply"
    return isinstance(outcome, ActorDown) and outcome.restarting
