"""From a corpus and settings to everything a run needs. Synchronous: it runs in a thread."""

from __future__ import annotations

import dataclasses
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from actors import JobAbandoned
from crystalline.data import (
    Windows,
    default_cache_dir,
    prepare_tokens,
    steps_per_epoch,
    token_counts,
    unigram_cross_entropy,
)
from crystalline.errors import SettingError
from crystalline.kernels.blas import arithmetic
from crystalline.model import ModelConfig, initialise
from crystalline.model.atomic import recover
from crystalline.training.checkpoint import load_checkpoint
from crystalline.training.footprint import Footprint, footprint, rows_in_a_shard
from crystalline.training.memory import RunMemory
from crystalline.training.plan import TreePlan, steps_planned
from crystalline.training.progress import Progress
from crystalline.training.resume import check_progress, check_same_run, other_arithmetic
from crystalline.training.run_folder import RunFolder, RunIdentity, check_output, run_folder_of
from crystalline.training.sphere import Seat
from crystalline.training.work import ShardWork

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from actors import JobToken
    from crystalline.data import Corpus
    from crystalline.training.checkpoint import Checkpoint
    from crystalline.training.config import TrainConfig

__all__ = ["Prepared", "prepare"]

LOGGER: Final = logging.getLogger("crystalline")
SMALLEST_VOCABULARY: Final = 257

_TOKENS_AT_ONCE = 1 << 17


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """What a run needs.

    Attributes:
        config: sizes of the model, with the vocabulary that the text gave.
        windows: the text.
        unigram_loss: cross-entropy of held-out tokens under the frequencies of training tokens; None
            without held-out text.
        seat: plan, memory and jobs.
        folder: where checkpoints go; None keeps no files.
        progress: where the run begins.
        footprint: the memory that its buffers take.
    """

    config: ModelConfig
    windows: Windows
    unigram_loss: float | None
    seat: Seat
    folder: RunFolder | None
    progress: Progress
    footprint: Footprint


def prepare(
    token: JobToken,
    model: ModelConfig,
    train: TrainConfig,
    corpus: Corpus,
    out: Path | None,
    *,
    force: bool,
    resume: Path | None = None,
) -> Prepared:
    """Tokenise the text, cut it into windows, and lay out the run's memory.

    Raises:
        InputError: the corpus, the settings, the output folder or the checkpoint cannot be used.
        JobAbandoned: nobody waits any more.
    """
    if resume is not None:
        recover(resume)
    checkpoint = load_checkpoint(resume) if resume is not None else None
    for damage in checkpoint.passed_over if checkpoint is not None else ():
        LOGGER.warning("passed over a newer checkpoint: %s", damage)
    if out is not None and (resume is None or run_folder_of(resume).resolve() != out.resolve()):
        check_output(out, force=force)  # before the long part, so that nobody waits for a refusal
    # A text may use fewer entries of the vocabulary than it could; the other sizes are known now.
    smallest = dataclasses.replace(model, vocab_size=min(model.vocab_size, SMALLEST_VOCABULARY))
    _check_memory(smallest, train, footprint(smallest, train, rows=None, keeps_files=out is not None))
    tokens = prepare_tokens(corpus, model.vocab_size, default_cache_dir())
    token.check()
    windows = Windows(tokens.tokens, model.seq_len, train.val_fraction)
    config = dataclasses.replace(model, vocab_size=tokens.tokenizer.get_vocab_size())
    rows = rows_in_a_shard(train, windows.count)
    planned = footprint(config, train, rows=rows, keeps_files=out is not None)
    _check_memory(config, train, planned)
    identity = RunIdentity(
        train=train,
        tokenizer_json=tokens.tokenizer.to_str(),
        data_fingerprint=corpus.fingerprint,
        data=corpus.name,
        data_paths=corpus.paths,
        vocab_size=model.vocab_size,
        arithmetic=arithmetic(),
    )
    if checkpoint is not None:
        check_same_run(checkpoint, config, identity)
        if (others := other_arithmetic(checkpoint, identity)) is not None:
            LOGGER.warning("%s", others)
        per_epoch = steps_per_epoch(len(windows.train), train.batch_size)
        check_progress(checkpoint, steps_planned(per_epoch, train.epochs, train.steps))
    progress = checkpoint.progress if checkpoint is not None else Progress()
    seat = _seat(config, train, rows, checkpoint)
    unigram_loss = _unigram_loss(windows, config.vocab_size)
    token.check()
    # Last, so that whatever fails before has claimed nothing.
    folder = None if out is None else RunFolder(out, identity, force=force, resumed=checkpoint)
    try:
        token.check()
    except JobAbandoned:  # nobody takes it over
        if folder is not None:
            folder.close()
        raise
    return Prepared(config, windows, unigram_loss, seat, folder, progress, planned)


def _seat(config: ModelConfig, train: TrainConfig, rows: int, checkpoint: Checkpoint | None) -> Seat:
    """Plan, memory and jobs of the run."""
    # First what grows fastest with the sizes: absurd ones end here, as a MemoryError.
    memory = (
        RunMemory(config, initialise(config, train.seed)) if checkpoint is None else _restored(checkpoint)
    )
    work = ShardWork(
        config,
        shards=train.shards,
        rows_max=rows,
        weight_decay=train.weight_decay,
        recompute=train.recompute,
    )
    redistribute = train.on_loss == "redistribute"
    return Seat(TreePlan(train.spheres), memory, work, train.job_timeout_s, redistribute=redistribute)


def _check_memory(config: ModelConfig, train: TrainConfig, planned: Footprint) -> None:
    """Refuse a model that this machine cannot hold, before anything is made for it.

    Raises:
        SettingError: its buffers alone take more than all memory.
    """
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if planned.total > there:
        raise SettingError(
            f"a model of {config.parameter_count():,} parameters takes {planned.total / 1e9:,.1f} GB to "
            f"train, but this machine has {there / 1e9:,.1f} GB: {_remedy(planned, train)}"
        )


def _remedy(planned: Footprint, train: TrainConfig) -> str:
    """Which part is the largest, and what makes it smaller."""
    fewer = "choose smaller sizes, with fewer parameters"
    shorter = "choose a smaller --batch-size or --seq-len" + ("" if train.recompute else ", or --recompute")
    parts = [
        (planned.weights, "weights and moments", fewer),
        (planned.gradients, "gradients", fewer),
        (planned.archive, "the copy that becomes a checkpoint", fewer),
        (planned.workspaces, "activations", shorter),
    ]
    largest, name, remedy = max(parts)
    return f"{largest / 1e9:,.1f} GB of it for {name}, so {remedy}"


def _restored(checkpoint: Checkpoint) -> RunMemory:
    weights, first_moment, second_moment = checkpoint.buffers
    version = checkpoint.progress.updates
    return RunMemory(checkpoint.config, weights, moments=(first_moment, second_moment), version=version)


def _unigram_loss(windows: Windows, vocab_size: int) -> float | None:
    if not len(windows.validation):
        return None
    train = token_counts(_targets(windows, windows.train), vocab_size)
    held_out = token_counts(_targets(windows, windows.validation), vocab_size)
    return unigram_cross_entropy(train, held_out)


def _targets(windows: Windows, indices: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The targets of some windows, in blocks that take little memory."""
    at_once = max(1, _TOKENS_AT_ONCE // windows.seq_len)
    for begin in range(0, len(indices), at_once):
        yield windows.batch(indices[begin : begin + at_once])[1]
