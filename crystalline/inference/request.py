"""What is asked of a model, and what comes back: plain values, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Integral
from typing import Literal, TypeAlias

from crystalline.errors import SettingError
from crystalline.inference.sampling import SamplingOptions

__all__ = [
    "LOGPROBS_MAX",
    "STOPS_MAX",
    "Completion",
    "FinishReason",
    "Overflow",
    "Piece",
    "Request",
    "TokenLogprob",
    "Usage",
]

FinishReason: TypeAlias = Literal["stop", "length", "context"]
"""Why a text ended: a stop string or a stop id, the limit of `tokens`, or the model's context was full."""

Overflow: TypeAlias = Literal["refuse", "slide"]
"""What to do when the context is full: end there, or forget its older half and go on."""

STOPS_MAX = 16
"""Stop strings of one request."""

LOGPROBS_MAX = 20
"""Alternatives of one token whose log-probabilities can be had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One text to be continued.

    Attributes:
        prompt: token ids to continue, at least one.
        tokens: the most tokens to add, >= 1.
        options: how they are drawn.
        seed: of the draws, >= 0. A request draws from a generator of its own, so that the same model and
            request give the same ids, whatever else is computed beside it.
        stop: texts at which the output ends, up to 16, none of them empty. The text of the one that ended
            it is no part of the output.
        stop_ids: token ids at which the output ends; they are no part of it either.
        logprobs: None for none; else for each token its log-probability, and those of this many of the
            likeliest ones, 0 to 20.
        overflow: what to do when the context is full. "refuse" refuses a prompt that is longer than the
            context, and ends a text where the context is full. "slide" lets the model see the last
            tokens of a longer prompt, and the newer half of the context each time it is full.

    Raises:
        SettingError: a value is out of range.
    """

    prompt: tuple[int, ...]
    tokens: int
    options: SamplingOptions = field(default_factory=SamplingOptions)
    seed: int = 0
    stop: tuple[str, ...] = ()
    stop_ids: frozenset[int] = frozenset()
    logprobs: int | None = None
    overflow: Overflow = "refuse"

    def __post_init__(self) -> None:
        self._check_kinds()
        if not self.prompt:
            raise SettingError("the prompt has no tokens: give it at least one")
        if min(self.prompt) < 0:
            raise SettingError(f"the prompt has the token id {min(self.prompt)}: ids are >= 0")
        if self.tokens < 1:
            raise SettingError(f"tokens is {self.tokens}: choose a positive number")
        if self.seed < 0:
            raise SettingError(f"seed is {self.seed}: choose a number >= 0")
        if len(self.stop) > STOPS_MAX:
            raise SettingError(f"stop has {len(self.stop)} texts: choose at most {STOPS_MAX}")
        if "" in self.stop:
            raise SettingError("stop has an empty text: every output would end at once, leave it out")
        if self.logprobs is not None and not 0 <= self.logprobs <= LOGPROBS_MAX:
            raise SettingError(f"logprobs is {self.logprobs}: choose 0 to {LOGPROBS_MAX}, or none")
        if self.overflow not in {"refuse", "slide"}:
            raise SettingError(f"overflow is {self.overflow!r}: choose 'refuse' or 'slide'")

    def _check_kinds(self) -> None:
        for name in ("tokens", "seed", "logprobs"):
            value = getattr(self, name)
            if not isinstance(value, Integral) and (name, value) != ("logprobs", None):
                raise SettingError(f"{name} is {value!r}: choose a whole number")
        if not all(isinstance(text, str) for text in self.stop):
            raise SettingError(f"stop is {self.stop!r}: choose texts")


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """How likely the model itself found a token, before temperature and everything after it.

    Attributes:
        id: the token that was drawn.
        logprob: the natural logarithm of its probability, <= 0.
        top: id and log-probability of the likeliest tokens, the likeliest first; as many as were asked for.
    """

    id: int
    logprob: float
    top: tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """What one step added to a text.

    Text can come later than the tokens it is made of: while a character is unfinished, and while it could
    be the beginning of a stop string. So `text` and `ids` belong together only when all pieces are joined.

    Attributes:
        text: may be empty.
        ids: the tokens that were drawn; none in a last piece that only has text that was held back.
        logprobs: one for each of `ids` if they were asked for, else none.
    """

    text: str
    ids: tuple[int, ...]
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class Usage:
    """How many tokens a request took.

    Attributes:
        prompt_tokens: of the whole prompt, also where the model saw only its end.
        generated_tokens: that were added; the stop id that ended the text does not count.
    """

    prompt_tokens: int
    generated_tokens: int


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer.

    Attributes:
        text: without the prompt and without the stop string that ended it.
        ids: every token that was added, those of that stop string included; without a stop id.
        finish: why it ended.
        usage: how many tokens it took.
        logprobs: one for each of `ids` if they were asked for, else none.
        weights: the name of the weights that answered, where there can be several: that of a checkpoint.
    """

    text: str
    ids: tuple[int, ...]
    finish: FinishReason
    usage: Usage
    logprobs: tuple[TokenLogprob, ...] = ()
    weights: str = ""
