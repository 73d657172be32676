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

    from actors import JobToken
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

    It is empty until a job fills it: whoever gives up waiting for that can throw it away all the same.

    Attributes:
        users: requests that began here and have not ended.
    """

    def __init__(self) -> None:
        self.users = 0
        self._edition: Edition | None = None
        self._engine: Engine | None = None
        self._inside = threading.Lock()
        self._unwanted = False

    @property
    def edition(self) -> Edition:
        """The weights.

        Raises:
            RuntimeError: it is empty.
        """
        if self._edition is None:
            raise RuntimeError("this press has no weights yet")
        return self._edition

    @property
    def wanted(self) -> bool:
        """Whether it was not thrown away."""
        return not self._unwanted

    def fill(self, token: JobToken, load: Callable[[], Edition], make: Callable[[TextModel], Engine]) -> None:
        """Load the weights and make an engine for them; a job, once."""
        try:
            with self._inside:
                self._edition = load()
                token.check()
                self._engine = make(self._edition.model)
        finally:
            if self._unwanted:
                self._close()

    def use(self, work: Callable[[Engine], T]) -> T:
        """Call `work` with the engine; to be called in jobs, one at a time.

        Raises:
            RuntimeError: the engine was thrown away, or never made.
        """
        try:
            with self._inside:
                if self._engine is None:
                    raise RuntimeError("this engine was thrown away, or never made")
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
        self._blanks: set[Press] = set()

    @property
    def full(self) -> bool:
        """Whether newer weights have to wait."""
        return len(self._presses) >= ENGINES_MAX

    def blank(self) -> Press:
        """An empty press, to be filled and then handed to `install` or `offer`, or else to `discard`."""
        press = Press()
        self._blanks.add(press)
        return press

    def discard(self, press: Press) -> None:
        """Throw one away that was not handed over."""
        self._blanks.discard(press)
        press.discard()

    def install(self, press: Press) -> None:
        """Take an engine for the current weights; thrown away if there is one by now, or it is not wanted."""
        if press.wanted and press.edition is self.current and self._press() is None:
            self._blanks.discard(press)
            self._presses.append(press)
        else:
            self.discard(press)

    def offer(self, press: Press) -> bool:
        """Answer new requests with newer weights; False, and they are thrown away, if there is no room."""
        if self.full or not press.wanted:
            self.discard(press)
            return False
        self._blanks.discard(press)
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

    def close(self) -> None:
        """Throw all engines away, those that are still being made included: it is over."""
        self.clear()
        for press in list(self._blanks):
            self.discard(press)

    def _press(self) -> Press | None:
        return next((press for press in self._presses if press.edition is self.current), None)

    def _tidy(self) -> None:
        unused = [press for press in self._presses if not press.users and press.edition is not self.current]
        for press in unused:
            self._presses.remove(press)
            press.discard()
