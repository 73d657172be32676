"""What users hold: a model that answers many callers at once, inside their own event loop."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from contextlib import AsyncExitStack, aclosing
from functools import partial
from typing import TYPE_CHECKING, Final, Self, cast

import anyio
import anyio.to_thread

from actors import ActorError, ActorSystem, Supervision
from actors.notes import notes_of, with_notes
from crystalline.blas_limit import one_blas_thread
from crystalline.errors import GenerationError, SettingError
from crystalline.inference.call import SUBMITS_MAX, Calls
from crystalline.inference.desk import Desk, DeskSettings
from crystalline.inference.editions import Shelf
from crystalline.inference.engine import CONTEXT_MAX, Engine
from crystalline.inference.follower import edition_of
from crystalline.inference.generate import ask
from crystalline.inference.messages import Begun, Over, Said, piece_of
from crystalline.inference.request import Completion, Piece, Usage
from crystalline.inference.sampling import SamplingOptions
from crystalline.inference.scheduler import Tally
from crystalline.inference.worker import START_S

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from pathlib import Path
    from types import TracebackType

    from actors import ActorRef
    from crystalline.inference.engine import Backend
    from crystalline.inference.request import FinishReason, Overflow, Request
    from crystalline.inference.scheduler import Statistics
    from crystalline.inference.text_model import TextModel
    from crystalline.inference.weights import Precision

__all__ = ["DEADLINE_S", "SHUTDOWN_S", "SLOTS_MAX", "Generator"]

DEADLINE_S: Final = 600.0
"""Seconds that a request may take if nothing else is said."""

SHUTDOWN_S: Final = 4.0
"""Seconds in which leaving the generator ends whatever still runs."""

SLOTS_MAX: Final = 256

# No token of a usual vocabulary has more characters, so that a longer prompt need not be read to be refused.
_CHARS_PER_TOKEN: Final = 128

# A text of so many is cut into tokens within a few milliseconds.
_AT_ONCE_CHARS: Final = 4096
_DEFAULT: Final = SamplingOptions()
_DESK: Final = Supervision(max_restarts=3, window_s=60.0, backoff_s=0.05)


class Generator:
    """A model that answers: `async with Generator(model) as generator: ...`.

    The requests that run share the steps of one engine; they join and leave between steps. What a request is
    answered does not depend on the others. Leaving the block ends every request that is still open in a
    `GenerationError`, within `SHUTDOWN_S`. While it is open, BLAS uses one thread in the whole process.

    Args:
        model: weights and tokenizer.
        slots: requests that run at a time; each takes the memory of a whole context. 1 to 256.
        queue: requests that wait besides those.
        context: the most tokens that a request may have; None: as many as the model was made for, at most
            8192.
        weights: "int8" halves or quarters what a step has to read, and costs a little quality.
        threads: that compute one step; None: the engine's choice.
        backend: what computes it, see `Engine`.
        system: the actor system to run in, as a trainer's `trainer.system`; None: one of its own.
        follow: the run folder of a training. New requests are answered with its latest checkpoint, those
            that run with the weights they began with. A checkpoint that is damaged or gone is skipped, with a
            warning in the log (logger `crystalline`), and tried again.
        follow_s: how often to look there, in seconds.
        deadline_s: how long a request may take that says nothing else.
        step_timeout_s: how long one step may take. One that takes longer has lost its engine: the requests
            that it worked for end in a `GenerationError`, the others go on with a new engine.
        prefill_tokens: tokens of prompts that one step reads at most. A long prompt is read in pieces of 512
            tokens; one piece is read also where that is more.

    Raises:
        SettingError: a number is out of range.
        GenerationError: the engine cannot be made (on entering).
    """

    def __init__(
        self,
        model: TextModel,
        *,
        slots: int = 8,
        queue: int = 64,
        context: int | None = None,
        weights: Precision = "float32",
        threads: int | None = None,
        backend: Backend = "auto",
        system: ActorSystem | None = None,
        follow: Path | None = None,
        follow_s: float = 1.0,
        deadline_s: float = DEADLINE_S,
        step_timeout_s: float = 60.0,
        prefill_tokens: int = 512,
    ) -> None:
        limits = {"slots": slots, "queue": queue, "prefill_tokens": prefill_tokens}
        for name, number in limits.items():
            if number < 1:
                raise SettingError(f"{name} is {number}: choose a number >= 1")
        if slots > SLOTS_MAX:
            raise SettingError(f"slots is {slots}: choose at most {SLOTS_MAX}")
        times = {"deadline_s": deadline_s, "step_timeout_s": step_timeout_s, "follow_s": follow_s}
        for name, seconds in times.items():
            _check_time(name, seconds)
        self._model = model
        self._slots = slots
        longest = min(model.config.seq_len, CONTEXT_MAX)
        self._context = longest if context is None else context
        if not 1 <= self._context <= model.config.seq_len:
            raise SettingError(
                f"context is {context}: choose from 1 to {model.config.seq_len}, for which the model was made"
            )
        self._weights = weights
        self._threads = threads
        self._backend: Backend = backend
        self._given = system
        self._deadline_s = deadline_s
        self._tally = Tally()
        self._shelf = Shelf(edition_of(model, ""), self._make_engine)
        self._settings = DeskSettings(
            self._shelf, self._tally, slots, queue, prefill_tokens, step_timeout_s, follow, follow_s
        )
        self._stack = AsyncExitStack()
        self._system: ActorSystem | None = None
        self._desk: ActorRef[Desk] | None = None
        self._calls: Calls | None = None

    async def __aenter__(self) -> Self:
        if self._system is not None:
            raise SettingError("this generator was opened before: make a new one")
        async with AsyncExitStack() as stack:
            stack.enter_context(one_blas_thread())
            system = self._given
            if system is None:
                system = await stack.enter_async_context(ActorSystem("generator", shutdown_s=SHUTDOWN_S))
            self._system = system
            stack.push_async_callback(self._close)
            try:
                self._desk = await system.spawn(
                    Desk,
                    self._settings,
                    supervision=_DESK,
                    capacity=4 * SUBMITS_MAX,
                    handler_timeout_s=START_S,
                )
            except ActorError as error:
                closed = GenerationError(f"the generator cannot be opened: {error}")
                raise with_notes(closed, notes_of(error)) from error
            self._calls = Calls(system, self._desk)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):  # bounded: every part of the stack is
            await self._stack.aclose()

    def stream(
        self,
        prompt: str | Sequence[int],
        *,
        tokens: int = 200,
        options: SamplingOptions = _DEFAULT,
        seed: int = 0,
        stop: str | Sequence[str] = (),
        logprobs: int | None = None,
        overflow: Overflow = "refuse",
        deadline_s: float | None = None,
        caller: str = "",
    ) -> AsyncGenerator[Piece, None]:
        """Continue a prompt, piece by piece: `async for piece in generator.stream(prompt): ...`.

        Args:
            prompt: text, or token ids.
            tokens: the most tokens to add.
            options: how they are drawn.
            seed: of the draws, in [0, 2**63). The same request gives the same text with the same weights.
            stop: one text or several, at which the output ends, besides what ends the texts of this model.
            logprobs: None, or how many alternatives of each token to name.
            overflow: what to do when the context is full, see `Request`.
            deadline_s: how long it may take from now on, the time in the queue and that of a slow reader
                included; None: the generator's `deadline_s`.
            caller: in whose name. Free places go to the callers in turn, see `scheduler`.

        Returns:
            The pieces. What the reader has not read yet is kept: `tokens` pieces at the most.

        Raises:
            SettingError: a value is out of range, or the prompt too long. Raised at once; where the prompt is
                a text of more than 4,096 characters, by the iterator, like all that follow.
            QueueFull: there is no room.
            DeadlineExceeded: its time is over.
            GenerationError: the engine was lost, or the generator closed. The text tells how.

        Leaving the iteration, by `break`, `aclose` or cancellation, ends the request: its place is free at
        the next step. After a `break` Python closes the iterator when nobody refers to it any more; to be
        sure of the moment use `contextlib.aclosing`.
        """
        calls, limit_s = self._opened(), self._limit_s(deadline_s)
        make = partial(self._request, prompt, tokens, options, seed, stop, logprobs, overflow)
        return self._pieces(calls, None if _is_long(prompt) else make(), make, limit_s, caller)

    async def complete(
        self,
        prompt: str | Sequence[int],
        *,
        tokens: int = 200,
        options: SamplingOptions = _DEFAULT,
        seed: int = 0,
        stop: str | Sequence[str] = (),
        logprobs: int | None = None,
        overflow: Overflow = "refuse",
        deadline_s: float | None = None,
        caller: str = "",
    ) -> Completion:
        """Continue a prompt and return the whole answer. Arguments and errors are those of `stream`.

        Cancelling it ends the request.
        """
        calls, limit_s = self._opened(), self._limit_s(deadline_s)
        make = partial(self._request, prompt, tokens, options, seed, stop, logprobs, overflow)
        request = await _in_thread(make) if _is_long(prompt) else make()
        pieces: list[Piece] = []
        finish, weights = "", ""
        async with aclosing(calls.hear(request, limit_s, caller)) as heard:
            async for message in heard:
                match message:
                    case Said():
                        pieces.append(piece_of(message))
                    case Begun():
                        weights = message.weights
                    case Over():
                        finish = message.reason
        ids = tuple(token for piece in pieces for token in piece.ids)
        return Completion(
            "".join(piece.text for piece in pieces),
            ids,
            cast("FinishReason", finish),
            Usage(len(request.prompt), len(ids)),
            tuple(logprob for piece in pieces for logprob in piece.logprobs),
            weights,
        )

    def statistics(self) -> Statistics:
        """What is counted now. The counts stay when the generator is closed."""
        return self._tally.statistics()

    @property
    def weights(self) -> str:
        """The name of the weights that new requests are answered with: empty for those of `model`."""
        return self._shelf.current.name

    @property
    def system(self) -> ActorSystem:
        """The actors at work, for `tree()`, `waits()` and `statistics()`."""
        if self._system is None:
            raise SettingError("the generator is not open: use `async with Generator(...)`")
        return self._system

    def _make_engine(self, model: TextModel) -> Engine:
        engine = Engine(
            model.parameters,
            slots=self._slots,
            context=self._context,
            threads=self._threads,
            weights=self._weights,
            backend=self._backend,
        )
        engine.warm()  # to compile takes longer than a step may
        return engine.__enter__()

    def _opened(self) -> Calls:
        if self._calls is None:
            raise SettingError("the generator is not open: use `async with Generator(...)`")
        return self._calls

    # One request

    def _request(
        self,
        prompt: str | Sequence[int],
        tokens: int,
        options: SamplingOptions,
        seed: int,
        stop: str | Sequence[str],
        logprobs: int | None,
        overflow: Overflow,
    ) -> Request:
        given = self._checked(prompt)
        request = ask(self._model, given, tokens, options, seed, stop, logprobs, overflow)
        if seed >= 2**63:
            raise SettingError(f"seed is {seed}: choose a number below 2**63")
        if overflow == "refuse" and len(request.prompt) > self._context:
            raise self._too_long(f"{len(request.prompt)} tokens")
        return request

    def _checked(self, prompt: str | Sequence[int]) -> str | Sequence[int]:
        """A prompt that is a text or a list of whole numbers, and short enough to be looked at."""
        given: object = prompt
        if not isinstance(given, Sequence):
            kind = type(given).__name__
            raise SettingError(f"the prompt is a {kind}: give a text, or a list of token ids")
        unit = "characters" if isinstance(prompt, str) else "tokens"
        if len(prompt) > self._context * _CHARS_PER_TOKEN:
            raise self._too_long(f"{len(prompt)} {unit}")
        if isinstance(prompt, str | bytes | bytearray):
            return prompt  # `ask` knows what to say to the others
        try:
            return [operator.index(token) for token in prompt]
        except TypeError as error:
            raise SettingError(f"the prompt is no list of token ids: {error}") from None

    def _too_long(self, length: str) -> SettingError:
        return SettingError(
            f"the prompt has {length}, and the context is {self._context} tokens: shorten it, or let the "
            "context slide"
        )

    def _limit_s(self, deadline_s: float | None) -> float:
        if deadline_s is None:
            return self._deadline_s
        _check_time("deadline_s", deadline_s)
        return deadline_s

    async def _pieces(
        self, calls: Calls, made: Request | None, make: Callable[[], Request], limit_s: float, caller: str
    ) -> AsyncGenerator[Piece, None]:
        request = await _in_thread(make) if made is None else made
        async with aclosing(calls.hear(request, limit_s, caller)) as heard:
            async for message in heard:
                if isinstance(message, Said):
                    yield piece_of(message)

    async def _close(self) -> None:
        """Stop the actors, and throw the engines away even if the actors could not."""
        system, desk, calls = self._system, self._desk, self._calls
        if calls is not None:
            calls.close()
        try:
            if system is not None and desk is not None:
                await system.stop(desk, timeout_s=SHUTDOWN_S)
        except ActorError:
            return  # the system was closed before, and ended them
        finally:
            self._shelf.close()
            self._tally.adopt()  # of those that nobody was left to end


def _is_long(prompt: object) -> bool:
    """Whether the prompt is a text that takes too long to cut into tokens on the event loop."""
    return isinstance(prompt, str) and len(prompt) > _AT_ONCE_CHARS


async def _in_thread(make: Callable[[], Request]) -> Request:
    """Make a request in a thread, which is left behind when nobody waits any more; it writes nothing."""
    return await anyio.to_thread.run_sync(make, abandon_on_cancel=True)


def _check_time(name: str, seconds: float) -> None:
    if not 0.0 < seconds < math.inf:
        raise SettingError(f"{name} is {seconds}: choose a finite number of seconds above 0")
