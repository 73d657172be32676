"""BLAS with one thread, while somebody in the process wants it so."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["one_blas_thread"]


class _BlasLimit:
    """The process has one number of BLAS threads: the first who asks sets it, the last restores it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self._limits: threadpool_limits | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if self._open == 0:
                self._limits = threadpool_limits(limits=1, user_api="blas")
            self._open += 1
        try:
            yield
        finally:
            with self._lock:
                self._open -= 1
                if self._open == 0 and self._limits is not None:
                    self._limits.restore_original_limits()


one_blas_thread = _BlasLimit()
"""While a block of this is open BLAS uses one thread in the whole process: the cores belong to jobs."""
