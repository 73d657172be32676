"""One request between its prompt and its end: a state machine without engine, clock or neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from crystalline.errors import SettingError
from crystalline.inference.decoding import Decoder
from crystalline.inference.logprobs import token_logprob
from crystalline.inference.request import Completion, FinishReason, Piece, Request, TokenLogprob, Usage
from crystalline.inference.sampling import sample
from crystalline.inference.stopping import StopFinder

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

__all__ = ["Continuation", "absent_ids"]


class Continuation:
    """The state of one request: logits in, pieces of text out.

    Whoever has an engine goes round this loop:

        while request.finished is None:
            if ids := request.to_prefill():
                logits = engine.prefill(slot, ids)
            else:
                logits = engine.decode([slot], [request.last])[0]
            piece = request.advance(logits)

    What comes out depends on the request, the logits and `context` alone.

    The model never sees more than `context` tokens at once. When the newest token has no place any more,
    "refuse" ends the text; the newest token is part of it, although the model never saw it. "slide" has
    the engine begin anew with the last `max(1, context // 2)` tokens, the newest one included.

    Args:
        request: what is asked.
        tokenizer: that of the model.
        context: the most tokens that the engine holds for a request, >= 1.
        absent: ids that have logits but no entry in the tokenizer, as `absent_ids` finds them. Looked for
            when it is needed if it is not given; whoever has many requests should look once.

    Attributes:
        request: as given.
        context: as given.
        finished: why it ended, or None while it has not.

    Raises:
        SettingError: the prompt is longer than `context`, and the request says "refuse".
    """

    def __init__(
        self,
        request: Request,
        tokenizer: Tokenizer,
        context: int,
        *,
        absent: NDArray[np.intp] | None = None,
    ) -> None:
        if len(request.prompt) > context and request.overflow == "refuse":
            raise SettingError(
                f"the prompt has {len(request.prompt)} tokens but the model's context {context}: "
                "shorten it, or let the context slide"
            )
        self.request = request
        self.finished: FinishReason | None = None
        self.context = context
        self._window = list(request.prompt[-context:])  # what the model sees for the next token
        self._fresh = True  # the engine has seen nothing of the window yet
        self._rng = np.random.default_rng(request.seed)
        self._penalised = np.unique(np.array(request.prompt, dtype=np.intp))
        self._absent = absent
        self._tokenizer = tokenizer
        self._decoder = Decoder(tokenizer, request.prompt)
        self._stops = StopFinder(request.stop)
        self._ids: list[int] = []
        self._texts: list[str] = []
        self._logprobs: list[TokenLogprob] = []

    @property
    def ids(self) -> tuple[int, ...]:
        """The tokens that were added so far; without the stop id that ended it."""
        return tuple(self._ids)

    @property
    def text(self) -> str:
        """The text that came out so far."""
        return "".join(self._texts)

    @property
    def logprobs(self) -> tuple[TokenLogprob, ...]:
        """One for each of `ids` if the request asked for them, else none."""
        return tuple(self._logprobs)

    @property
    def usage(self) -> Usage:
        """How many tokens it took so far."""
        return Usage(len(self.request.prompt), len(self._ids))

    @property
    def last(self) -> int:
        """The id that the engine must see next, where `to_prefill` says that nothing comes before it."""
        return self._window[-1]

    def completion(self) -> Completion:
        """The whole answer of a request that has ended.

        Raises:
            ValueError: it has not.
        """
        if self.finished is None:
            raise ValueError("the request has not ended: advance it until `finished` says why")
        return Completion(self.text, self.ids, self.finished, self.usage, self.logprobs)

    def to_prefill(self) -> list[int]:
        """The ids that the engine must see anew before the next draw; empty if `last` is enough."""
        return list(self._window) if self._fresh else []

    def advance(self, logits: NDArray[np.floating[Any]]) -> Piece | None:
        """Draw a token.

        Args:
            logits: (V,), of the model after the ids that `to_prefill` or `last` named; not modified.

        Returns:
            What it added; None if it was a stop id and nothing had been held back.

        Raises:
            InputError: a logit is not finite. The state is as before.
        """
        absent = self._absent_from(len(logits))
        token = sample(logits, self.request.options, self._rng, seen=self._penalised, absent=absent)
        self._fresh = False
        if token in self.request.stop_ids:
            text = self._end("stop", "")
            return Piece(text, ()) if text else None
        logprobs: tuple[TokenLogprob, ...] = ()
        if self.request.logprobs is not None:
            logprobs = (token_logprob(logits, token, self.request.logprobs, absent=absent),)
            self._logprobs += logprobs
        return Piece(self._take(token), (token,), logprobs)

    def _take(self, token: int) -> str:
        """Add a token that belongs to the output; the text that comes out."""
        self._ids.append(token)
        self._window.append(token)
        if self.request.options.repetition_penalty != 1.0 and token not in self._penalised:
            self._penalised = np.append(self._penalised, token)
        text = self._stops.feed(self._decoder.step(token))
        if self._stops.found:
            return self._end("stop", text)
        if len(self._ids) == self.request.tokens:
            return self._end("length", text)
        if len(self._window) > self.context:
            if self.request.overflow == "refuse":
                return self._end("context", text)
            self._window = self._window[-max(1, self.context // 2) :]
            self._fresh = True
        self._texts.append(text)
        return text

    def _end(self, reason: FinishReason, text: str) -> str:
        """The text ends for a reason; the last of it, from `text` on."""
        self.finished = reason
        text += self._stops.finish()
        self._texts.append(text)
        return text

    def _absent_from(self, vocab_size: int) -> NDArray[np.intp]:
        if self._absent is None:
            self._absent = absent_ids(self._tokenizer, vocab_size)
        return self._absent


def absent_ids(tokenizer: Tokenizer, vocab_size: int) -> NDArray[np.intp]:
    """Ids in [0, vocab_size) that a tokenizer does not have: a model's vocabulary may be padded.

    Takes some 0.1 s for a large vocabulary that is padded, and no time for one that is not.
    """
    if tokenizer.get_vocab_size() == vocab_size:
        return np.empty(0, np.intp)
    present = np.zeros(vocab_size, bool)
    present[[token for token in tokenizer.get_vocab().values() if token < vocab_size]] = True
    return np.flatnonzero(~present)
