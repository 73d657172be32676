"""Limits are measured as they say: all threads at once, each with one BLAS thread."""

from __future__ import annotations

import threading

import pytest
from threadpoolctl import threadpool_info

from crystalline.bench import Effort, Machine, bandwidth, sgemm
from crystalline.bench.limits import trials

SHORT = Effort(trials=2, window_s=0.001, sizes=(16, 32))


def blas_threads() -> list[int]:
    return [found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"]


@pytest.mark.parametrize("threads", [1, 3])
def test_limits_are_found(threads: int) -> None:
    before = blas_threads()
    products, moved = sgemm(threads, SHORT), bandwidth(threads, 1 << 20, SHORT)
    assert products.gflops > 0
    assert 0 < products.processor_share <= 1.05
    assert moved.best == max(moved.copy, moved.triad) > 0
    assert blas_threads() == before, "the limit of one thread is lifted again"


def test_works_run_at_once_and_are_counted() -> None:
    both = threading.Barrier(2)  # nobody passes it alone
    counts = [0, 0]

    def work(index: int) -> None:
        both.wait(10.0)
        counts[index] += 1

    found = trials([lambda: work(0), lambda: work(1)], Effort(trials=3, window_s=0.0))
    assert counts == [1 + 3 * 2] * 2, "one that does not count, and two in each trial"
    assert len(found) == 3
    assert all(trial.rate > 0 for trial in found)


def test_an_error_in_a_work_comes_out_and_nobody_waits_for_it() -> None:
    def fail() -> None:
        raise MemoryError

    with pytest.raises(MemoryError):
        trials([lambda: None, fail, lambda: None], SHORT)


def test_arrays_are_larger_than_the_cache_and_fit_the_memory() -> None:
    def array_bytes(memory_bytes: int, l3_bytes: int) -> int:
        return Machine(
            processors=1,
            cores=1,
            quota=None,
            memory_bytes=memory_bytes,
            l3_bytes=l3_bytes,
            avx512=False,
            blas=(),
        ).array_bytes

    assert array_bytes(1 << 36, 32 << 20) == 128 << 20
    assert array_bytes(1 << 36, 0) == 64 << 20
    assert array_bytes(1 << 30, 256 << 20) == 64 << 20
    assert array_bytes(1 << 40, 1 << 30) == 512 << 20
