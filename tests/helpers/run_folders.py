"""Run folders with chosen numbers in them, as training writes them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from crystalline.model import ModelConfig

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

BEGIN_S = 1_700_000_000.0
SETTINGS = {"spheres": 2, "lr": 0.003, "seed": 0}
SHA256 = "0123456789abcdef" * 4
TINY_MODEL = ModelConfig(vocab_size=300, dim=16, layers=1, heads=2, seq_len=16)


def step_line(step: int, loss: float | None, **changes: Any) -> dict[str, Any]:
    """What is written about a step."""
    usual = {
        "kind": "step",
        "step": step,
        "epoch": (step - 1) // 4 + 1,
        "loss": loss,
        "grad_norm": 0.5 + step,
        "lr": step / 1000,
        "tokens": 100,
        "seconds": 0.5,
        "time": BEGIN_S + step,
    }
    return usual | changes


def epoch_line(epoch: int, step: int, val_loss: float | None, **changes: Any) -> dict[str, Any]:
    """What is written about an epoch."""
    usual = {
        "kind": "epoch",
        "epoch": epoch,
        "step": step,
        "train_loss": 4.0 - epoch,
        "val_loss": val_loss,
        "tokens": 400,
        "seconds": 2.0,
        "time": BEGIN_S + step,
    }
    return usual | changes


def lines(losses: Sequence[float | None]) -> list[dict[str, Any]]:
    """Steps with these losses; after every fourth there is an epoch, with the loss and 0.25 on top."""
    found = []
    for step, loss in enumerate(losses, 1):
        found.append(step_line(step, loss))
        if step % 4 == 0:
            found.append(epoch_line(step // 4, step, None if loss is None else loss + 0.25))
    return found


def encoded(content: Sequence[dict[str, Any]]) -> bytes:
    """One object a line."""
    return "".join(json.dumps(each) + "\n" for each in content).encode()


def make_run(
    folder: Path,
    losses: Sequence[float | None] | None,
    *,
    checkpoint: bool = True,
    model: ModelConfig = TINY_MODEL,
    settings: dict[str, Any] | None = None,
    **progress: Any,
) -> Path:
    """A run folder; without losses there is no metrics.jsonl."""
    folder.mkdir(parents=True)
    if losses is not None:
        (folder / "metrics.jsonl").write_bytes(encoded(lines(losses)))
    if checkpoint:
        latest = folder / "checkpoints" / "step-00000008"
        (latest / "training").mkdir(parents=True)
        (folder / "latest").symlink_to("checkpoints/step-00000008")
        (latest / "config.json").write_text(json.dumps(model.to_hf()))
        record = {
            "epoch": 2,
            "step": 8,
            "step_in_epoch": 4,
            "weights_sha256": SHA256,
            "settings": SETTINGS | (settings or {}),
            "data": "text.txt",
            "data_fingerprint": "fe" * 32,
        }
        (latest / "training" / "progress.json").write_text(json.dumps(record | progress))
    return folder
