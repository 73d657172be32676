"""What this machine can do, how near training comes to it, and how many spheres that speaks for."""

from __future__ import annotations

from crystalline.bench.advice import Advice, advise, sphere_numbers, thread_counts
from crystalline.bench.flops import forward_flops, training_flops
from crystalline.bench.limits import Bandwidth, Effort, Products, bandwidth, sgemm
from crystalline.bench.machine import Machine, this_machine
from crystalline.bench.report import BenchReport, Limits, limit_of
from crystalline.bench.sizes import SIZES, BenchSizes, synthetic_text
from crystalline.bench.speed import Speed, speed_of
from crystalline.bench.suite import FULL, QUICK, Plan, foreseen_s, measure

__all__ = [
    "FULL",
    "QUICK",
    "SIZES",
    "Advice",
    "Bandwidth",
    "BenchReport",
    "BenchSizes",
    "Effort",
    "Limits",
    "Machine",
    "Plan",
    "Products",
    "Speed",
    "advise",
    "bandwidth",
    "foreseen_s",
    "forward_flops",
    "limit_of",
    "measure",
    "sgemm",
    "speed_of",
    "sphere_numbers",
    "synthetic_text",
    "this_machine",
    "thread_counts",
    "training_flops",
]
