"""What is made of the figures: fractions of the limit, a table, an object, and which trainings find time."""

from __future__ import annotations

import json

import pytest

from crystalline.bench import (
    SIZES,
    Advice,
    Bandwidth,
    BenchReport,
    Limits,
    Machine,
    Products,
    Speed,
    foreseen_s,
    limit_of,
    synthetic_text,
    training_flops,
)
from crystalline.cli.bench import report_lines

LIMITS = tuple(Limits(threads, Products(100.0 * threads, 1.0), Bandwidth(9.0, 8.0)) for threads in (1, 2, 4))
MACHINE = Machine(
    processors=4, cores=4, quota=3.5, memory_bytes=1 << 34, l3_bytes=1 << 25, avx512=False, blas=()
)
SPEEDS = tuple(
    Speed(name="default", spheres=spheres, parameters=1000, steps=3, tokens_per_s=2500.0, flops_per_token=2e7)
    for spheres in (1, 3, 9)
)
REPORT = BenchReport(
    machine=MACHINE,
    limits=LIMITS,
    speeds=SPEEDS,
    left_out=(("headline", 2),),
    advice=Advice(2, ("one reason", "and another")),
    seconds=1.0,
)


@pytest.mark.parametrize(("spheres", "threads"), [(1, 1), (2, 2), (3, 4), (4, 4), (25, 4)])
def test_spheres_are_held_to_the_limit_of_as_many_threads(spheres: int, threads: int) -> None:
    assert limit_of(spheres, LIMITS).threads == threads


def test_the_fraction_is_of_the_limit_of_the_spheres() -> None:
    assert [REPORT.fraction(speed) for speed in SPEEDS] == pytest.approx([0.5, 0.125, 0.125])


def test_the_object_has_what_the_table_has() -> None:
    found = json.loads(json.dumps(REPORT.to_json(), allow_nan=False))
    assert found.keys() == {"machine", "limits", "speeds", "left_out", "advice", "seconds"}
    assert found["machine"]["usable"] == 4
    assert found["limits"][1]["sgemm"]["gflops"] == 200.0
    assert found["speeds"][0]["gflops"] == 50.0
    assert found["speeds"][0]["fraction_of_sgemm"] == 0.5
    assert found["left_out"] == [{"name": "headline", "spheres": 2}]
    assert found["advice"] == {"spheres": 2, "reasons": ["one reason", "and another"]}


def test_the_report_reads_as_tables_and_advice() -> None:
    assert report_lines(REPORT) == [
        "processors  4, on 4 cores, limited to 3.5",
        "BLAS        -",
        "",
        "threads at once  sgemm GFLOP/s  copy GB/s  triad GB/s",
        "1                        100.0        9.0         8.0",
        "2                        200.0        9.0         8.0",
        "4                        400.0        9.0         8.0",
        "",
        "training  parameters  spheres  tokens/s  GFLOP/s  of sgemm",
        "default        1,000        1     2,500     50.0       50%",
        "default        1,000        3     2,500     50.0       12%",
        "default        1,000        9     2,500     50.0       12%",
        "no time was left for headline, spheres: 2",
        "",
        "advice: --spheres 2",
        "- one reason",
        "- and another",
    ]


def test_time_is_foreseen_from_the_arithmetic_and_the_limit() -> None:
    headline = SIZES["headline"]
    flops = 36 * 128 * training_flops(headline.model)
    assert foreseen_s(headline, 1, LIMITS) == pytest.approx(1 + 3 * flops / 40e9)
    assert foreseen_s(headline, 8, LIMITS) == pytest.approx(1 + 3 * flops / 160e9)


def test_the_text_is_always_the_same_and_has_words_for_the_largest_vocabulary() -> None:
    text = synthetic_text()
    assert text == synthetic_text()
    assert len(set(text.split())) > max(sizes.model.vocab_size for sizes in SIZES.values())
