"""How many spheres to train with, and why. Pure: figures in, words out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from crystalline.bench.machine import AVX512_KERNELS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from crystalline.bench.limits import Products
    from crystalline.bench.machine import Machine
    from crystalline.bench.speed import Speed

__all__ = ["Advice", "advise", "sphere_numbers", "thread_counts"]

# What does not gain so much is not worth another sphere.
_WORTH: Final = 1.05
# Cores that slow each other down less than this are said to be good ones.
_EACH_MIN: Final = 0.8
# Less of a processor than this, in the best trial, is not chance.
_ALONE_MIN: Final = 0.9


@dataclass(frozen=True, slots=True)
class Advice:
    """What to do.

    Attributes:
        spheres: for `--spheres`.
        reasons: sentences: first why so many, then what else stands in the way of speed.
    """

    spheres: int
    reasons: tuple[str, ...]


def thread_counts(machine: Machine) -> list[int]:
    """At how many threads the limits are worth measuring: 1, powers of two, one a core, and all.

    >>> from crystalline.bench.machine import Machine
    >>> plain = dict(quota=None, memory_bytes=0, l3_bytes=0, avx512=False, blas=())
    >>> thread_counts(Machine(processors=12, cores=6, **plain))
    [1, 2, 4, 6, 8, 12]
    """
    most = machine.usable
    powers = {2**power for power in range(most.bit_length())}
    return sorted(count for count in {*powers, min(machine.cores, most), most} if count <= most)


def advise(
    machine: Machine, sgemm: Mapping[int, Products], speeds: Sequence[Speed] = (), *, shards: int
) -> Advice:
    """Choose the fewest spheres that train about as fast as any number would.

    Training is made of matrix products, so threads are worth what they add to these, while nothing else uses
    the processors. A step ends with its last shard, so spheres that do not lower the most shards that any one
    of them has add nothing. Where training itself was measured to be faster with fewer spheres, that counts.

    Args:
        machine: what there is.
        sgemm: what so many threads did at once, at least for one.
        speeds: trainings, at several numbers of spheres.
        shards: that a batch is cut into.
    """
    rates = {count: products.gflops / _share(machine, count, products) for count, products in sgemm.items()}
    by_products = _fewest(rates)
    by_shards = math.ceil(shards / math.ceil(shards / min(by_products, shards)))
    busy = _busy(min(_share(machine, count, products) for count, products in sgemm.items()))
    by_training = by_shards if busy else _slower_than(by_shards, speeds)
    reasons = [_cores(machine), _products(rates, by_products)]
    if by_shards < by_products:
        reasons.append(
            f"a batch has {shards} shards: {by_shards} spheres are done with them as soon as {by_products}; "
            "more --shards would change the bits of the result"
        )
    if by_training < by_shards:
        reasons.append(f"training itself was fastest with {by_training}: what one step needs is too little")
    return Advice(by_training, tuple(filter(None, [*reasons, busy, _kernels(machine)])))


def sphere_numbers(machine: Machine, sgemm: Mapping[int, Products], *, shards: int) -> list[int]:
    """With how many spheres training is worth measuring: 1, and what would be advised without any training.

    Args:
        machine: what there is.
        sgemm: what so many threads did at once, at least for one.
        shards: that a batch is cut into.
    """
    return sorted({1, advise(machine, sgemm, shards=shards).spheres})


def _fewest(worth: Mapping[int, float]) -> int:
    """The smallest number that is about as good as the best."""
    best = max(worth.values())
    return min(count for count, rate in worth.items() if rate * _WORTH >= best)


def _share(machine: Machine, threads: int, products: Products) -> float:
    """The part of the time that the threads had a processor, of what the control group lets them have."""
    allowed = 1.0 if machine.quota is None else min(1.0, machine.quota / threads)
    return min(1.0, products.processor_share / allowed)


def _slower_than(spheres: int, speeds: Sequence[Speed]) -> int:
    """The number of spheres, or a smaller one with which every training that was measured was faster."""
    by_name: dict[str, dict[int, float]] = {}
    for speed in speeds:
        if speed.spheres <= spheres:
            by_name.setdefault(speed.name, {})[speed.spheres] = speed.tokens_per_s
    return max((_fewest(rates) for rates in by_name.values() if spheres in rates), default=spheres)


def _cores(machine: Machine) -> str:
    text = f"{machine.processors} processors may be used"
    if machine.cores < machine.processors:
        text += f", which are {machine.cores} cores with more than one thread each"
    if machine.quota is not None and machine.quota < machine.processors:
        text += f"; the control group allows {machine.quota:g} processors' time"
    return text


def _products(rates: Mapping[int, float], chosen: int) -> str:
    """What threads add, by the rates that they would have if nothing else used the processors."""
    most = max(rates)
    if most == 1:
        return "one thread computes at a time, so one sphere does all that can be done"
    times = rates[most] / rates[1]
    text = f"{most} threads at once multiply matrices {times:.2f} times as fast as one"
    if chosen < most:
        return (
            f"{text}, no faster than {chosen}: processors that are threads of one core, or that other "
            "machines use as well, do not add up"
        )
    if times / most < _EACH_MIN:
        return f"{text}: less than {most} times, but more than with fewer"
    return text


def _busy(share: float) -> str:
    if share >= _ALONE_MIN:
        return ""
    return (
        f"other programs use the processors: threads had one in {share:.0%} of their time only; measure "
        "again when they are done"
    )


def _kernels(machine: Machine) -> str:
    """A remedy where OpenBLAS does not know a processor and takes kernels that are too old for it."""
    old = [
        blas.kernels
        for blas in machine.blas
        if blas.name == "openblas" and blas.kernels and blas.kernels not in AVX512_KERNELS
    ]
    if not (machine.avx512 and old):
        return ""
    if machine.openblas_coretype:
        return (
            f"OPENBLAS_CORETYPE={machine.openblas_coretype} is set in the environment and holds OpenBLAS to "
            f"its {old[0]} kernels, but this processor has AVX-512: compare with OPENBLAS_CORETYPE=SkylakeX"
        )
    return (
        f"OpenBLAS has chosen its {old[0]} kernels, but this processor has AVX-512: compare with "
        "OPENBLAS_CORETYPE=SkylakeX in the environment"
    )
