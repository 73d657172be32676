"""A model at work on several texts at once: prompts in, logits out. Synchronous, one call at a time."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import numpy as np

from crystalline.errors import SettingError
from crystalline.inference.cache import KeyValueCache
from crystalline.inference.crew import Crew
from crystalline.inference.decode import NumpyDecoder
from crystalline.inference.prefill import PREFILL_PIECE, Prefill
from crystalline.inference.weights import Precision, Weights
from crystalline.kernels.rotary import rotary_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from crystalline.kernels.arrays import Floats
    from crystalline.model import Parameters

__all__ = ["CONTEXT_MAX", "Backend", "Engine", "compiled_available"]

Backend = Literal["auto", "numpy", "compiled"]

CONTEXT_MAX: Final = 8192
"""Positions of a slot when nobody says how many, at the most."""

_THREADS_MAX: Final = 8

_THREADS_LIMIT: Final = 256

_COMPILED_MIN_BYTES: Final = 16 * 1024 * 1024
"""A step over so many takes numpy a millisecond or two; to load the compiled one takes half a second."""


def compiled_available() -> bool:
    """Whether numba is installed, by `pip install '.[fast]'` where the sources are, on a POSIX system."""
    return find_spec("numba") is not None and hasattr(os, "sched_yield")


class Engine:
    """Weights, a cache of keys and values, and the threads that compute.

    A slot holds one text. Its bits do not depend on the other slots, nor on the number of threads. Not safe
    for several threads at once: whoever shares an engine makes one call at a time. BLAS should be limited to
    one thread; the engine's own threads share out the work.

    Args:
        parameters: float32 weights; only read.
        slots: texts at once, >= 1.
        context: most positions of a text; None for the model's, at most `CONTEXT_MAX`.
        threads: that compute, 1 to 256; None for one a core, at most 8.
        weights: what the matrices are read as: `float32`, or `int8` with a scale for each row.
        backend: `compiled` needs numba, `numpy` does not. Their logits differ in the last bits. `auto` takes
            the first if it is there and the model is large enough to make up for the time it takes to load.

    Attributes:
        config: the model's sizes.
        slots: as given.
        context: positions of a slot.
        threads: as resolved.
        backend: `numpy` or `compiled`.
        nbytes: of weights and cache.
        heard: may be set: called by `prefill` after each piece, with the tokens read so far and those of the
            prompt.

    Raises:
        SettingError: a number is out of range, the context is longer than the model's, there is no memory for
            the cache, or numba is asked for and not installed.
        ValueError: the parameters are not float32.
    """

    def __init__(
        self,
        parameters: Parameters,
        *,
        slots: int = 1,
        context: int | None = None,
        threads: int | None = None,
        weights: Precision = "float32",
        backend: Backend = "auto",
    ) -> None:
        config = parameters.config
        self.config, self.slots = config, _positive("slots", slots)
        self.context = min(config.seq_len, CONTEXT_MAX) if context is None else _positive("context", context)
        if self.context > config.seq_len:
            raise SettingError(
                f"context is {context}, but the model was made for {config.seq_len} positions: choose fewer"
            )
        self.threads = _positive("threads", _cores() if threads is None else threads)
        if self.threads > _THREADS_LIMIT:
            raise SettingError(f"threads is {threads}: choose at most {_THREADS_LIMIT}, one a core is best")
        self._weights = Weights(parameters, weights)
        self.backend = _resolved(backend, self._weights.nbytes)
        self._cache = KeyValueCache(config, self.slots, self.context)
        cos, sin = (
            np.ascontiguousarray(table.T, np.float32)
            for table in rotary_tables(self.context, config.head_dim, config.rope_theta, config.rope_scaling)
        )
        products = None if self.backend == "numpy" else _compiled().CompiledProducts()
        self.heard: Callable[[int, int], None] = _nobody
        self._crew = Crew(self.threads)
        try:
            self._prefill = Prefill(self._weights, self._cache, cos, sin, self._crew, products)
            self._decode: Callable[[Sequence[int], Sequence[int]], Floats] = (
                NumpyDecoder(self._weights, self._cache, cos, sin)
                if self.backend == "numpy"
                else _compiled().CompiledDecoder(self._weights, self._cache, cos, sin, self._crew)
            )
        except BaseException:  # there may be no memory for what they compute with
            self._crew.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the threads; a second call does nothing. The engine cannot be used afterwards."""
        self._crew.close()

    @property
    def nbytes(self) -> int:
        """Bytes of the weights that a step reads, and of the whole cache."""
        return self._weights.nbytes + self._cache.nbytes

    @property
    def compiles_first(self) -> bool:
        """Whether `warm`, or else the first step, compiles for ten seconds what was never compiled here."""
        return self.backend == "compiled" and not _compiled().is_kept(self._weights.precision)

    def warm(self) -> None:
        """Have everything compiled, or loaded that was; slot 0 is empty then."""
        if self.backend == "compiled":
            self.prefill(0, [0])
            if self.context > 1:
                self.decode([0], [0])
            self._cache.lengths[0] = 0
            _compiled().keep(self._weights.precision)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the weights that a decode step reads."""
        return self._weights.nbytes

    def length(self, slot: int) -> int:
        """Positions in use of a slot.

        Raises:
            ValueError: there is no such slot.
        """
        self._check_slot(slot)
        return self._cache.lengths[slot]

    def prefill(self, slot: int, ids: Sequence[int]) -> Floats:
        """Forget what a slot held, and take in a prompt.

        Args:
            slot: from 0 to `slots` - 1.
            ids: 1 to `context` token ids.

        Returns:
            Logits after the last id, (V,), valid until the next call.

        Raises:
            ValueError: no such slot, no ids, too many, or one that is no token.
        """
        self._check_slot(slot)
        if not 1 <= len(ids) <= self.context:
            raise ValueError(f"a prompt has 1 to {self.context} tokens here, got {len(ids)}")
        self._check_ids(ids)
        # Not in use until all is there: a prefill that is given up leaves an empty slot.
        self._cache.lengths[slot] = 0
        try:
            for start in range(0, len(ids), PREFILL_PIECE):
                logits = self._prefill(slot, ids[start : start + PREFILL_PIECE])
                self.heard(self._cache.lengths[slot], len(ids))
        except BaseException:
            self._cache.lengths[slot] = 0
            raise
        return logits

    def extend(self, slot: int, ids: Sequence[int]) -> Floats:
        """Take in the next piece of a prompt, so that others need not wait for all of it.

        The first piece is for `prefill`. If every piece but the last has `PREFILL_PIECE` tokens, the slot has
        the bits that `prefill` of the whole prompt gives it.

        Args:
            slot: one that holds whole pieces only.
            ids: 1 to `PREFILL_PIECE` token ids, for which there is room.

        Returns:
            Logits after the last id, (V,), valid until the next call.

        Raises:
            ValueError: no such slot, one that does not hold whole pieces, no ids, too many, or one that is no
                token.
        """
        held = self.length(slot)
        if held == 0 or held % PREFILL_PIECE:
            raise ValueError(
                f"slot {slot} holds {held} tokens, which are not whole pieces of {PREFILL_PIECE}"
            )
        if not 1 <= len(ids) <= min(PREFILL_PIECE, self.context - held):
            raise ValueError(
                f"a piece has 1 to {PREFILL_PIECE} tokens and slot {slot} has room for "
                f"{self.context - held}, got {len(ids)}"
            )
        self._check_ids(ids)
        return self._prefill(slot, ids)

    def decode(self, slots: Sequence[int], ids: Sequence[int]) -> Floats:
        """Take in one more token in each of some slots.

        Args:
            slots: different ones, each with a prompt and with room.
            ids: one for each.

        Returns:
            Logits after each, (n, V), valid until the next call.

        Raises:
            ValueError: slots and ids do not match, a slot is named twice, empty or full, or an id is no
                token.
        """
        if len(slots) != len(ids) or len(set(slots)) != len(slots) or not len(slots):
            raise ValueError(f"a step takes one id for each of some different slots, got {slots} and {ids}")
        for slot in slots:
            if not 0 < self.length(slot) < self.context:
                raise ValueError(
                    f"slot {slot} is empty or full: it holds {self.length(slot)} of {self.context}"
                )
        self._check_ids(ids)
        logits = self._decode(slots, ids)
        for slot in slots:
            self._cache.lengths[slot] += 1
        return logits

    def _check_slot(self, slot: int) -> None:
        if not 0 <= slot < self.slots:
            raise ValueError(f"there is no slot {slot}, only 0 to {self.slots - 1}")

    def _check_ids(self, ids: Sequence[int]) -> None:
        if min(ids) < 0 or max(ids) >= self.config.vocab_size:
            raise ValueError(
                f"token ids lie in 0 to {self.config.vocab_size - 1}, got {min(ids)} to {max(ids)}"
            )


def _nobody(_read: int, _tokens: int) -> None:
    """Who hears of the pieces of a prompt when nobody has asked."""


def _cores() -> int:
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # a system that does not tell
        cores = os.cpu_count() or 1
    return min(cores, _THREADS_MAX)


def _positive(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise SettingError(f"{name} is {value!r}: choose a whole number of at least 1")
    return value


def _resolved(backend: Backend, weight_bytes: int) -> Literal["numpy", "compiled"]:
    if backend not in {"auto", "numpy", "compiled"}:
        raise SettingError(f"backend is {backend!r}: choose auto, numpy or compiled")
    if backend == "auto":
        return "compiled" if weight_bytes >= _COMPILED_MIN_BYTES and compiled_available() else "numpy"
    if backend == "compiled" and not compiled_available():
        raise SettingError(
            "the compiled backend needs numba: pip install '.[fast]' where crystalline's sources are"
        )
    return backend


def _compiled() -> Any:
    """A module that imports numba: half a second that only this backend takes."""
    return import_module("crystalline.inference.decode_compiled")
