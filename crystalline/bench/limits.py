"""The limits of this machine, measured: matrix products a second, and bytes of memory a second.

All threads of a measurement work at once, each on arrays of its own and with one BLAS thread, as spheres do.
Of several trials the best counts: a limit is what the machine can do when nothing disturbs it.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Final

import numpy as np
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Work = Callable[[], None]
    Array = NDArray[np.float32]

__all__ = ["Bandwidth", "Effort", "Products", "Trial", "bandwidth", "sgemm", "trials"]

_START_MAX_S: Final = 60.0
_TRIAD_BLOCK: Final = 65_536  # floats: what is multiplied stays in the L2 cache until it is added


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How long to look for a limit.

    Attributes:
        trials: of each kind and size; the best counts.
        window_s: seconds of a trial; it has at least two rounds of work.
        sizes: rows and columns of the square matrices.
    """

    trials: int = 3
    window_s: float = 0.1
    sizes: tuple[int, ...] = (512, 1024, 2048)


@dataclass(frozen=True, slots=True)
class Trial:
    """Threads at work for a while.

    Attributes:
        rate: how often per second their works were done, all together.
        processor_share: the part of the time in which a processor was theirs, the mean over the threads.
    """

    rate: float
    processor_share: float


@dataclass(frozen=True, slots=True)
class Products:
    """Float32 matrix products by all threads together, in the best trial.

    Attributes:
        gflops: operations per second, in units of 1e9.
        processor_share: the part of the time in which a thread had a processor. Below 1 something else uses
            the machine, and the true limit is higher.
    """

    gflops: float
    processor_share: float


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """Bytes read and written per second by all threads together, in units of 1e9.

    What a processor reads of a cache line only in order to overwrite it is not counted.

    Attributes:
        copy: b = a.
        triad: c = a + s b.
    """

    copy: float
    triad: float

    @property
    def best(self) -> float:
        """The larger of the two."""
        return max(self.copy, self.triad)


def sgemm(threads: int, effort: Effort | None = None) -> Products:
    """Multiply matrices in some threads at once.

    Takes about `trials * window_s` seconds for each size. While it runs, BLAS has one thread in the whole
    process.

    Args:
        threads: that multiply at once.
        effort: how long to look; None for the defaults.
    """
    effort = effort or Effort()
    with threadpool_limits(limits=1, user_api="blas"):
        found = [
            Products(2.0 * size**3 * trial.rate / 1e9, trial.processor_share)
            for size in effort.sizes
            for trial in trials([_product(size, thread) for thread in range(threads)], effort)
        ]
    return max(found, key=lambda products: products.gflops)


def bandwidth(threads: int, array_bytes: int, effort: Effort | None = None) -> Bandwidth:
    """Memory bandwidth of all threads together.

    Takes about `2 * trials * window_s` seconds, and three times `array_bytes` of memory.

    Args:
        threads: that work at once, each on its own part.
        array_bytes: size of each array; far more than the last cache holds.
        effort: how long to look; None for the defaults.
    """
    effort = effort or Effort()
    floats = max(1, array_bytes // 4 // threads)
    arrays = [tuple(np.empty(floats, np.float32) for _ in range(3)) for _ in range(threads)]
    moved = floats * 4 / 1e9  # by one pass over one array of one thread

    def best(work: Callable[[Array, Array, Array], None]) -> float:
        return max(trial.rate for trial in trials([partial(work, *own) for own in arrays], effort))

    for own in arrays:  # pages that were never written to are all the same one
        for array in own:
            array.fill(1.0)
    return Bandwidth(copy=2 * moved * best(_copy), triad=3 * moved * best(_triad))


def trials(works: Sequence[Work], effort: Effort) -> list[Trial]:
    """Do works in a thread each, all at once, several times.

    What a work raises ends all of them, and is raised here.

    Args:
        works: what each thread does again and again; called once before it counts.
        effort: trials, and seconds of each.
    """
    start = threading.Barrier(len(works))
    failures: list[Exception] = []

    def run(work: Work) -> list[tuple[float, float]]:
        try:
            work()
            return [_rate(work, start, effort.window_s) for _ in range(effort.trials)]
        except Exception as error:
            failures.append(error)  # before the others hear of it: theirs come behind
            start.abort()
            raise

    with ThreadPoolExecutor(len(works)) as pool:
        ran = [pool.submit(run, work) for work in works]
    if failures:
        raise failures[0]
    by_trial = zip(*(each.result() for each in ran), strict=True)
    return [Trial(sum(rate for rate, _ in each), fmean(share for _, share in each)) for each in by_trial]


def _rate(work: Work, start: threading.Barrier, window_s: float) -> tuple[float, float]:
    """How often per second, and the part of the time with a processor."""
    start.wait(_START_MAX_S)
    begun_s, processor_begun_s = time.perf_counter(), time.thread_time()
    count, spent_s = 0, 0.0
    while count < 2 or spent_s < window_s:  # noqa: PLR2004  (one alone may catch a bad moment)
        work()
        count += 1
        spent_s = time.perf_counter() - begun_s
    return count / spent_s, (time.thread_time() - processor_begun_s) / spent_s


def _product(size: int, seed: int) -> Work:
    rng = np.random.default_rng(seed)
    left, right = (rng.random((size, size), np.float32) for _ in range(2))
    out = np.empty_like(left)

    def multiply() -> None:
        np.matmul(left, right, out=out)

    return multiply


def _copy(out: Array, a: Array, _: Array) -> None:
    np.copyto(out, a)


def _triad(out: Array, a: Array, b: Array) -> None:
    scaled = np.empty(min(len(b), _TRIAD_BLOCK), np.float32)
    for lo in range(0, len(out), _TRIAD_BLOCK):
        block = slice(lo, lo + _TRIAD_BLOCK)
        product = scaled[: len(out[block])]
        np.multiply(b[block], np.float32(3.0), out=product)
        np.add(a[block], product, out=out[block])
