"""Clocks around the kernels where the model calls them, and around every matrix product inside.

They are put on from outside, and taken off again, so that a training without them runs as it always does.
With them on a call costs about a microsecond more.
"""

from __future__ import annotations

import functools
import inspect
import sys
import threading
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, fields
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import numpy as np

from crystalline.model import transformer
from crystalline.training import work
from tests.benchmarks.anatomy.moved import bytes_moved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["GRADIENT", "JOBS", "Clocks", "Row", "merged"]

GRADIENT: Final = "loss_and_gradient"
"""The row of whole forward and backward passes."""

JOBS: Final = {"compute": "compute", "_add": "tree additions", "reduce": "reduce", "apply": "AdamW"}
"""Methods of the spheres' work, and what their rows are called."""

_KERNELS, _MODEL = "crystalline.kernels.", "crystalline.model."
_PLANNING: Final = "crystalline.model.workspace"  # asks kernels for sizes, and never computes


@dataclass(slots=True)
class Row:
    """What was spent under one name, by all threads together.

    Attributes:
        calls: how many.
        seconds: within them.
        inner_s: the part of it within matrix products.
        flops: of matrix products, as they were computed.
        bytes: that element-wise work has to read and write.
    """

    calls: int = 0
    seconds: float = 0.0
    inner_s: float = 0.0
    flops: float = 0.0
    bytes: float = 0.0

    def add(self, other: Row) -> None:
        """Add another one's numbers to these."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


def merged(tables: list[dict[str, Row]]) -> dict[str, Row]:
    """The rows of several tables, added up by name."""
    found: dict[str, Row] = defaultdict(Row)
    for table in tables:
        for name, row in table.items():
            found[name].add(row)
    return dict(found)


class _Tally(threading.local):
    """One thread's rows, and the kernel that it is in."""

    def __init__(self, all_rows: list[dict[str, Row]]) -> None:
        self.rows: dict[str, Row] = defaultdict(Row)
        self.kernel = ""
        all_rows.append(self.rows)  # atomic


class Clocks:
    """Clocks that can be put on and taken off, while nobody computes.

    Args:
        names: of weights by the unordered pair of their dimensions, for the names of products.
    """

    def __init__(self, names: Mapping[frozenset[int], str]) -> None:
        self._names = names
        self._tables: list[dict[str, Row]] = []
        self._tally = _Tally(self._tables)
        self._on = ExitStack()

    def put_on(self) -> None:
        """Put clocks around kernels, products, passes and jobs."""
        with ExitStack() as stack:
            for place, name, clocked in self._patches():
                stack.enter_context(mock.patch.object(place, name, clocked))
            self._on = stack.pop_all()

    def take_off(self) -> None:
        """Leave everything as it was; harmless when no clock is on."""
        self._on.close()

    def take(self) -> dict[str, Row]:
        """All that was seen since the last call, by name. To be called while nobody computes."""
        found = merged(self._tables)
        for table in self._tables:
            table.clear()
        return found

    def _patches(self) -> Iterator[tuple[Any, str, Any]]:
        products = _numpy_with(matmul=self._product)
        in_model = _numpy_with(matmul=self._product, add=_Ufunc(np.add, self._kernel("add", np.add)))
        for module in [module for name, module in sys.modules.items() if name.startswith((_KERNELS, _MODEL))]:
            of_model = module.__name__.startswith(_MODEL) and module.__name__ != _PLANNING
            for name, value in list(vars(module).items()):
                if value is np:
                    yield module, name, in_model if of_model else products
                elif of_model and isinstance(value, FunctionType) and value.__module__.startswith(_KERNELS):
                    yield module, name, self._kernel(name, value)
        yield work, GRADIENT, self._span(GRADIENT, transformer.loss_and_gradient)
        for name, row in JOBS.items():
            yield work.ShardWork, name, self._span(row, getattr(work.ShardWork, name))

    def _span(self, name: str, fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def clocked(*args: Any, **kwargs: Any) -> Any:
            begun_s = time.perf_counter()
            try:
                return fn(*args, **kwargs)
            finally:
                row = self._tally.rows[name]
                row.calls += 1
                row.seconds += time.perf_counter() - begun_s

        return clocked

    def _kernel(self, name: str, fn: Callable[..., Any]) -> Callable[..., Any]:
        names = ("x", "y") if isinstance(fn, np.ufunc) else tuple(inspect.signature(fn).parameters)

        def clocked(*args: Any, **kwargs: Any) -> Any:
            tally = self._tally
            tally.kernel = name
            begun_s = time.perf_counter()
            try:
                return fn(*args, **kwargs)
            finally:
                row = tally.rows[name]
                row.seconds += time.perf_counter() - begun_s
                row.calls += 1
                row.bytes += bytes_moved(name, {**dict(zip(names, args, strict=False)), **kwargs})
                tally.kernel = ""

        return clocked

    def _product(self, left: Any, right: Any, out: Any = None) -> Any:
        begun_s = time.perf_counter()
        result = np.matmul(left, right, out=out)
        spent_s = time.perf_counter() - begun_s
        if min(left.ndim, right.ndim) == 1 or 1 in {*left.shape[-2:], *right.shape[-2:]}:
            return result  # with a vector: a pass over the matrix, as element-wise work is
        tally = self._tally
        row = tally.rows[self._product_name(tally.kernel, (*result.shape[-2:], left.shape[-1]))]
        row.calls += 1
        row.seconds += spent_s
        row.flops += 2.0 * result.size * left.shape[-1]
        if tally.kernel:
            tally.rows[tally.kernel].inner_s += spent_s
        return result

    def _product_name(self, kernel: str, sizes: tuple[int, int, int]) -> str:
        m, n, k = sizes
        forward = not kernel.endswith("_backward") and kernel != ""
        if kernel.startswith("attention"):
            weight = "attention"
        else:
            pairs = (frozenset(pair) for pair in ((m, k), (n, k), (m, n)))
            weight = next((self._names[pair] for pair in pairs if pair in self._names), "other")
        return f"{weight} products, {'forward' if forward else 'backward'}"


class _Ufunc:
    """A ufunc that is clocked when it is called; everything else of it is as it was."""

    def __init__(self, ufunc: np.ufunc, clocked: Callable[..., Any]) -> None:
        self._ufunc, self._clocked = ufunc, clocked

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._clocked(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ufunc, name)


def _numpy_with(**changes: Any) -> ModuleType:
    """Numpy, a few functions of it replaced."""
    changed = ModuleType("numpy")
    vars(changed).update({**vars(np), **changes})
    return changed
