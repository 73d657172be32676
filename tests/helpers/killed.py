"""What must hold of a run folder when the process that wrote to it was killed, at whatever moment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from crystalline.errors import ModelFolderError
from crystalline.model import load_model, weights_sha256
from crystalline.training import load_checkpoint

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["METRICS", "State", "leftovers", "lines_of", "place_of", "state_of"]

METRICS: Final = "metrics.jsonl"
CLOCKS: Final = frozenset({"seconds", "time"})  # all else in a line is the same in every run

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class State:
    """What a run folder holds.

    Attributes:
        step: of the newest checkpoint, 0 when there is no folder.
        sha256: of its weights.
        lines: the metrics, without what clocks say.
        complaint: what is wrong with all that; None if nothing.
    """

    step: int
    sha256: str = ""
    lines: tuple[Line, ...] = ()
    complaint: str | None = None


def state_of(out: Path, expected: tuple[Line, ...], *, at_least: int = 0) -> State:
    """Look at a run folder.

    Args:
        out: the folder, which need not be there.
        expected: the metrics of the same run undisturbed.
        at_least: the step of a checkpoint that was there before, and must not have been lost.
    """
    if not out.exists():
        return State(0, complaint=f"{out.name} is gone, with step {at_least}" if at_least else None)
    try:
        checkpoint = load_checkpoint(out)
        load_model(out)  # through the links, as others open it
    except ModelFolderError as error:
        return State(0, complaint=str(error))
    step, sha256 = checkpoint.progress.step, weights_sha256(checkpoint.buffers.weights)
    content = (out / METRICS).read_bytes()
    vouched = content[: checkpoint.progress.metrics_bytes]
    complaints = (
        f"passed over: {checkpoint.passed_over}" if checkpoint.passed_over else None,
        f"step {step} where {at_least} was saved before" if step < at_least else None,
        "other weights than recorded" if checkpoint.record["weights_sha256"] != sha256 else None,
        _of_checkpoint(vouched, checkpoint.progress.metrics_bytes, step),
        _of_lines(lines_of(content), expected),
    )
    complaint = next(filter(None, complaints), None)
    return State(step, sha256, lines_of(content), complaint)


def _of_checkpoint(content: bytes, size: int, step: int) -> str | None:
    """The lines that a checkpoint vouches for end with its step."""
    if len(content) < size or not content.endswith(b"\n"):
        return f"the metrics of {size} bytes are cut to {len(content)}"
    steps = [line["step"] for line in lines_of(content) if line["kind"] == "step"]
    return None if steps == list(range(1, step + 1)) else f"the metrics up to step {step} have {steps}"


def _of_lines(lines: tuple[Line, ...], expected: tuple[Line, ...]) -> str | None:
    """A prefix of the lines of an undisturbed run: no gap, no duplicate, no other number."""
    for number, line in enumerate(lines):
        if number >= len(expected) or line != expected[number]:
            instead = expected[number] if number < len(expected) else "nothing"
            return f"line {number + 1} of the metrics is {line} instead of {instead}"
    return None


def lines_of(content: bytes) -> tuple[Line, ...]:
    """The whole lines of a metrics file, without what clocks say."""
    whole = content[: content.rfind(b"\n") + 1].splitlines()
    return tuple(
        {key: value for key, value in json.loads(line).items() if key not in CLOCKS} for line in whole
    )


def leftovers(out: Path) -> frozenset[Path]:
    """Hidden folders that saves have begun and not taken away: beside the run folder and within it."""
    places = ((out.parent, out.name), (out, "*"), (out / "checkpoints", "*"))
    return frozenset(left for folder, name in places for left in folder.glob(f".{name}.new-????????"))


def place_of(left: Path, out: Path) -> str:
    """What a save was at when it left this folder."""
    if left.parent == out.parent:
        return "first checkpoint"
    if left.parent == out:
        return "link"
    name = left.name.removeprefix(".").partition(".new-")[0]
    return "removal" if (left / name).exists() else "checkpoint"
