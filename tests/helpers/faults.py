"""Faults in the jobs of a training run, at the places that a test names."""

from __future__ import annotations

import functools
import threading
from typing import TYPE_CHECKING, Any

from crystalline.training.work import ShardWork

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

WAIT_S = 20.0
FIRST = frozenset({1})


class Fault:
    """Something that happens in chosen calls of one job.

    Args:
        monkeypatch: takes it away again.
        job: name of a method of `ShardWork`.
        calls: which calls it happens in, counted from 1 over all spheres; None for all of them.
        act: what happens, in the job's thread, before the job's own work; it is given the job's arguments.

    Attributes:
        happened: how often it did.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        job: str,
        act: Callable[..., object],
        *,
        calls: frozenset[int] | None = FIRST,
    ) -> None:
        self.happened = 0
        self._calls = calls
        self._act = act
        self._seen = 0
        self._lock = threading.Lock()
        original = getattr(ShardWork, job)

        @functools.wraps(original)
        def faulty(*args: Any, **kwargs: Any) -> Any:
            if self._is_due():
                self._act(*args[2:])
            return original(*args, **kwargs)

        monkeypatch.setattr(ShardWork, job, faulty)

    def _is_due(self) -> bool:
        with self._lock:
            self._seen += 1
            due = self._calls is None or self._seen in self._calls
            self.happened += due
            return due


def raising(error: BaseException) -> Callable[..., object]:
    """An act that raises."""

    def act(*_: object) -> None:
        raise error

    return act


class Stuck:
    """An act that blocks its thread until the test lets go, and not longer than `WAIT_S`.

    Attributes:
        entered: set once a thread is stuck.
        left: set once it has gone on, and done its mischief.
    """

    def __init__(self, mischief: Callable[..., object] = lambda *_: None) -> None:
        self.entered = threading.Event()
        self.left = threading.Event()
        self._go = threading.Event()
        self._mischief = mischief

    def __call__(self, *args: Any) -> None:
        self.entered.set()
        self._go.wait(WAIT_S)
        self._mischief(*args)
        self.left.set()

    def let_go(self) -> None:
        self._go.set()
