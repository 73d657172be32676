"""What `corpus.py` measures, each in a process of its own: this program, told what by one JSON object.

usage: python tests/benchmarks/large/child.py JSON

Keys of the object: `do` (a name in WORK), `text` (files and folders), `model` and `train` (settings), `warm`
and `steps` (for what counts steps). Tokens are cached where `CRYSTALLINE_CACHE` says. Ends when its standard
input ends. Prints one JSON object; progress goes to standard error. Exit code 2 for texts or settings that
cannot be used.
"""

from __future__ import annotations

import asyncio
import json
import math
import sys
import time
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from crystalline.data import (
    Corpus,
    Windows,
    batch_indices,
    default_cache_dir,
    epoch_order,
    prepare_tokens,
    steps_per_epoch,
)
from crystalline.errors import CorpusError, CrystallineError, InputError
from crystalline.kernels.blas import arithmetic
from crystalline.model import ModelConfig, Parameters, Workspace, initialise, loss
from crystalline.training import EpochDone, StepDone, TrainConfig, Trainer
from tests.benchmarks.large.plain_numpy import AdamW, loss_and_gradient
from tests.benchmarks.large.resident import memory_mib
from tests.benchmarks.speed.lifeline import end_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable

    from crystalline.data import PreparedTokens
    from crystalline.training import TrainReport

__all__ = ["WORK", "Task", "held_out_loss"]

_ROWS: Final = 16  # sequences of held-out text at a time
_SHOWN_EVERY_S: Final = 10.0
_TERMINAL_EVERY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Task:
    """What to do, on which text, at which sizes."""

    do: str
    text: tuple[str, ...]
    model: ModelConfig
    train: TrainConfig
    warm: int = 0
    steps: int = 0

    @classmethod
    def parse(cls, words: str) -> Task:
        """Read the JSON object.

        Raises:
            SettingError: a size or a setting is impossible.
        """
        given = json.loads(words)
        model, train = ModelConfig(**given.pop("model")), TrainConfig(**given.pop("train"))
        return cls(text=tuple(given.pop("text")), model=model, train=train, **given)

    def corpus(self) -> Corpus:
        """The text, read.

        Raises:
            CorpusError: it cannot be.
        """
        return Corpus.from_paths([Path(path) for path in self.text])


def prepare(task: Task) -> dict[str, Any]:
    """Read and tokenise the text; find it in the cache; compute the held-out loss of the first weights."""
    begun_s = time.perf_counter()
    corpus = task.corpus()
    read_s = time.perf_counter() - begun_s
    prepared = prepare_tokens(corpus, task.model.vocab_size, default_cache_dir())
    whole_s = time.perf_counter() - begun_s
    memory = memory_mib()
    config, windows = laid_out(task, prepared)
    begun_s = time.perf_counter()
    again = prepare_tokens(corpus, task.model.vocab_size, default_cache_dir())
    return {
        "fingerprint": corpus.fingerprint,
        "bytes": corpus.size_bytes,
        "documents": len(corpus.documents),
        "tokens": len(prepared.tokens),
        "vocab_size": config.vocab_size,
        "parameters": config.parameter_count(),
        "training_windows": len(windows.train),
        "validation_windows": len(windows.validation),
        "read_s": read_s,
        "tokenise_s": whole_s - read_s,
        "was_cached": prepared.cached,
        "from_cache_s": time.perf_counter() - begun_s if again.cached else None,
        "memory_mib": memory,
        "arithmetic": arithmetic(),
        "initial_val_loss": held_out_loss(config, task.train.seed, windows),
    }


def laid_out(task: Task, prepared: PreparedTokens) -> tuple[ModelConfig, Windows]:
    """The sizes with the vocabulary that the text gave, and the windows as a `Trainer` cuts them."""
    config = replace(task.model, vocab_size=prepared.tokenizer.get_vocab_size())
    return config, Windows(prepared.tokens, config.seq_len, task.train.val_fraction)


def held_out_loss(config: ModelConfig, seed: int, windows: Windows) -> float | None:
    """Mean cross-entropy of the held-out text under the weights that a training begins with, in nats.

    Returns:
        None without held-out text.
    """
    held_out = windows.validation
    if not len(held_out):
        return None
    weights, workspace = Parameters(config, initialise(config, seed)), Workspace(config, _ROWS)
    total, tokens = 0.0, 0
    for begin in range(0, len(held_out), _ROWS):
        inputs, targets = windows.batch(held_out[begin : begin + _ROWS])
        total += loss(weights, inputs, targets, workspace)
        tokens += int((targets >= 0).sum())
    return total / tokens


def epoch(task: Task) -> dict[str, Any]:
    """Train for the epoch, or as many steps as the settings allow."""
    return asyncio.run(_epoch(task))


async def _epoch(task: Task) -> dict[str, Any]:
    begun_s = time.perf_counter()
    progress, settled = _Progress(), None
    async with Trainer(task.model, task.train, task.corpus()) as trainer:
        opened_s = time.perf_counter() - begun_s
        async for event in trainer.events():
            if isinstance(event, StepDone):
                progress.step(event)
                if event.step == min(task.warm, event.steps):
                    settled = memory_mib()
            elif isinstance(event, EpochDone):
                done = event
        report = await trainer.fit()
    return {
        **_of_report(report, done),
        "opened_s": opened_s,
        "memory_settled_mib": settled,
        "memory_mib": memory_mib(),
        "arithmetic": arithmetic(),
    }


def _of_report(report: TrainReport, done: EpochDone) -> dict[str, Any]:
    return {
        "steps": report.steps,
        "tokens": report.tokens,
        "training_s": done.seconds,
        "wall_s": report.wall_s,
        "tokens_per_s": report.tokens_per_s,
        "train_loss": report.train_loss,
        "val_loss": report.val_loss,
        "unigram_loss": report.unigram_loss,
        "weights_sha256": report.weights_sha256,
        "spheres": [
            {"busy_s": sphere.busy_s, "waiting_s": sphere.waiting_s, "idle_s": sphere.idle_s}
            for sphere in done.spheres
        ],
    }


def steps(task: Task) -> dict[str, Any]:
    """Time steps of ours: from the end of one, as a program hears of it, to the end of the next."""
    return asyncio.run(_steps(task))


async def _steps(task: Task) -> dict[str, Any]:
    train = replace(task.train, steps=task.warm + task.steps, val_fraction=0.0)
    ends_s, losses, tokens = [time.perf_counter()], [], []
    async with Trainer(task.model, train, task.corpus()) as trainer:
        check_length(task, trainer.steps)
        async for event in trainer.events():
            if isinstance(event, StepDone):
                ends_s.append(time.perf_counter())
                losses.append(event.loss)
                tokens.append(event.tokens)
    return _of_steps(task, [b - a for a, b in pairwise(ends_s)], tokens, losses)


def plain(task: Task) -> dict[str, Any]:
    """Time steps of the textbook's way, on the same batches, from the same weights."""
    corpus = task.corpus()
    config, windows = laid_out(
        replace(task, train=replace(task.train, val_fraction=0.0)),
        prepare_tokens(corpus, task.model.vocab_size, default_cache_dir()),
    )
    train, views = task.train, Parameters(config, initialise(config, task.train.seed)).views
    optimizer = AdamW(
        {name: view.copy() for name, view in views.items()},
        lr=train.lr,
        weight_decay=train.weight_decay,
        clip=train.clip,
    )
    order = windows.train[epoch_order(len(windows.train), train.seed, 1)]
    check_length(task, steps_per_epoch(len(order), train.batch_size))
    seconds, losses, tokens = [], [], []
    for step in range(task.warm + task.steps):
        begun_s = time.perf_counter()
        inputs, targets = windows.batch(batch_indices(order, step, train.batch_size))
        tokens.append(int((targets >= 0).sum()))
        total, gradient = loss_and_gradient(
            config, optimizer.weights, inputs, targets, loss_scale=1 / tokens[-1]
        )
        optimizer.step(gradient)
        losses.append(total / tokens[-1])
        seconds.append(time.perf_counter() - begun_s)
    return _of_steps(task, seconds, tokens, losses)


def check_length(task: Task, there: int) -> None:
    """Refuse a text that has fewer steps than are asked for.

    Raises:
        CorpusError: it has.
    """
    wanted = task.warm + task.steps
    if there < wanted:
        raise CorpusError(f"the text has {there} steps, not {wanted}: use fewer, or more text")


def _of_steps(task: Task, seconds: list[float], tokens: list[int], losses: list[float]) -> dict[str, Any]:
    return {
        "step_s": seconds[task.warm :],
        "tokens_per_step": max(tokens[task.warm :]),
        "first_loss": losses[0],
        "memory_mib": memory_mib(),
        "arithmetic": arithmetic(),
    }


WORK: Final[dict[str, Callable[[Task], dict[str, Any]]]] = {
    "prepare": prepare,
    "epoch": epoch,
    "steps": steps,
    "plain": plain,
}


class _Progress:
    """Where a training is, for whoever looks on: on a terminal often, in a file seldom."""

    def __init__(self) -> None:
        self._begun_s = time.perf_counter()
        self._shown_s = -math.inf  # the first step is shown
        self._tokens = 0

    def step(self, event: StepDone) -> None:
        self._tokens += event.tokens
        now_s, terminal = time.perf_counter(), sys.stderr.isatty()
        every_s = _TERMINAL_EVERY_S if terminal else _SHOWN_EVERY_S
        if now_s - self._shown_s < every_s and event.step != event.steps:
            return
        self._shown_s = now_s
        spent_s = now_s - self._begun_s
        left_s = spent_s / event.step * (event.steps - event.step)
        text = (
            f"step {event.step} of {event.steps}, loss {event.loss:.3f}, "
            f"{self._tokens / spent_s:,.0f} tokens/s, {left_s / 60:.1f} minutes left"
        )
        end = "" if terminal and event.step != event.steps else "\n"
        print(f"\r{text:<78}" if terminal else text, end=end, file=sys.stderr, flush=True)


def say(text: str) -> None:
    """One line for whoever looks on."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    end_with_parent()
    try:
        task = Task.parse(sys.argv[1])
        found = WORK[task.do](task)
    except InputError as error:
        say(f"error: {error}")
        sys.exit(2)
    except CrystallineError as error:
        say(f"error: {error}")
        sys.exit(1)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
