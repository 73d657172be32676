"""One whole epoch over a large text: how long, how busy, how much memory, what is learnt, beside whom.

usage: python tests/benchmarks/corpus.py [--out FILE] [--work FOLDER] [--markdown] [--text PATH ...] [sizes]

The text is about 80 MB of English out of Debian's packages (a dictionary, the documentation of Linux and
Python, an FAQ of political philosophy), fetched once with `apt-get download`, without markup; `--text` takes
your own instead. It is tokenised, then a `Trainer` without run folder trains for one whole epoch with two
spheres, and again with one: the weights must be the same. The loss on held-out text before is that of the
weights which the training begins with.

Then steps are timed in turn, each way in a process of its own, `--rounds` times, each second round in the
opposite order: ours with two spheres and with one, training as one writes it in numpy from the textbook
(`large/plain_numpy.py`, with the BLAS kernels that ours has), and torch in eager mode with two threads. The
median step of a process counts; how many times as fast ours is, is the median of the ratios within a round,
and that of the best rounds stands beside it. `--peers plain` leaves torch out; `--peer-python` says which
Python has it.

Progress and tables go to standard error, one JSON object to standard output. With `--out FILE` the file holds
each part once it is measured, and parts that are in it are not measured again: an interrupted run goes on
where it was, but for the part under way. Measuring everything takes hours.

Variables of the environment that hold OpenBLAS, MKL or oneDNN to other kernels than they would choose are
taken out, and named, unless `--as-set` is given; with each part stands what was taken out, and which
libraries computed.

Exit code 1 when the text is below 73 MB, an epoch was not whole, the loss on held-out text did not fall, the
two trainings ended with other weights, or one of these was not measured; 2 when something is missing or
cannot be used; 130 after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from crystalline.data import default_cache_dir
from crystalline.errors import SettingError
from crystalline.model import ModelConfig
from crystalline.training import TrainConfig
from tests.benchmarks.large.findings import (
    NAMES,
    PREPARING,
    epoch_part,
    findings,
    step_part,
)
from tests.benchmarks.large.record import Record, RecordError
from tests.benchmarks.large.tables import markdown, plain_tables
from tests.benchmarks.large.text import TextError, debian_text, manifest_of
from tests.benchmarks.speed.child import ChildError, answer_of
from tests.benchmarks.speed.options import add_as_set, let_libraries_choose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.benchmarks.large.text import Manifest

HERE: Final = Path(__file__).resolve().parent
CHILD: Final = HERE / "large" / "child.py"
TORCH: Final = HERE / "peers" / "torch_llama.py"
PARTS: Final = ("prepare", "many", "one", "steps")
PEERS: Final = ("plain", "torch")
SPHERES: Final = {"many": 2, "one": 1}
LEAST_MB: Final = 73.0
WARM: Final = 3
INTERRUPTED: Final = 130
PART_S: Final = 24 * 3600.0  # seconds that one process may take


class Setting(NamedTuple):
    """What is the same for every part."""

    text: list[str]
    taken_out: Mapping[str, str]  # of the environment
    model: ModelConfig
    train: TrainConfig
    work: Path
    peer_python: str
    steps: int  # of a peer in a round

    @property
    def tokens(self) -> Path:
        """Where tokens are cached."""
        return self.work / "tokens"

    def child(self, do: str, *, spheres: int = 1, steps: int | None = None) -> dict[str, Any]:
        """Run one process of ours and return its answer.

        Raises:
            ChildError: it failed.
        """
        task = {
            "do": do,
            "text": self.text,
            "model": asdict(self.model),
            "train": {**asdict(self.train), "spheres": spheres, "steps": steps},
            "warm": WARM,
            "steps": self.steps,
        }
        settings = {"CRYSTALLINE_CACHE": str(self.tokens)}
        found = answer_of(
            [sys.executable, str(CHILD), json.dumps(task)], settings=settings, limit_s=PART_S, shows=True
        )
        return {**found, "taken_out": self.taken_out}

    def torch(self, *words: str) -> dict[str, Any]:
        """Run the peer and return its answer.

        Raises:
            ChildError: it is not there, or failed.
        """
        model = self.model
        sizes = {
            "vocab-size": model.vocab_size,
            "dim": model.dim,
            "layers": model.layers,
            "heads": model.heads,
            "ffn-dim": model.feed_forward_dim,
            "seq-len": model.seq_len,
            "batch-size": self.train.batch_size,
            "threads": SPHERES["many"],
            "steps": self.steps,
            "warm": WARM,
        }
        pairs = [word for name, size in sizes.items() for word in (f"--{name}", str(size))]
        command = [self.peer_python, str(TORCH), "--mode", "eager", "--with-parent", *pairs, *words]
        return {**answer_of(command, limit_s=PART_S, shows=True), "taken_out": self.taken_out}


class Job(NamedTuple):
    """One part: its name in the record, what to say of it, and how to measure it."""

    part: str
    text: str
    work: Callable[[], dict[str, Any]]


def jobs(setting: Setting, options: argparse.Namespace) -> list[Job]:
    """What is asked for, in order."""
    found = []
    if "prepare" in options.parts:
        found.append(Job(PREPARING, "reading and tokenising the text", partial(prepared_anew, setting)))
    for way in SPHERES:
        if way in options.parts:
            work = partial(epoch_of, setting, way, options.steps)
            found.append(Job(epoch_part(way), f"one epoch: {NAMES[way]}", work))
    in_turn = (*SPHERES, *options.peers) if "steps" in options.parts else ()
    for number in range(options.rounds):
        for way in in_turn if number % 2 == 0 else reversed(in_turn):
            text = f"round {number + 1} of {options.rounds}: {NAMES[way]}"
            found.append(Job(step_part(way, number), text, partial(steps_of, setting, way)))
    return found


def measure(asked: Sequence[Job], record: Record) -> None:
    """Measure what is not yet known.

    Raises:
        ChildError: a part failed; those before are in the record.
        RecordError: the record cannot be written.
    """
    for job in asked:
        known = job.part in record.parts
        say(f"{job.text}{' (known)' if known else ''}")
        record.part(job.part, job.work)


def prepared_anew(setting: Setting) -> dict[str, Any]:
    """Tokenise, whether or not the tokens are there from another run: what is measured is the making."""
    shutil.rmtree(setting.tokens, ignore_errors=True)
    return setting.child("prepare")


def epoch_of(setting: Setting, way: str, steps: int | None) -> dict[str, Any]:
    """Train for one epoch, or so many steps of it."""
    return setting.child("epoch", spheres=SPHERES[way], steps=steps)


def steps_of(setting: Setting, way: str) -> dict[str, Any]:
    """The seconds of some steps."""
    if way == "torch":
        return setting.torch()
    return setting.child("plain") if way == "plain" else setting.child("steps", spheres=SPHERES[way])


def the_text(options: argparse.Namespace) -> tuple[list[Path], Manifest]:
    """Where the text is, and what it is.

    Raises:
        TextError: it is not to be had.
    """
    if options.text:
        return options.text, manifest_of(options.text)
    return debian_text(options.work, say)


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Get the text, measure, and conclude.

    Raises:
        ChildError: a part failed.
        RecordError: the file for the record cannot be used.
        SettingError: sizes do not fit together.
        TextError: the text is not to be had.
    """
    taken_out = let_libraries_choose(os.environ, as_set=options.as_set)
    model = ModelConfig(
        vocab_size=options.vocab_size,
        dim=options.dim,
        layers=options.layers,
        heads=options.heads,
        ffn_dim=options.ffn_dim,
        seq_len=options.seq_len,
    )
    train = TrainConfig(
        epochs=1, batch_size=options.batch_size, lr=options.lr, val_fraction=options.val_fraction
    )
    if "steps" in options.parts and "torch" in options.peers:
        Setting([], taken_out, model, train, options.work, options.peer_python, 1).torch("--check")
    paths, manifest = the_text(options)
    hashes = [entry["sha256"] for entry in manifest["sources"]]
    identity = {
        "text": hashes,
        "model": asdict(model),
        "settings": asdict(train),
        "steps of the epoch": options.steps,
        "steps of the peers": options.steps_of_peers,
    }
    record = Record(identity, options.out)
    text = [str(path.absolute()) for path in paths]
    setting = Setting(
        text, taken_out, model, train, options.work, options.peer_python, options.steps_of_peers
    )
    measure(jobs(setting, options), record)
    return findings(
        record.parts,
        manifest,
        rounds=options.rounds,
        batch_size=train.batch_size,
        least_bytes=round(options.least_mb * 1e6),
    )


def say(text: str) -> None:
    """One line for whoever looks on."""
    print(text, file=sys.stderr, flush=True)


def chosen_from(choices: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """A parser of lists of words; `none` is the empty one."""

    def parse(text: str) -> tuple[str, ...]:
        words = () if text == "none" else tuple(text.split(","))
        if unknown := sorted(set(words) - set(choices)):
            raise argparse.ArgumentTypeError(
                f"{', '.join(unknown)}: choose from {', '.join(choices)}, or none"
            )
        return tuple(word for word in choices if word in words)

    return parse


def positive(text: str) -> int:
    """Parse a number of steps or rounds."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return int(text)


def options_of() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cache, model = default_cache_dir(), ModelConfig()
    parser.add_argument("--text", type=Path, nargs="+", help="texts of your own")
    parser.add_argument(
        "--work",
        type=Path,
        default=cache and cache / "large-corpus",
        required=cache is None,
        help="where text and tokens are kept; default: %(default)s",
    )
    parser.add_argument("--out", type=Path, help="a file for what is measured, part by part")
    parser.add_argument("--markdown", action="store_true", help="tables for a page")
    parser.add_argument("--parts", type=chosen_from(PARTS), default=PARTS, help=f"some of {','.join(PARTS)}")
    parser.add_argument("--peers", type=chosen_from(PEERS), default=PEERS, help=f"some of {','.join(PEERS)}")
    parser.add_argument("--peer-python", default=sys.executable, help="a Python that has torch")
    parser.add_argument("--rounds", type=positive, default=5, help="of steps in turn")
    parser.add_argument("--steps-of-peers", type=positive, default=40, help="steps of each way in a round")
    parser.add_argument("--steps", type=positive, help="cut the epochs short, to try this program")
    parser.add_argument("--least-mb", type=float, default=LEAST_MB, help="megabytes the text must have")
    for name in ("vocab_size", "dim", "layers", "heads", "seq_len"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(model, name))
    parser.add_argument("--ffn-dim", type=int, help="default: 8/3 of dim")
    parser.add_argument("--batch-size", type=int, default=36)
    parser.add_argument("--lr", type=float, default=TrainConfig().lr)
    parser.add_argument("--val-fraction", type=float, default=0.002)
    add_as_set(parser)
    return parser.parse_args()


def main() -> None:
    options = options_of()
    try:
        found = run(options)
    except (RecordError, SettingError, TextError) as error:
        say(f"error: {error}")
        sys.exit(2)
    except ChildError as error:
        say(f"error: {error}")
        sys.exit(error.code)
    except KeyboardInterrupt:
        kept = "" if options.out is None else f"; {options.out} has the parts that were done"
        say(f"\ninterrupted{kept}")
        sys.exit(INTERRUPTED)
    say(f"\n{markdown(found) if options.markdown else plain_tables(found)}")
    print(json.dumps({"cores": os.cpu_count(), **found}))
    sys.exit(0 if found["goal_reached"] else 1)


if __name__ == "__main__":
    main()
