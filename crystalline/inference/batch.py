"""Many prompts through one engine: whoever is done makes room for the next, and all share the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystalline.errors import SettingError
from crystalline.inference.continuation import Continuation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crystalline.inference.engine import Engine
    from crystalline.inference.request import Completion, Request
    from crystalline.inference.text_model import TextModel

__all__ = ["complete_all"]


def complete_all(
    model: TextModel, requests: Sequence[Request], engine: Engine
) -> Iterator[tuple[int, Completion]]:
    """Answer requests, as many at a time as the engine has slots.

    A request is answered as if it were alone: neither the order nor the other ones change its text.

    Args:
        model: whose tokenizer.
        requests: all of them; those with a prompt longer than the context must allow it to slide.
        engine: made of this model. What its slots held is forgotten.

    Returns:
        The number of a request and its answer, in the order in which they end.

    Raises:
        SettingError: a prompt is too long. Raised at once, before anything is computed.
        InputError: the model gives logits that are not finite. Raised by the iterator.
    """
    for number, request in enumerate(requests):
        if request.overflow == "refuse" and len(request.prompt) > engine.context:
            raise SettingError(
                f"prompt {number + 1} has {len(request.prompt)} tokens, and the context is {engine.context}: "
                "shorten it, or let the context slide"
            )
    return _answered(model, requests, engine)


def _answered(
    model: TextModel, requests: Sequence[Request], engine: Engine
) -> Iterator[tuple[int, Completion]]:
    waiting = iter(enumerate(requests))
    running: dict[int, tuple[int, Continuation]] = {}
    while True:
        for slot in sorted(set(range(engine.slots)) - running.keys()):
            if (following := next(waiting, None)) is not None:
                number, request = following
                running[slot] = number, Continuation(request, model.tokenizer, engine.context)
        if not running:
            return
        _step(engine, {slot: continuation for slot, (_, continuation) in running.items()})
        for slot, (number, continuation) in list(running.items()):
            if continuation.finished is not None:
                del running[slot]
                yield number, continuation.completion()


def _step(engine: Engine, running: dict[int, Continuation]) -> None:
    """A token for each of the texts that run."""
    known = []
    for slot, continuation in running.items():
        if ids := continuation.to_prefill():
            continuation.advance(engine.prefill(slot, ids))
        else:
            known.append(slot)
    if known:
        logits = engine.decode(known, [running[slot].last for slot in known])  # (n, V)
        for slot, row in zip(known, logits, strict=True):
            running[slot].advance(row)
