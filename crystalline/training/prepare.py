"""From a corpus and settings to everything a run needs. Synchronous: it runs in a thread."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crystalline.data import Windows, default_cache_dir, prepare_tokens, unigram_cross_entropy
from crystalline.model import ModelConfig, initialise
from crystalline.training.checkpoint import RunFolder, check_output
from crystalline.training.memory import RunMemory
from crystalline.training.plan import TreePlan
from crystalline.training.sphere import Seat
from crystalline.training.work import ShardWork

if TYPE_CHECKING:
    from pathlib import Path

    from actors import JobToken
    from crystalline.data import Corpus
    from crystalline.training.config import TrainConfig

__all__ = ["Prepared", "prepare"]


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
    """

    config: ModelConfig
    windows: Windows
    unigram_loss: float | None
    seat: Seat
    folder: RunFolder | None


def prepare(
    token: JobToken,
    model: ModelConfig,
    train: TrainConfig,
    corpus: Corpus,
    out: Path | None,
    *,
    force: bool,
) -> Prepared:
    """Tokenise the text, cut it into windows, and lay out the run's memory.

    Raises:
        InputError: the corpus, the settings or the output folder cannot be used.
        JobAbandoned: nobody waits any more.
    """
    if out is not None:
        check_output(out, force=force)  # before the long part, so that nobody waits for a refusal
    tokens = prepare_tokens(corpus, model.vocab_size, default_cache_dir())
    token.check()
    windows = Windows(tokens.tokens, model.seq_len, train.val_fraction)
    config = dataclasses.replace(model, vocab_size=tokens.tokenizer.get_vocab_size())
    folder = None
    if out is not None:
        folder = RunFolder(
            out,
            force=force,
            tokenizer_json=tokens.tokenizer.to_str(),
            train=train,
            data_fingerprint=corpus.fingerprint,
        )
    token.check()
    # First what grows fastest with the sizes: absurd ones end here, as a MemoryError.
    memory = RunMemory(config, initialise(config, train.seed))
    work = ShardWork(
        config,
        shards=train.shards,
        rows_max=-(-min(train.batch_size, windows.count) // train.shards),
        weight_decay=train.weight_decay,
    )
    seat = Seat(TreePlan(train.spheres), memory, work, train.job_timeout_s)
    return Prepared(config, windows, _unigram_loss(windows, config.vocab_size), seat, folder)


def _unigram_loss(windows: Windows, vocab_size: int) -> float | None:
    if not len(windows.validation):
        return None
    _, train = windows.batch(windows.train)
    _, held_out = windows.batch(windows.validation)
    return unigram_cross_entropy(train, held_out, vocab_size)
