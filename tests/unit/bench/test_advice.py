"""What is advised for machines of many kinds."""

from __future__ import annotations

from typing import Any

import pytest

from crystalline.bench import Machine, Products, Speed, advise, sphere_numbers, thread_counts
from crystalline.kernels.blas import Blas


def machine(processors: int, **changes: Any) -> Machine:
    plain = {"cores": processors, "quota": None, "memory_bytes": 1 << 34, "l3_bytes": 1 << 25}
    return Machine(**{"processors": processors, "avx512": False, "blas": (), **plain, **changes})


def products(rates: dict[int, float], share: float = 1.0) -> dict[int, Products]:
    return {threads: Products(rate, share) for threads, rate in rates.items()}


def speed(name: str, spheres: int, tokens_per_s: float) -> Speed:
    return Speed(
        name=name, spheres=spheres, parameters=1, steps=2, tokens_per_s=tokens_per_s, flops_per_token=1.0
    )


@pytest.mark.parametrize(
    ("rates", "spheres", "words"),
    [
        ({1: 100.0}, 1, "one thread computes at a time"),
        ({1: 100.0, 2: 196.0}, 2, "1.96 times as fast as one"),
        ({1: 100.0, 2: 140.0}, 2, "less than 2 times, but more than with fewer"),
        ({1: 100.0, 2: 103.0}, 1, "threads of one core"),
        ({1: 100.0, 2: 200.0, 4: 204.0}, 2, "no faster than 2"),
    ],
)
def test_threads_count_for_what_they_add(rates: dict[int, float], spheres: int, words: str) -> None:
    advice = advise(machine(max(rates)), products(rates), shards=12)
    assert advice.spheres == spheres
    assert words in advice.reasons[1]


@pytest.mark.parametrize(
    ("threads", "spheres"), [(4, 4), (5, 4), (6, 6), (8, 6), (11, 6), (12, 12), (64, 12)]
)
def test_spheres_that_do_not_end_a_step_sooner_are_left_out(threads: int, spheres: int) -> None:
    advice = advise(machine(threads), products({1: 1.0, threads: float(threads)}), shards=12)
    assert advice.spheres == spheres
    assert any("12 shards" in reason for reason in advice.reasons) == (spheres != threads)


@pytest.mark.parametrize(("threads", "numbers"), [(1, [1]), (2, [1, 2]), (8, [1, 6]), (64, [1, 12])])
def test_trained_is_with_one_sphere_and_with_as_many_as_the_shards_advise(
    threads: int, numbers: list[int]
) -> None:
    limits = products({count: float(count) for count in thread_counts(machine(threads))})
    assert sphere_numbers(machine(threads), limits, shards=12) == numbers


def test_training_that_was_faster_with_fewer_spheres_counts() -> None:
    limits = products({1: 100.0, 2: 200.0})
    slower = [speed("small", 1, 100.0), speed("small", 2, 90.0)]
    faster = [speed("default", 1, 100.0), speed("default", 2, 190.0)]
    assert advise(machine(2), limits, slower, shards=12).spheres == 1
    assert advise(machine(2), limits, slower + faster, shards=12).spheres == 2
    assert advise(machine(2), limits, [*slower, speed("default", 1, 100.0)], shards=12).spheres == 1
    assert advise(machine(2), limits, [speed("default", 1, 100.0)], shards=12).spheres == 2


def test_a_busy_machine_is_said_to_be_one_and_judged_as_if_it_were_not() -> None:
    limits = {1: Products(90.0, 0.9), 2: Products(90.0, 0.45)}
    advice = advise(machine(2), limits, [speed("small", 1, 9.0), speed("small", 2, 5.0)], shards=12)
    assert advice.spheres == 2
    assert any("45% of their time" in reason for reason in advice.reasons)
    assert not any(
        "other programs" in reason for reason in advise(machine(1), products({1: 1.0}), shards=1).reasons
    )


@pytest.mark.parametrize(("quota", "share"), [(1.5, 0.74), (1.2, 0.6), (1.2, 0.62)])
def test_what_a_control_group_does_not_allow_is_not_taken_for_other_programs(
    quota: float, share: float
) -> None:
    limits = {1: Products(100.0, 1.0), 2: Products(120.0, share)}
    advice = advise(machine(2, quota=quota), limits, shards=12)
    assert not any("other programs" in reason for reason in advice.reasons)
    assert "multiply matrices 1.2" in advice.reasons[1]
    alone = advise(machine(2, quota=quota), {1: limits[1], 2: Products(120.0, share / 2)}, shards=12)
    assert any("other programs" in reason for reason in alone.reasons)


def test_kernels_that_the_environment_asks_for_are_not_said_to_be_openblas_choice() -> None:
    blas = (Blas("openblas", "0.3", "Haswell"),)
    told = advise(
        machine(1, avx512=True, blas=blas, openblas_coretype="haswell"), products({1: 1.0}), shards=12
    ).reasons[-1]
    assert told.startswith("OPENBLAS_CORETYPE=haswell is set in the environment and holds OpenBLAS to its")
    assert "has chosen" not in told
    free = advise(machine(1, avx512=True, blas=blas), products({1: 1.0}), shards=12).reasons[-1]
    assert free.startswith("OpenBLAS has chosen its Haswell kernels")


@pytest.mark.parametrize(
    ("avx512", "blas", "said"),
    [
        (True, Blas("openblas", "0.3", "Haswell"), True),
        (True, Blas("openblas", "0.3", "SkylakeX"), False),
        (False, Blas("openblas", "0.3", "Haswell"), False),
        (True, Blas("openblas", "0.3", ""), False),
        (True, Blas("mkl", "2025", "Haswell"), False),
    ],
)
def test_kernels_that_are_too_old_have_a_remedy(avx512: bool, blas: Blas, said: bool) -> None:  # noqa: FBT001
    reasons = advise(machine(1, avx512=avx512, blas=(blas,)), products({1: 1.0}), shards=12).reasons
    assert any("OPENBLAS_CORETYPE=SkylakeX" in reason for reason in reasons) == said


@pytest.mark.parametrize(
    ("processors", "changes", "counts"),
    [
        (1, {}, [1]),
        (6, {"cores": 3}, [1, 2, 3, 4, 6]),
        (8, {"quota": 2.5}, [1, 2, 3]),
        (4, {"quota": 0.5}, [1]),
        (2, {"quota": 64.0}, [1, 2]),
    ],
)
def test_limits_are_measured_up_to_what_may_be_used(
    processors: int, changes: dict[str, Any], counts: list[int]
) -> None:
    assert thread_counts(machine(processors, **changes)) == counts


def test_how_cores_are_shared_and_limited_is_said() -> None:
    shared = advise(machine(4, cores=2, quota=1.5), products({1: 1.0}), shards=12).reasons[0]
    assert shared == (
        "4 processors may be used, which are 2 cores with more than one thread each; "
        "the control group allows 1.5 processors' time"
    )
