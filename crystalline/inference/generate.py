"""A model goes on with one text: engine and continuation in a plain loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from crystalline.errors import SettingError
from crystalline.inference.continuation import Continuation
from crystalline.inference.engine import CONTEXT_MAX, Engine
from crystalline.inference.request import Request
from crystalline.inference.sampling import SamplingOptions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crystalline.inference.request import Completion, Overflow, Piece
    from crystalline.inference.text_model import TextModel

__all__ = ["ask", "complete", "stream"]

_DEFAULT: Final = SamplingOptions()


def stream(
    model: TextModel,
    prompt: str | Sequence[int],
    *,
    tokens: int = 200,
    options: SamplingOptions = _DEFAULT,
    seed: int = 0,
    stop: str | Sequence[str] = (),
    logprobs: int | None = None,
    overflow: Overflow = "refuse",
    engine: Engine | None = None,
) -> Iterator[Piece]:
    """Continue a prompt, piece by piece.

    Ends at `tokens` tokens, at a stop string, before a token that ends the model's texts, or where the
    context is full, if it may not slide. For many prompts, or inside an event loop, use `Generator`.

    Args:
        model: what to ask.
        prompt: the text to continue, or its token ids; not repeated in the output. An empty text starts a
            new one.
        tokens: the most tokens to add, >= 1.
        options: how they are drawn.
        seed: of the draws, >= 0. The same model, prompt and settings give the same ids in every process; use
            one BLAS thread, as the command does, where machines have different numbers of cores.
        stop: one text or several, at which the output ends.
        logprobs: None for none, else how many alternatives of each token to name, 0 to 20.
        overflow: what to do when the context is full, see `Request`.
        engine: made of this model; what its slot 0 held is forgotten. None makes one for this prompt alone,
            with a context of the model's length, at most `CONTEXT_MAX`.

    Returns:
        The pieces, each as soon as its token is drawn.

    Raises:
        SettingError: a value is out of range, the prompt is no valid text or longer than the context, or it
            is empty and the model has no token to start from. Raised at once.
        InputError: the model gives logits that are not finite. Raised by the iterator.
    """
    begun = _begin(model, ask(model, prompt, tokens, options, seed, stop, logprobs, overflow), engine)
    return _run(model, begun, engine)


def complete(
    model: TextModel,
    prompt: str | Sequence[int],
    *,
    tokens: int = 200,
    options: SamplingOptions = _DEFAULT,
    seed: int = 0,
    stop: str | Sequence[str] = (),
    logprobs: int | None = None,
    overflow: Overflow = "refuse",
    engine: Engine | None = None,
) -> Completion:
    """Continue a prompt, and return the whole answer. Arguments and errors are those of `stream`."""
    begun = _begin(model, ask(model, prompt, tokens, options, seed, stop, logprobs, overflow), engine)
    for _ in _run(model, begun, engine):
        pass
    return begun.completion()


def ask(
    model: TextModel,
    prompt: str | Sequence[int],
    tokens: int,
    options: SamplingOptions,
    seed: int,
    stop: str | Sequence[str],
    logprobs: int | None,
    overflow: Overflow,
) -> Request:
    """The request that a prompt makes of a model; arguments and errors are those of `stream`."""
    if isinstance(prompt, bytes | bytearray | memoryview):  # whose items would pass for token ids
        raise SettingError("the prompt is bytes: decode them to a text, or give a list of token ids")
    ids = tuple(model.encode(prompt) if isinstance(prompt, str) else prompt)
    if unknown := [token for token in ids if not 0 <= token < model.config.vocab_size]:
        raise SettingError(
            f"the prompt has the token id {unknown[0]}, but the model has 0 to {model.config.vocab_size - 1}"
        )
    return Request(
        prompt=ids,
        tokens=tokens,
        options=options,
        seed=seed,
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        stop_ids=frozenset(model.text.end_ids),
        logprobs=logprobs,
        overflow=overflow,
    )


def _begin(model: TextModel, request: Request, engine: Engine | None) -> Continuation:
    if engine is not None:
        return Continuation(request, model.tokenizer, engine.context)
    # Where everything has room a shorter context changes nothing, and saves memory.
    needed = len(request.prompt) + request.tokens
    return Continuation(request, model.tokenizer, min(model.config.seq_len, CONTEXT_MAX, needed))


def _run(model: TextModel, continuation: Continuation, engine: Engine | None) -> Iterator[Piece]:
    if engine is None:
        with Engine(model.parameters, context=continuation.context) as own:
            yield from _run(model, continuation, own)
        return
    while continuation.finished is None:
        if ids := continuation.to_prefill():
            logits = engine.prefill(0, ids)  # (V,)
        else:
            logits = engine.decode([0], [continuation.last])[0]
        piece = continuation.advance(logits)
        if piece is not None:
            yield piece
