"""Everything that was measured, and what follows from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystalline.bench.advice import Advice
    from crystalline.bench.limits import Bandwidth, Products
    from crystalline.bench.machine import Machine
    from crystalline.bench.speed import Speed

__all__ = ["BenchReport", "Limits", "limit_of"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What so many threads can do at once, together.

    Attributes:
        threads: how many.
        sgemm: float32 matrix products.
        bandwidth: of memory.
    """

    threads: int
    sgemm: Products
    bandwidth: Bandwidth


def limit_of(spheres: int, limits: Sequence[Limits]) -> Limits:
    """The limits that hold for so many spheres.

    Of those that were measured, the nearest that has not fewer threads; beyond the last it is the last,
    because more spheres have no more processors.

    Args:
        spheres: how many.
        limits: by number of threads, ascending; at least one.
    """
    return next((each for each in limits if each.threads >= spheres), limits[-1])


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """What `crystalline bench` found.

    Attributes:
        machine: as the system describes it.
        limits: by number of threads, ascending.
        speeds: trainings that were measured.
        left_out: trainings that were not, for want of time, each as its name and number of spheres.
        advice: on `--spheres`.
        seconds: that all of it took.
    """

    machine: Machine
    limits: tuple[Limits, ...]
    speeds: tuple[Speed, ...]
    left_out: tuple[tuple[str, int], ...]
    advice: Advice
    seconds: float

    def fraction(self, speed: Speed) -> float:
        """The useful operations of a training as a part of the limit of as many threads as it has spheres."""
        return speed.gflops / limit_of(speed.spheres, self.limits).sgemm.gflops

    def to_json(self) -> dict[str, Any]:
        """The object that `crystalline bench --json` prints."""
        return {
            "machine": {**asdict(self.machine), "usable": self.machine.usable},
            "limits": [asdict(each) for each in self.limits],
            "speeds": [
                {**asdict(each), "gflops": each.gflops, "fraction_of_sgemm": self.fraction(each)}
                for each in self.speeds
            ],
            "left_out": [{"name": name, "spheres": spheres} for name, spheres in self.left_out],
            "advice": asdict(self.advice),
            "seconds": self.seconds,
        }
