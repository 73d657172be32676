"""The worker: does one step after the other, each as a job on the engine.

It decides nothing. What goes wrong in a step ends this life of it: nobody knows then what the engine holds,
so the next life gets another engine, and the desk ends the requests that the old one held.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from actors import Actor, ActorRef, Context, JobToken, on
from crystalline.errors import CrystallineError
from crystalline.inference.continuation import Continuation
from crystalline.inference.messages import (
    Begun,
    Order,
    Outcome,
    Ready,
    Start,
    Step,
    Stepped,
    request_of,
    said,
)
from crystalline.inference.prefill import PREFILL_PIECE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystalline.inference.editions import Press, Shelf
    from crystalline.inference.engine import Engine
    from crystalline.inference.request import Piece

__all__ = ["START_S", "Worker"]

START_S: Final = 120.0
"""Seconds in which an engine is made."""

_STORY_CHARS: Final = 160


@dataclass(slots=True)
class _Held:
    """A request that has a slot."""

    number: int
    slot: int
    listener: ActorRef[Any]
    order: Order
    press: Press
    text: Continuation | None = None
    read: int = 0  # tokens of the prompt, or of what is read anew


@dataclass(frozen=True, slots=True)
class _Result:
    held: _Held
    piece: Piece | None
    outcome: Outcome


class Worker(Actor):
    """Runs steps.

    Args:
        shelf: the weights and their engines.
        step_timeout_s: how long one step may take.
    """

    def __init__(self, shelf: Shelf, step_timeout_s: float) -> None:
        self._shelf = shelf
        self._step_timeout_s = step_timeout_s
        self._held: dict[int, _Held] = {}

    async def on_start(self, ctx: Context) -> None:
        """Make an engine: of the one before, if there was one, nobody knows what is in it."""
        self._shelf.clear()
        edition, press = self._shelf.current, self._shelf.blank()
        try:
            await ctx.offload_within(START_S, press.fill, lambda: edition, self._shelf.make)
        except BaseException:
            self._shelf.discard(press)
            raise
        self._shelf.install(press)
        if ctx.parent is not None:
            ctx.tell(ctx.parent, Ready())

    async def on_stop(self, _ctx: Context) -> None:
        """Close the engines."""
        self._shelf.clear()

    @on(Start)
    async def start(self, msg: Start, ctx: Context) -> None:
        """Give a request its slot, and from now on the weights that are the newest now."""
        press = self._shelf.begin()
        self._held[msg.number] = _Held(msg.number, msg.slot, msg.listener, msg.order, press)
        ctx.tell(msg.listener, Begun(press.edition.name))

    @on(Step)
    async def step(self, msg: Step, ctx: Context) -> None:
        """Do one step, and tell everybody what came of it."""
        for number in msg.left:
            self._end(number)
        prefill = [self._held[number] for number in msg.prefill]
        decode = [self._held[number] for number in msg.decode]
        results: list[_Result] = []
        if prefill or decode:
            results = await ctx.offload_within(self._step_timeout_s, _work, prefill, decode)
        for result in results:
            if result.piece is not None:
                ctx.tell(result.held.listener, said(result.piece))
            if result.outcome.finish or result.outcome.story:
                self._end(result.held.number)
        if ctx.parent is not None:
            ctx.tell(ctx.parent, Stepped(tuple(result.outcome for result in results)))

    def _end(self, number: int) -> None:
        held = self._held.pop(number, None)
        if held is not None:  # one that was cancelled in the step in which it ended has left already
            self._shelf.end(held.press)


def _work(token: JobToken, prefill: Sequence[_Held], decode: Sequence[_Held]) -> list[_Result]:
    """One step. In a job: nothing but the engines and the texts of these requests is written to."""
    results: list[_Result] = []
    for held in prefill:
        token.check()
        results.append(held.press.use(partial(_read, held)))
    for press in dict.fromkeys(held.press for held in decode):
        token.check()
        group = [held for held in decode if held.press is press]
        results += press.use(partial(_continue, group))
    return results


def _read(held: _Held, engine: Engine) -> _Result:
    """Read a piece of a prompt, or of what is left of a text after the context was full.

    After the last piece a token is drawn.
    """
    try:
        if held.text is None:
            edition = held.press.edition
            tokenizer, request = edition.model.tokenizer, request_of(held.order)
            held.text = Continuation(request, tokenizer, engine.context, absent=edition.absent)
    except CrystallineError as error:
        return _Result(held, None, Outcome(held.number, story=_story(error)))
    ids = held.text.to_prefill()
    piece = ids[held.read : held.read + PREFILL_PIECE]
    logits = (engine.extend if held.read else engine.prefill)(held.slot, piece)
    held.read += len(piece)
    if held.read < len(ids):
        return _Result(held, None, Outcome(held.number, prefilled=len(piece), prefill=len(ids) - held.read))
    held.read = 0
    return _advance(held, held.text, logits, len(piece))


def _continue(group: Sequence[_Held], engine: Engine) -> list[_Result]:
    texts = [held.text for held in group if held.text is not None]
    logits = engine.decode([held.slot for held in group], [text.last for text in texts])  # (n, V)
    return [_advance(held, text, row, 0) for held, text, row in zip(group, texts, logits, strict=True)]


def _advance(held: _Held, text: Continuation, logits: Any, prefilled: int) -> _Result:
    """Draw a token. What is wrong with one request is no reason to end the others."""
    try:
        piece = text.advance(logits)
    except CrystallineError as error:
        return _Result(held, None, Outcome(held.number, prefilled=prefilled, story=_story(error)))
    drawn = len(piece.ids) if piece is not None else 0
    prefill = len(text.to_prefill()) if text.finished is None else 0
    return _Result(held, piece, Outcome(held.number, drawn, prefilled, prefill, text.finished or ""))


def _story(error: CrystallineError) -> str:
    return str(error)[:_STORY_CHARS]
