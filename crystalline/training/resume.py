"""Whether a run may go on from a checkpoint: only as the run that it is. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from crystalline.errors import SettingError

if TYPE_CHECKING:
    from crystalline.model import ModelConfig
    from crystalline.training.checkpoint import Checkpoint
    from crystalline.training.config import TrainConfig

__all__ = ["NEUTRAL", "check_same_run"]

NEUTRAL: Final = frozenset({"spheres", "save_every", "epoch_timeout_s", "job_timeout_s"})
"""Settings that change no bit of the result, and may differ when a run goes on."""


def check_same_run(
    checkpoint: Checkpoint,
    config: ModelConfig,
    train: TrainConfig,
    *,
    data_fingerprint: str,
    tokenizer_json: str,
) -> None:
    """Return when going on gives the bits of the run that was never stopped.

    Args:
        checkpoint: where to go on.
        config: sizes of the model, with the vocabulary that the text gave.
        train: settings now.
        data_fingerprint: hash of the text now.
        tokenizer_json: what the token ids mean now.

    Raises:
        SettingError: text, sizes or settings are others; every difference is named.
    """
    differences = []
    if checkpoint.record.get("data_fingerprint") != data_fingerprint:
        differences.append("the text is another one")
    if checkpoint.tokenizer_json != tokenizer_json:
        differences.append("the tokenizer is another one (another version of its library?)")
    saved = checkpoint.record.get("settings")
    before = {**asdict(checkpoint.config), **(saved if isinstance(saved, dict) else {})}
    now = {**asdict(config), **asdict(train)}
    differences += [
        f"{name} was {before.get(name)} and is {value}"
        for name, value in now.items()
        if name not in NEUTRAL and before.get(name) != value
    ]
    if differences:
        raise SettingError(f"cannot go on from step {checkpoint.progress.step}: {'; '.join(differences)}")
