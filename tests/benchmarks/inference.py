"""How fast a model reads a prompt and goes on with it, beside transformers and llama.cpp on the same cores.

usage: python tests/benchmarks/inference.py [--model PATH] [--rounds N] [--steps N] [--ways NAMES]
           [--transformers-python PYTHON] [--llama-python PYTHON] [--as-set]

Ways: `ours` and `ours_int8`; `transformers`, float32; `llama` and `llama_q8`, llama.cpp with float32 and with
q8_0. All have two threads and the same weights, in a format of their own that is written first. Every sample
is a process of its own, in turn, and in the next round the other way round. A process reads a prompt of 512
tokens three times, takes steps of one token with one stream, and with eight, and counts with the medians.
Ours also answers whole requests through a `Generator`, each token drawn: one alone and eight at once.

The model is a file or folder to be opened; without `--model` one of the sizes of SmolLM2-135M with weights
that mean nothing: the speed is the same.

The share of the memory's bandwidth: the bytes of weights of a step over its time, over how fast the same
process read memory right before it; the median of these pairs, because other machines share this memory. The
best step beside the best reading stands next to it.

Each library chooses its kernels for the processor itself: variables of the environment that hold OpenBLAS,
MKL or oneDNN to older ones are taken out, and named, unless `--as-set` is given.

Prints tables on standard error and one JSON object on standard output. Exit code 1 when a goal was missed or
a process failed; 2 when a peer cannot run: `pip install -e '.[generation-peers]'`; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from crystalline.errors import CrystallineError
from tests.benchmarks.cost.rounds import Goal, goals_table, ratio, ratio_of_bests, table
from tests.benchmarks.generation.files import Files, made_up, opened, write
from tests.benchmarks.generation.work import Work, words_of
from tests.benchmarks.speed.child import ChildError, answer_of
from tests.benchmarks.speed.options import (
    add_as_set,
    at_least_one,
    begun,
    let_libraries_choose,
    names_of,
    report,
)
from tests.benchmarks.speed.turns import arithmetic_of, in_turn

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.cost.rounds import Samples
    from tests.benchmarks.speed.turns import Run

WAYS: Final = ("ours", "ours_int8", "transformers", "llama", "llama_q8")
THREADS: Final = 2
CHILDREN: Final = Path(__file__).resolve().parent / "generation"
MEASURES: Final = ("prefill_s", "one_s", "eight_s")


def command(way: str, files: Files, options: argparse.Namespace) -> list[str]:
    """What starts a way."""
    if way.startswith("ours"):
        weights = "int8" if way.endswith("int8") else "float32"
        return [sys.executable, str(CHILDREN / "ours.py"), str(files.folder), "--weights", weights]
    if way == "transformers":
        return [options.transformers_python, str(CHILDREN / "hugging_face.py"), str(files.folder)]
    return [options.llama_python, str(CHILDREN / "llama_cpp_peer.py"), str(files.gguf[way])]


def check(options: argparse.Namespace) -> dict[str, str]:
    """Ask each peer whether it could run; return what it says of its versions.

    Raises:
        ChildError: one could not.
    """
    pythons = {
        "transformers": (options.transformers_python, "hugging_face.py"),
        "llama": (options.llama_python, "llama_cpp_peer.py"),
        "llama_q8": (options.llama_python, "llama_cpp_peer.py"),
    }
    asked = {pythons[way] for way in options.ways if way in pythons}
    versions: dict[str, str] = {}
    for python, script in sorted(asked):
        versions |= answer_of([python, str(CHILDREN / script), "--check"])
    return versions


def measure(options: argparse.Namespace, files: Files, work: Work) -> list[Run]:
    """Run all ways in turn.

    Raises:
        ChildError: a process failed.
    """
    runs: list[Run] = []
    words = [*words_of(work), "--threads", str(THREADS), "--with-parent"]
    for number, way in in_turn(options.ways, options.rounds):
        begun(f"round {number} of {options.rounds}: {way}")
        runs.append((way, answer_of([*command(way, files, options), *words])))
    return runs


def samples_of(runs: Sequence[Run]) -> Samples:
    """Of each process the median of each measure. Entry r of each way is of round r."""
    samples: Samples = {}
    for way, answer in runs:
        for name in MEASURES:
            samples.setdefault((way, name), []).append(statistics.median(answer[name]))
            samples.setdefault((way, f"best {name}"), []).append(min(answer[name]))
        for name in ("one_tokens_per_s", "eight_tokens_per_s"):
            if name in answer:
                samples.setdefault((way, name), []).append(answer[name])
        if "reading_gbps" in answer:
            for name, of in shares_of(answer).items():
                samples.setdefault((way, name), []).append(of)
            samples.setdefault((way, "reading_gbps"), []).append(statistics.median(answer["reading_gbps"]))
    return samples


def shares_of(answer: dict[str, Any]) -> dict[str, float]:
    """What part of the memory's bandwidth steps of one stream reach: in pairs, and best beside best."""
    reached = [answer["weight_bytes"] / step_s / 1e9 for step_s in answer["one_s"]]
    limits = answer["reading_gbps"]
    pairs = [own / limit for own, limit in zip(reached, limits, strict=True)]
    return {"share": statistics.median(pairs), "share of bests": max(reached) / max(limits)}


def times(samples: Samples, fast: str, slow: str, name: str, at_least: float | None) -> Goal:
    """How many times as fast one way is as another, within the rounds; beside it the ratio of the bests."""
    best = f"best {name}"
    return Goal(
        ratio(samples, (slow, name), (fast, name)),
        ratio_of_bests(samples, (slow, best), (fast, best)),
        at_least=at_least,
    )


def together(samples: Samples, way: str, at_least: float) -> Goal:
    """Tokens a second of all streams of a generator over those of one."""
    one, all_streams = samples.get((way, "one_tokens_per_s")), samples.get((way, "eight_tokens_per_s"))
    if one is None or all_streams is None:
        return Goal(None, at_least=at_least)
    rounds = [many / alone for many, alone in zip(all_streams, one, strict=True)]
    return Goal(statistics.median(rounds), max(all_streams) / max(one), at_least=at_least)


def share(samples: Samples, way: str, at_least: float | None) -> Goal:
    """What part of the memory's bandwidth is reached: the median of the processes."""
    figures = [samples.get((way, name)) for name in ("share", "share of bests")]
    usual, best = (None if found is None else statistics.median(found) for found in figures)
    return Goal(usual, best, at_least=at_least)


def goals_of(samples: Samples) -> dict[str, Goal]:
    """Everything that has a goal, and a few ratios that have none."""
    return {
        "decode, ours to transformers": times(samples, "ours", "transformers", "one_s", 1.5),
        "decode, ours to llama.cpp": times(samples, "ours", "llama", "one_s", 0.8),
        "decode, int8 to llama.cpp q8_0": times(samples, "ours_int8", "llama_q8", "one_s", 0.8),
        "prefill, ours to transformers": times(samples, "ours", "transformers", "prefill_s", 1.0),
        "eight streams to one, ours": together(samples, "ours", 3.0),
        "eight streams to one, int8": together(samples, "ours_int8", 3.0),
        "share of bandwidth, ours": share(samples, "ours", 0.8),
        "share of bandwidth, int8": share(samples, "ours_int8", None),
        "prefill, ours to llama.cpp": times(samples, "ours", "llama", "prefill_s", None),
        "eight streams, ours to llama.cpp": times(samples, "ours", "llama", "eight_s", None),
        "eight streams, int8 to q8_0": times(samples, "ours_int8", "llama_q8", "eight_s", None),
    }


def findings(runs: Sequence[Run], work: Work) -> dict[str, Any]:
    """Speeds, ratios and goals."""
    samples = samples_of(runs)
    goals = goals_of(samples)
    ways: dict[str, dict[str, float]] = {}
    for way in dict.fromkeys(way for way, _ in runs):
        usual = {name: statistics.median(samples[way, name]) for name in MEASURES}
        ways[way] = {
            "prefill_ms": round(usual["prefill_s"] * 1e3, 1),
            "step_ms": round(usual["one_s"] * 1e3, 2),
            "best_step_ms": round(min(samples[way, "best one_s"]) * 1e3, 2),
            "tokens_per_s": round(1 / usual["one_s"], 1),
            "tokens_per_s_of_all": round(work.streams / usual["eight_s"], 1),
        }
        for name in ("one_tokens_per_s", "eight_tokens_per_s", "reading_gbps", "share"):
            if (way, name) in samples:
                ways[way][name] = round(statistics.median(samples[way, name]), 3)
    return {
        "arithmetic": arithmetic_of(answer for _, answer in runs),
        "backends": sorted({answer["backend"] for _, answer in runs if "backend" in answer}),
        "streams": work.streams,
        "ways": ways,
        "goals": {name: goal.report() for name, goal in goals.items()},
        "goals_reached": all(goal.reached is not False for goal in goals.values()),
    }


def show(found: dict[str, Any]) -> str:
    """The tables for people."""
    keys = ("prefill_ms", "step_ms", "best_step_ms", "tokens_per_s", "tokens_per_s_of_all")
    columns = ["", "prefill ms", "step ms", "best", "tokens/s", f"of {found['streams']} streams"]
    rows = [[way, *(f"{figures[key]:,g}" for key in keys)] for way, figures in found["ways"].items()]
    return f"{table(columns, rows)}\n\n{goals_table(found['goals'])}"


def options_of() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a .gguf file or a model folder")
    parser.add_argument("--tiny", action="store_true", help="a model of a few thousand weights, as in tests")
    parser.add_argument("--rounds", type=at_least_one, default=5)
    parser.add_argument("--steps", type=at_least_one, default=Work().steps, help="that count, of each kind")
    parser.add_argument("--drawn", type=at_least_one, default=Work().drawn, help="tokens of a request")
    parser.add_argument("--prefill", type=at_least_one, default=Work().prefill, help="tokens of the prompt")
    parser.add_argument("--ways", type=names_of(WAYS), default=list(WAYS), help="names with commas")
    for name, what in (("transformers", "torch and transformers"), ("llama", "llama-cpp-python")):
        parser.add_argument(
            f"--{name}-python", default=sys.executable, help=f"the Python that {what} is installed for"
        )
    add_as_set(parser)
    return parser.parse_args()


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Everything that was asked for.

    Raises:
        ChildError: a peer cannot run, a process failed, or the model cannot be opened.
    """
    taken_out = let_libraries_choose(os.environ, as_set=options.as_set)
    versions = check(options)
    with tempfile.TemporaryDirectory() as place:
        begun("writing the model in every format")
        try:
            model = opened(options.model) if options.model else made_up(tiny=options.tiny)
            files = write(model, Path(place), options.ways)
        except CrystallineError as error:
            raise ChildError(str(error), 2) from None
        work = Work(
            steps=options.steps,
            drawn=options.drawn,
            prefill=options.prefill,
            vocab_size=model.config.vocab_size,
        )
        runs = measure(options, files, work)
    return {
        "model": options.model.name if options.model else "made up",
        "parameters": model.config.parameter_count(),
        "taken_out": taken_out,
        "rounds": options.rounds,
        "steps": options.steps,
        "prefill": options.prefill,
        "drawn": options.drawn,
        "cores": os.cpu_count(),
        "versions": versions,
        **findings(runs, work),
    }


def main() -> None:
    options = options_of()
    report(lambda: run(options), show)


if __name__ == "__main__":
    main()
