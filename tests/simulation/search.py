"""Runs many simulated schedules with faults, and says what they found.

usage: python tests/simulation/search.py [--schedules N] [--jobs N] [--scenario NAME]... [--start SEED]
                                         [--faults MIXTURE] [--json]
       python tests/simulation/search.py --mutants | --explore

The schedules are shared out over all scenarios (or those named) and all mixtures of faults (or the one
named). Prints one JSON object at the end: schedules, those with faults among them, faults injected by kind,
steps, seconds. `--scenario training` trains a tiny model instead, with mixtures of its own, and says also how
the runs ended: with the hash that a plain loop finds, or with a failure that was reported.

For each scenario and mixture that failed, the story of its first failing seed goes to standard error with
the command that replays it; the exit code is 1 then. `--mutants` plants each mistake of
`tests/helpers/mutants.py` and says which seed found it; `--explore` runs every schedule of each small scope.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from actors.simulation import Bounds, Faults, Report, explore, replay, simulate, tell
from tests.helpers.catalogue import ALL_SCENARIOS, MIXTURES, QUIET, TRAINING, TRAINING_MIXTURES
from tests.helpers.mutants import MUTANTS
from tests.helpers.small_scopes import SMALL_SCOPES
from tests.helpers.tiny_training import HASH, Ends, training

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.simulation import Scenario

SCHEDULES = 10_000
CHUNK = 100
MUTANT_SEEDS = 2_000
EVERY_MIXTURE = {**MIXTURES, **TRAINING_MIXTURES}


class Share(NamedTuple):
    """Some seeds of one scenario under one mixture of faults."""

    scenario: str
    mixture: str
    seeds: range


class Outcome(NamedTuple):
    """What became of a share; `failed` is its first failing seed, `ends` says how trainings ended."""

    share: Share
    runs: int
    steps: int
    faults: Counter[str]
    failed: int | None
    ends: Ends


def main(words: list[str] | None = None) -> int:
    """Do what the command line says, or `words` in its place; return the exit code."""
    args = _arguments(words)
    begun_s = time.perf_counter()
    if args.mutants or args.explore:
        result, ok = _find_mutants() if args.mutants else _explore_scopes()
    else:
        result, ok = _search(args)
    print(json.dumps(result | {"seconds": round(time.perf_counter() - begun_s, 1)}))
    return 0 if ok else 1


def _arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--schedules", type=int, default=SCHEDULES, help="how many in all")
    parser.add_argument("--jobs", type=int, default=1, help="how many processes")
    parser.add_argument(
        "--scenario", action="append", choices=sorted([*ALL_SCENARIOS, TRAINING]), help="only this one"
    )
    parser.add_argument("--faults", choices=list(EVERY_MIXTURE), help="only this mixture")
    parser.add_argument("--start", type=int, default=0, help="the first seed")
    parser.add_argument("--json", action="store_true", help="no progress bar")
    parser.add_argument("--mutants", action="store_true", help="which seed finds each planted mistake")
    parser.add_argument("--explore", action="store_true", help="every schedule of the small scopes")
    return parser.parse_args(words)


def _search(args: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    scenarios = args.scenario or list(ALL_SCENARIOS)
    mixtures = TRAINING_MIXTURES if scenarios == [TRAINING] else MIXTURES
    shares = _shares(scenarios, [args.faults] if args.faults else list(mixtures), args.schedules, args.start)
    outcomes: list[Outcome] = []
    with _progress(hidden=args.json) as progress:
        bar = progress.add_task("schedules", total=sum(len(share.seeds) for share in shares))
        for outcome in _run_all(shares, args.jobs):
            outcomes.append(outcome)
            progress.advance(bar, len(outcome.share.seeds))
    failed = _first_failures(outcomes)
    for outcome in failed:
        _tell(outcome)
    with_faults = [outcome for outcome in outcomes if outcome.share.mixture != QUIET]
    faults = sum((outcome.faults for outcome in outcomes), Counter[str]())
    return {
        "schedules": sum(outcome.runs for outcome in outcomes),
        "with_faults": sum(outcome.runs for outcome in with_faults),
        "scenarios": len(scenarios),
        "failed": [_command(outcome) for outcome in failed],
        "faults": dict(sorted(faults.items())),
        "faults_total": faults.total(),
        "steps": sum(outcome.steps for outcome in outcomes),
        **_trainings(outcomes),
    }, not failed


def _trainings(outcomes: list[Outcome]) -> dict[str, Any]:
    """How the trainings among the runs ended, if there are any."""
    ends = sum((outcome.ends for outcome in outcomes), Ends())
    failures = Counter[str]()
    for (end, _), count in ends.items():
        failures[end] += count
    trained = failures.pop(HASH, 0)
    found = {
        "cancelled_before_they_began": sum(outcome.runs for outcome in outcomes) - ends.total(),
        "with_faults": sum(count for (_, faulty), count in ends.items() if faulty),
        "ended_with_the_hash": trained,
        "of_these_with_faults": ends[HASH, True],
        "failures_reported": dict(failures.most_common()),
        "anything_else": sum(outcome.failed is not None for outcome in outcomes),
    }
    return {"trainings": found} if ends else {}


def _shares(scenarios: list[str], mixtures: list[str], schedules: int, start: int) -> list[Share]:
    """Share the schedules out evenly; each pair has seeds from `start` on."""
    pairs = [(scenario, mixture) for mixture in mixtures for scenario in scenarios]
    shares: list[Share] = []
    for index, (scenario, mixture) in enumerate(pairs):
        count = schedules * (index + 1) // len(pairs) - schedules * index // len(pairs)
        shares += [
            Share(scenario, mixture, range(first, min(first + CHUNK, start + count)))
            for first in range(start, start + count, CHUNK)
        ]
    return shares


def _run_all(shares: list[Share], jobs: int) -> Iterator[Outcome]:
    if jobs == 1:
        yield from map(_run, shares)
        return
    # A fresh interpreter each: nothing of this process, its threads for one, is copied into them.
    with ProcessPoolExecutor(max_workers=jobs, mp_context=get_context("spawn")) as pool:
        for done in as_completed([pool.submit(_run, share) for share in shares]):
            yield done.result()


def _run(share: Share) -> Outcome:
    logger = logging.getLogger("crystalline")
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore", RuntimeWarning)  # a failed run is cleared away, coroutines and all
        patch.setattr(logger, "disabled", True)  # it tells of spheres that were lost on purpose
        ends = Ends()
        report = simulate(_scenario(share, ends), seeds=share.seeds, faults=EVERY_MIXTURE[share.mixture])
    failed = report.failures[0].seed if report.failures else None
    return Outcome(share, report.runs, report.steps, report.faults, failed, ends)


def _scenario(share: Share, ends: Ends) -> Scenario:
    return partial(training, ends=ends) if share.scenario == TRAINING else ALL_SCENARIOS[share.scenario]


def _first_failures(outcomes: list[Outcome]) -> list[Outcome]:
    """The outcome with the first failing seed, for each scenario and mixture that has one."""
    first: dict[tuple[str, str], Outcome] = {}
    for outcome in sorted(outcomes, key=lambda outcome: outcome.share.seeds.start):
        if outcome.failed is not None:
            first.setdefault((outcome.share.scenario, outcome.share.mixture), outcome)
    return list(first.values())


def _tell(outcome: Outcome) -> None:
    assert outcome.failed is not None
    scenario = _scenario(outcome.share, Ends())
    run = replay(scenario, outcome.failed, EVERY_MIXTURE[outcome.share.mixture])
    where = f"{outcome.share.scenario}, faults: {outcome.share.mixture}, {run.name}"
    print(f"{tell(where, run.problems, run.events)}\nreplay: {_command(outcome)}\n", file=sys.stderr)


def _command(outcome: Outcome) -> str:
    return (
        f"python tests/simulation/search.py --scenario {outcome.share.scenario} "
        f"--faults {outcome.share.mixture} --start {outcome.failed} --schedules 1"
    )


def _find_mutants() -> tuple[dict[str, Any], bool]:
    warnings.simplefilter("ignore", RuntimeWarning)  # a mutant may leave coroutines that nobody awaits
    found: dict[str, int | None] = {}
    with _progress(hidden=False) as progress:
        for mutant in progress.track(MUTANTS, description="mutants"):
            with pytest.MonkeyPatch.context() as patch:
                for change in mutant.changes:
                    change.plant(patch)
                report = simulate(mutant.scenario, seeds=MUTANT_SEEDS, faults=Faults.everything())
            found[mutant.name] = _seeds_needed(report)
    return {
        "mutants": len(found),
        "seeds_max": MUTANT_SEEDS,
        "seeds_needed": found,
    }, None not in found.values()


def _seeds_needed(report: Report) -> int | None:
    return None if report.ok else report.runs


def _explore_scopes() -> tuple[dict[str, Any], bool]:
    reports = {scope.__name__: explore(scope, Bounds()) for scope in SMALL_SCOPES}
    for name, report in reports.items():
        print(f"{name}: {report}", file=sys.stderr)
    spaces = {name: report.schedules for name, report in reports.items()}
    return {"schedules": spaces}, all(report.exhausted and not report.failures for report in reports.values())


def _progress(*, hidden: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=hidden,
    )


if __name__ == "__main__":
    sys.exit(main())
