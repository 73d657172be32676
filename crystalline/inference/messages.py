"""What callers, the desk and the worker tell each other.

caller  -> desk     Submit, answered by Admitted or by Over; Cancel, answered by Noted
desk    -> worker   Start for each request that gets a slot, then Step
worker  -> desk     Ready, once a life; Stepped
worker  -> caller   Begun, then Said for each piece
desk    -> caller   Over, once, after the last piece
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from actors import ActorRef, freeze, message
from actors import Request as Asked
from crystalline.inference.request import Piece, Request, TokenLogprob
from crystalline.inference.sampling import SamplingOptions

__all__ = [
    "Admitted",
    "Begun",
    "Cancel",
    "Noted",
    "Order",
    "Outcome",
    "Over",
    "Ready",
    "Said",
    "Start",
    "Step",
    "Stepped",
    "Submit",
    "order_of",
    "piece_of",
    "request_of",
    "said",
]

Ids = np.ndarray[Any, Any]


@message("crystalline.inference.order")
class Order:
    """A `Request` on its way.

    Attributes:
        prompt: token ids (n,), int64.
        tokens: as in `Request`, like all that follow.
        seed: the same.
        options: the fields of `SamplingOptions`, by name.
        stop: the same.
        stop_ids: token ids (n,), int64.
        logprobs: the same.
        overflow: the same.
    """

    prompt: Ids
    tokens: int
    seed: int
    options: dict[str, float]
    stop: tuple[str, ...]
    stop_ids: Ids
    logprobs: int | None
    overflow: str


@message("crystalline.inference.admitted")
class Admitted:
    """The answer to `Submit`: the request waits for its turn, and its listener will hear of it."""

    number: int


@message("crystalline.inference.noted")
class Noted:
    """The answer to `Cancel`."""


@message("crystalline.inference.over")
class Over:
    """Told once to whoever has submitted a request: it has ended.

    Attributes:
        number: of the request.
        reason: a finish reason, or one of those of `scheduler`.
        story: how it came; empty if it ended well.
    """

    number: int
    reason: str
    story: str


@message("crystalline.inference.submit")
class Submit(Asked[Admitted | Over]):
    """Asked by the API: take this request.

    Attributes:
        number: of the request, unique.
        caller: in whose name it comes.
        listener: who is told what comes of it.
        limit_s: how long it may take.
        order: what is asked.
    """

    number: int
    caller: str
    listener: ActorRef[Any]
    limit_s: float
    order: Order


@message("crystalline.inference.cancel")
class Cancel(Asked[Noted]):
    """Asked by the API: nobody waits for these requests any more, for these reasons."""

    numbers: tuple[int, ...]
    reasons: tuple[str, ...]


@message("crystalline.inference.start")
class Start:
    """Told to the worker: this request has this slot from now on."""

    number: int
    slot: int
    listener: ActorRef[Any]
    order: Order


@message("crystalline.inference.step")
class Step:
    """Told to the worker: do one step. See `scheduler.Plan`."""

    left: tuple[int, ...]
    prefill: tuple[int, ...]
    decode: tuple[int, ...]


@message("crystalline.inference.outcome")
class Outcome:
    """What a step did for one request.

    Attributes:
        number: of the request.
        drawn: tokens that were drawn.
        prefilled: tokens that were read at once.
        prefill: tokens that have to be read before the next one can be drawn; 0: it can be decoded.
        finish: why it has ended well; empty if it goes on.
        story: why it has failed; empty if it has not.
    """

    number: int
    drawn: int = 0
    prefilled: int = 0
    prefill: int = 0
    finish: str = ""
    story: str = ""


@message("crystalline.inference.stepped")
class Stepped:
    """Told by the worker: the step is done."""

    outcomes: tuple[Outcome, ...]


@message("crystalline.inference.ready")
class Ready:
    """Told by the worker once in a life: its engine is there, and holds nothing."""


@message("crystalline.inference.begun")
class Begun:
    """Told to the listener: the request has a slot, and is answered by the weights of this name."""

    weights: str


@message("crystalline.inference.said")
class Said:
    """Told to the listener: a `Piece`.

    Attributes:
        text: as in `Piece`.
        ids: the same.
        logprobs: for each token id, log-probability and the likeliest, as (id, log-probability).
    """

    text: str
    ids: tuple[int, ...]
    logprobs: tuple[tuple[int, float, tuple[tuple[int, float], ...]], ...]


def order_of(request: Request) -> Order:
    """The message that carries a request."""
    return Order(
        freeze(np.array(request.prompt, np.int64)),
        request.tokens,
        request.seed,
        asdict(request.options),
        request.stop,
        freeze(np.array(sorted(request.stop_ids), np.int64)),
        request.logprobs,
        request.overflow,
    )


def request_of(order: Order) -> Request:
    """The request that a message carries."""
    options: dict[str, Any] = order.options
    overflow: Any = order.overflow
    return Request(
        prompt=tuple(order.prompt.tolist()),
        tokens=order.tokens,
        options=SamplingOptions(**options),
        seed=order.seed,
        stop=order.stop,
        stop_ids=frozenset(order.stop_ids.tolist()),
        logprobs=order.logprobs,
        overflow=overflow,
    )


def said(piece: Piece) -> Said:
    """The message that carries a piece."""
    return Said(piece.text, piece.ids, tuple((of.id, of.logprob, of.top) for of in piece.logprobs))


def piece_of(message: Said) -> Piece:
    """The piece that a message carries."""
    return Piece(message.text, message.ids, tuple(TokenLogprob(*of) for of in message.logprobs))
