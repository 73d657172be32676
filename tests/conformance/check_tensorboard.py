"""Have TensorBoard itself read what `TensorBoardLog` writes: a run, a resume of it, and a new run.

    python tests/conformance/check_tensorboard.py

Needs tensorboard. Prints one line. Exit code 0 if TensorBoard's reader holds every value that it should hold
and none that it should not, else 1.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from crystalline.runs.tensorboard import TensorBoardLog
from crystalline.training import EpochDone, StepDone


def write(folder: Path, *, from_step: int, to_step: int, loss: float) -> None:
    """A run that takes some steps and ends an epoch with each fourth; all its losses are one number."""
    log = TensorBoardLog(folder, from_step=from_step)
    for step in range(from_step + 1, to_step + 1):
        log.take(StepDone(1, 3, step, 12, loss, 0.5, 0.001, 100, 0.25, (), ()))
        if step % 4 == 0:
            log.take(EpochDone(step // 4, 3, step, loss, loss + 0.5, 400, 1.0, ()))
    log.close()


def read(folder: Path, tag: str) -> list[tuple[int, float]]:
    """Steps and values as TensorBoard shows them."""
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    found.Reload()
    return [(event.step, event.value) for event in found.Scalars(tag)]


def expect(folder: Path, tag: str, values: list[float], *, every: int = 1) -> list[str]:
    """What is wrong with a tag, whose values stand at every so many steps from the first on."""
    wanted = [(every * number, value) for number, value in enumerate(values, 1)]
    found = read(folder, tag)
    return [] if found == wanted else [f"{tag}: TensorBoard has {found}, not {wanted}"]


def main() -> int:
    """Write, read, compare."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, from_step=0, to_step=11, loss=1.0)
        wrong = expect(folder, "step/loss", [1.0] * 11)
        wrong += expect(folder, "step/learning_rate", [float(np.float32(0.001))] * 11)
        wrong += expect(folder, "epoch/val_loss", [1.5] * 2, every=4)
        write(folder, from_step=6, to_step=12, loss=2.0)
        wrong += expect(folder, "step/loss", [1.0] * 6 + [2.0] * 6)
        wrong += expect(folder, "epoch/train_loss", [1.0, 2.0, 2.0], every=4)
        write(folder, from_step=0, to_step=5, loss=3.0)
        wrong += expect(folder, "step/loss", [3.0] * 5)
        wrong += expect(folder, "epoch/val_loss", [3.5], every=4)
    print("\n".join(wrong) or "TensorBoard reads every step and epoch, and of a resumed run each once")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
