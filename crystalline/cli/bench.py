"""`crystalline bench`: what this machine can do, and with how many spheres to train on it."""

from __future__ import annotations

import json as json_format
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from crystalline.bench import FULL, QUICK, SIZES, measure
from crystalline.cli.long import ending_cleanly
from crystalline.cli.output import put_out
from crystalline.cli.tables import NOTHING, number, table
from crystalline.errors import SettingError
from crystalline.training import TrainConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from crystalline.bench import BenchReport, Limits, Machine, Speed

__all__ = ["INTERRUPTED", "bench", "report_lines"]

INTERRUPTED: Final = "interrupted; what was measured so far is not shown"


def bench(
    *,
    sizes: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,...",
            help=f"Models to train: {', '.join(SIZES)}.",
            show_default="all; with --quick small",
        ),
    ] = None,
    spheres: Annotated[
        str | None,
        typer.Option(
            metavar="N,...",
            help="Numbers of spheres to train with.",
            show_default="1, and what the limits advise",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Take a few seconds instead of a minute.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Measure this machine, and advise on --spheres.

    How fast it multiplies matrices and moves memory, with one thread and with several at once; how many
    tokens a second it trains on, and which part of the matrix products' limit that is.

    Let nothing else run meanwhile: other programs take from what is measured. Ctrl-C ends it at once.
    """
    plan = QUICK if quick else FULL
    if sizes is not None:
        plan = replace(plan, names=_names(sizes))
    numbers = None if spheres is None else _numbers(spheres)
    with ending_cleanly(INTERRUPTED), _progress() as show:
        report = measure(plan, numbers, show)
    if json:
        put_out(json_format.dumps({"quick": quick, **report.to_json()}, allow_nan=False))
    else:
        put_out("\n".join(report_lines(report)))


def report_lines(report: BenchReport) -> list[str]:
    """The report for people, a string a line."""
    limits = [_limits_row(each) for each in report.limits]
    speeds = [_speed_row(each, report) for each in report.speeds]
    left_out = [f"no time was left for {name}, spheres: {spheres}" for name, spheres in report.left_out]
    return [
        *_machine_lines(report.machine),
        "",
        *table(("threads at once", "sgemm GFLOP/s", "copy GB/s", "triad GB/s"), limits),
        "",
        *table(("training", "parameters", "spheres", "tokens/s", "GFLOP/s", "of sgemm"), speeds),
        *left_out,
        "",
        f"advice: --spheres {report.advice.spheres}",
        *(f"- {reason}" for reason in report.advice.reasons),
    ]


def _machine_lines(machine: Machine) -> list[str]:
    blas = (f"{each.name} {each.version}, kernels {each.kernels or NOTHING}" for each in machine.blas)
    quota = "" if machine.quota is None else f", limited to {machine.quota:g}"
    return [
        f"processors  {machine.processors}, on {machine.cores} cores{quota}",
        f"BLAS        {'; '.join(blas) or NOTHING}",
    ]


def _limits_row(limits: Limits) -> list[str]:
    rates = (limits.sgemm.gflops, limits.bandwidth.copy, limits.bandwidth.triad)
    return [str(limits.threads), *(number(rate, ",.1f") for rate in rates)]


def _speed_row(speed: Speed, report: BenchReport) -> list[str]:
    return [
        speed.name,
        f"{speed.parameters:,}",
        str(speed.spheres),
        number(speed.tokens_per_s, ",.0f"),
        number(speed.gflops, ",.1f"),
        number(report.fraction(speed), ".0%"),
    ]


def _names(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",")))
    unknown = [name for name in names if name not in SIZES]
    if unknown:
        raise SettingError(f"--sizes: there is no {unknown[0]!r}: choose from {', '.join(SIZES)}")
    return names


def _numbers(text: str) -> Sequence[int]:
    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError:
        raise SettingError(f"--spheres is {text!r}: give whole numbers with commas between them") from None
    for each in numbers:
        TrainConfig(spheres=each)  # refuses what no training would take
    return numbers


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
    """Show what is being measured: a bar on a terminal, lines elsewhere. On standard error."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        yield lambda text, _: console.print(f"{text} ...", markup=False, soft_wrap=True)
        return
    columns = (BarColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda text, done: bar.update(task, description=text, completed=done)
