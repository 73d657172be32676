"""What the engine does against what it does not do: kernels in two ways, in turn.

usage: python tests/benchmarks/alternatives.py [--rounds N] [--only NAME ...]

Each pair computes the same thing at the sizes of one shard (V 10,000, D 256, 8 heads, F 688, 3 x 128 tokens),
with one BLAS thread. A round runs both once; each second round has the opposite order. Ratios are taken
within a round, and their median counts; the ratio of the best samples stands beside it. Above 1 the way that
was kept is the faster one.

Prints a table on standard error and one JSON object on standard output. Exit code 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from threadpoolctl import threadpool_limits

from crystalline.kernels.blas import arithmetic
from tests.benchmarks.cost.rounds import Samples, ratio, ratio_of_bests, table
from tests.benchmarks.tried.pairs import PAIRS

if TYPE_CHECKING:
    from tests.benchmarks.tried.pairs import Pair

KEPT, TRIED = ("kept", "ms"), ("tried", "ms")


def sample(pair: Pair, rounds: int) -> Samples:
    """Milliseconds of both ways, round by round; one round before them does not count."""
    samples: Samples = {KEPT: [], TRIED: []}
    ways = [(KEPT, pair.kept), (TRIED, pair.tried)]
    for number in range(rounds + 1):
        for cell, run in ways if number % 2 else reversed(ways):
            if pair.prepare is not None:
                pair.prepare()
            begun_s = time.perf_counter()
            run()
            if number:
                samples[cell].append((time.perf_counter() - begun_s) * 1e3)
    return samples


def findings(pair: Pair, samples: Samples) -> dict[str, Any]:
    """What a pair came to."""
    times, of_bests = ratio(samples, TRIED, KEPT), ratio_of_bests(samples, TRIED, KEPT)
    return {
        "kept": pair.kept_name,
        "tried": pair.tried_name,
        "kept_median_ms": round(statistics.median(samples[KEPT]), 3),
        "tried_median_ms": round(statistics.median(samples[TRIED]), 3),
        "tried_over_kept": None if times is None else round(times, 3),
        "of_bests": None if of_bests is None else round(of_bests, 3),
    }


def show(found: dict[str, dict[str, Any]]) -> str:
    """The table for people."""
    columns = ("kept", "tried", "kept_median_ms", "tried_median_ms", "tried_over_kept", "of_bests")
    return table(columns, [[str(each[name]) for name in columns] for each in found.values()])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--only", nargs="+", choices=PAIRS, default=list(PAIRS))
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"--rounds is {options.rounds}: choose 1 or more")
    found = {}
    try:
        with threadpool_limits(limits=1, user_api="blas"):
            for name in options.only:
                pair = PAIRS[name]()
                found[name] = findings(pair, sample(pair, options.rounds))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    print(show(found), file=sys.stderr)
    print(json.dumps({"rounds": options.rounds, "arithmetic": arithmetic(), "pairs": found}))


if __name__ == "__main__":
    main()
