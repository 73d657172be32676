"""Which weights answer: those for new requests and, while older requests run, those that they began with.

The shelf is shared by the actors of one generator, as a run's memory is by those of a training. Only handlers
touch it; a job gets one engine, and writes to nothing else.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from crystalline.inference.engine import Engine
    from crystalline.inference.text_model import TextModel

__all__ = ["ENGINES_MAX", "Edition", "Press", "Shelf"]

T = TypeVar("T")

ENGINES_MAX: Final = 2
"""Engines at once: newer weights than these wait."""


@dataclass(frozen=True, slots=True, eq=False)
class Edition:
    """Weights with a name.

    Attributes:
        name: what answers are told to be from: that of the checkpoint's folder.
        model: weights and tokenizer.
        absent: ids that the model has and the tokenizer has not.
    """

    name: str
    model: TextModel
    absent: NDArray[np.intp]


class Press:
    """An engine with weights, which may be thrown away while a job is still inside.

    Args:
        edition: the weights.
        engine: for them; it belongs to the press.

    Attributes:
        edition: as given.
        users: requests that began here and have not ended.
    """

    def __init__(self, edition: Edition, engine: Engine) -> None:
        self.edition = edition
        self.users = 0
        self._engine: Engine | None = engine
        self._inside = threading.Lock()
        self._unwanted = False

    @property
    def context(self) -> int:
        """The most tokens that a request has place for."""
        engine = self._engine
        return engine.context if engine is not None else 0

    def use(self, work: Callable[[Engine], T]) -> T:
        """Call `work` with the engine; to be called in jobs, one at a time.

        Raises:
            RuntimeError: the engine was thrown away.
        """
        try:
            with self._inside:
                if self._engine is None:
                    raise RuntimeError("this engine was thrown away")
                return work(self._engine)
        finally:
            if self._unwanted:
                self._close()

    def discard(self) -> None:
        """Close the engine: now, or as soon as the job that was left behind in it returns."""
        self._unwanted = True
        self._close()

    def _close(self) -> None:
        # One of the two who come here, the job after it has left and whoever wants it closed, gets in.
        if self._inside.acquire(blocking=False):
            try:
                engine, self._engine = self._engine, None
                if engine is not None:
                    engine.__exit__(None, None, None)
            finally:
                self._inside.release()


class Shelf:
    """The weights in use.

    Args:
        edition: to begin with.
        make: makes an engine for the weights of a model, entered already; takes its time.

    Attributes:
        current: what new requests are answered with.
        make: as given.
    """

    def __init__(self, edition: Edition, make: Callable[[TextModel], Engine]) -> None:
        self.current = edition
        self.make = make
        self._presses: list[Press] = []

    @property
    def full(self) -> bool:
        """Whether newer weights have to wait."""
        return len(self._presses) >= ENGINES_MAX

    def install(self, press: Press) -> None:
        """Take an engine for the current weights; thrown away if there is one by now."""
        if press.edition is self.current and self._press() is None:
            self._presses.append(press)
        else:
            press.discard()

    def offer(self, press: Press) -> bool:
        """Answer new requests with newer weights; False, and they are thrown away, if there is no room."""
        if self.full:
            press.discard()
            return False
        self.current = press.edition
        self._presses.append(press)
        self._tidy()
        return True

    def begin(self) -> Press:
        """A request begins: where.

        Raises:
            RuntimeError: there is no engine.
        """
        press = self._press()
        if press is None:
            raise RuntimeError("a request began before there was an engine")
        press.users += 1
        return press

    def end(self, press: Press) -> None:
        """A request that began there has ended."""
        press.users -= 1
        self._tidy()

    def clear(self) -> None:
        """Throw all engines away: nobody knows what is in them."""
        presses, self._presses = self._presses, []
        for press in presses:
            press.discard()

    def _press(self) -> Press | None:
        return next((press for press in self._presses if press.edition is self.current), None)

    def _tidy(self) -> None:
        unused = [press for press in self._presses if not press.users and press.edition is not self.current]
        for press in unused:
            self._presses.remove(press)
            press.discard()
