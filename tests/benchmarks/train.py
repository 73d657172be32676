"""How fast a step of training is, beside PyTorch on the same cores.

usage: python tests/benchmarks/train.py [--sizes NAMES] [--rounds N] [--steps N] [--ways NAMES]
           [--peer-python PYTHON] [--as-set]

Ways: `ours`, two spheres with one BLAS thread each; `eager` and `compile`, PyTorch with two threads; `ddp`,
two processes of PyTorch with one thread each, which add their gradients over gloo. All compute in fp32, on
the same model and the same number of tokens, from a batch to the new weights. Every sample is a process of
its own, in turn: ours, eager, compile, ddp, and in the next round the other way round. A process counts with
the median of its steps behind those of warm-up. Ratios are taken within a round, and their median counts; the
ratio of the best steps stands beside it. Ours learns the built-in text, and the vocabulary that this gives is
what the others get; theirs are random ids. The time of a step of ours is that between two events, with all
that lies between steps; `alone_ms` is what it says of itself.

Each library chooses its kernels for the processor itself: variables of the environment that hold OpenBLAS,
MKL or oneDNN to older ones are taken out, and named, unless `--as-set` is given.

Sizes (V, D x layers, T, sequences): `headline` 10,000, 256 x 6, 128, 36; `tiny` 4,096, 64 x 2, 128, 36;
`large` 10,000, 512 x 8, 128, 36; `long` 10,000, 256 x 6, 512, 12.

Prints a table on standard error and one JSON object on standard output. Exit code 1 when a goal was missed
(headline: 2.0 times eager and 1.3 times compile; other sizes: 1.2 times eager) or a process failed; 2 when a
peer cannot run: `pip install -e '.[peers]'`, and a C++ compiler for `compile`; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.benchmarks.cost.rounds import goals_table, table
from tests.benchmarks.speed.child import ChildError, answer_of
from tests.benchmarks.speed.options import (
    add_as_set,
    at_least_one,
    begun,
    let_libraries_choose,
    names_of,
    report,
)
from tests.benchmarks.speed.ours import measured
from tests.benchmarks.speed.sizes import SIZES
from tests.benchmarks.speed.turns import (
    arithmetic_of,
    differences,
    in_turn,
    samples_of,
    speeds,
    times_as_fast,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystalline.model import ModelConfig
    from tests.benchmarks.speed.turns import Answer, Run

OURS: Final = "ours"
WAYS: Final = (OURS, "eager", "compile", "ddp")
PEER: Final = Path(__file__).resolve().parent / "peers" / "torch_llama.py"
CORES: Final = 2  # spheres of ours, threads of theirs
WARM: Final = 2
GOALS: Final = {"eager": 2.0, "compile": 1.3, "ddp": None}
GOALS_ELSEWHERE: Final = {"eager": 1.2, "compile": None, "ddp": None}


def peer_command(python: str, way: str, *words: str) -> list[str]:
    """What starts a peer."""
    return [python, str(PEER), "--mode", way, "--threads", str(CORES), "--with-parent", *words]


def peer_words(model: ModelConfig, vocab_size: int, batch_size: int, steps: int) -> list[str]:
    """What a peer must know to do the same work."""
    words = {
        "vocab-size": vocab_size,
        "dim": model.dim,
        "layers": model.layers,
        "heads": model.heads,
        "ffn-dim": model.feed_forward_dim,
        "seq-len": model.seq_len,
        "batch-size": batch_size,
        "steps": steps,
        "warm": WARM,
    }
    return [word for name, value in words.items() for word in (f"--{name}", str(value))]


def check(python: str, ways: Sequence[str]) -> str | None:
    """Ask each peer whether it could run; return the version of torch, None without peers.

    Raises:
        ChildError: one could not.
    """
    versions = [answer_of(peer_command(python, way, "--check"))["torch"] for way in ways if way != OURS]
    return versions[0] if versions else None


def measure(name: str, options: argparse.Namespace, cache: str) -> list[Run]:
    """Run all ways at one size, in turn.

    Raises:
        ChildError: a process failed, or did not compute what the others did.
    """
    sizes, runs = SIZES[name], list[tuple[str, Any]]()
    vocab_size = sizes.model.vocab_size
    # Compiled once for all rounds; without helpers, which would outlive the process.
    settings = {"TORCHINDUCTOR_CACHE_DIR": cache, "TORCHINDUCTOR_COMPILE_THREADS": "1"}
    for number, way in in_turn(options.ways, options.rounds):
        begun(f"{name}, round {number} of {options.rounds}: {way}")
        answer: Answer
        if way == OURS:
            answer = measured(name, CORES, steps=options.steps, warm=WARM)
            vocab_size = answer["vocab_size"]
        else:
            words = peer_words(sizes.model, vocab_size, sizes.batch_size, options.steps)
            answer = answer_of(peer_command(options.peer_python, way, *words), settings=settings)
        runs.append((way, answer))
        if unlike := differences(runs):
            raise ChildError(f"{name}: not the same work: {'; '.join(unlike)}")
    return runs


def findings(name: str, runs: Sequence[Run]) -> dict[str, Any]:
    """Speeds, ratios and goals of one size."""
    samples, first = samples_of(runs), runs[0][1]
    ways: dict[str, dict[str, Any]] = {**speeds(samples, first["tokens_per_step"])}
    alone_s = [statistics.median(answer["alone_s"]) for way, answer in runs if way == OURS]
    if alone_s:
        ways[OURS]["alone_ms"] = round(statistics.median(alone_s) * 1e3, 2)
    goals = GOALS if name == "headline" else GOALS_ELSEWHERE
    judged = {
        f"ours_to_{peer}": times_as_fast(samples, OURS, peer, at_least) for peer, at_least in goals.items()
    }
    return {
        **{key: first[key] for key in ("vocab_size", "parameters", "tokens_per_step")},
        "arithmetic": arithmetic_of(answer for _, answer in runs),
        "ways": ways,
        "goals": {goal: of.report() for goal, of in judged.items()},
        "step_ms": [(way, [round(s * 1e3, 1) for s in answer["step_s"]]) for way, answer in runs],
        "reached": all(of.reached is not False for of in judged.values()),
    }


def show(found: dict[str, Any]) -> str:
    """The tables for people."""
    rows, goals = [], dict[str, Any]()
    for name, of_size in found["sizes"].items():
        for way, figures in of_size["ways"].items():
            keys = ("tokens_per_s_median", "tokens_per_s_best", "step_ms")
            rows.append([f"{name}, {way}", *(f"{figures[key]:,g}" for key in keys)])
        goals |= {f"{name}, {goal}": report for goal, report in of_size["goals"].items()}
    text = table(["", "tokens/s median", "best", "median step ms"], rows)
    return f"{text}\n\n{goals_table(goals)}"


def options_of() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=names_of(SIZES), default=["headline"], help="names with commas")
    parser.add_argument("--rounds", type=at_least_one, default=5)
    parser.add_argument("--steps", type=at_least_one, default=8, help="of each process, warm-up apart")
    parser.add_argument("--ways", type=names_of(WAYS), default=list(WAYS), help="names with commas")
    parser.add_argument(
        "--peer-python", default=sys.executable, help="the Python that torch is installed for"
    )
    add_as_set(parser)
    return parser.parse_args()


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that was asked for.

    Raises:
        ChildError: a peer cannot run, or a process failed.
    """
    taken_out = let_libraries_choose(os.environ, as_set=options.as_set)
    version = check(options.peer_python, options.ways)
    with tempfile.TemporaryDirectory() as cache:
        sizes = {name: findings(name, measure(name, options, cache)) for name in options.sizes}
    return {
        "taken_out": taken_out,
        "rounds": options.rounds,
        "steps": options.steps,
        "cores": os.cpu_count(),
        "torch": version,
        "sizes": sizes,
        "goals_reached": all(of_size["reached"] for of_size in sizes.values()),
    }


def main() -> None:
    options = options_of()
    report(lambda: run(options), show)


if __name__ == "__main__":
    main()
