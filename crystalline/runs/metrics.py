"""`metrics.jsonl`: what a run wrote about every step and every epoch, read back. Trusts nothing."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from crystalline.errors import RunFolderError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["EpochRow", "Metrics", "StepRow", "parse_metrics", "read_metrics"]

_STEP_MAX: Final = 2**53  # whole numbers up to here are floats too, which charts need
_REMEDY: Final = "repair or remove that line, or name another run"


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step. A number that was not recorded, or not finite, is nan.

    Attributes:
        step: counted over the whole run.
        epoch: it belongs to; 0 when that was not recorded.
        loss: nats per token; nan when the step was skipped.
        grad_norm: before clipping.
        lr: learning rate.
        tokens: trained on in the step.
        seconds: it took.
        time: seconds since 1970 at its end.
        spike: whether the loss was reported as a spike.
        skipped: why the step did not change the weights; None when it did.
    """

    step: int
    epoch: int
    loss: float
    grad_norm: float
    lr: float
    tokens: float
    seconds: float
    time: float
    spike: bool
    skipped: str | None


@dataclass(frozen=True, slots=True)
class EpochRow:
    """One finished epoch. A number that was not recorded, or not finite, is nan.

    Attributes:
        epoch: its number.
        step: steps of the run at its end.
        train_loss: mean over the epoch, nats per token.
        val_loss: of the held-out text after it; nan without any.
        tokens: trained on in the epoch.
        seconds: its training part took.
        time: seconds since 1970 at its end.
    """

    epoch: int
    step: int
    train_loss: float
    val_loss: float
    tokens: float
    seconds: float
    time: float


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a run has recorded: steps in order, and epochs in order, each once."""

    steps: tuple[StepRow, ...] = ()
    epochs: tuple[EpochRow, ...] = ()


def read_metrics(path: Path) -> Metrics:
    """Read a `metrics.jsonl`.

    Raises:
        RunFolderError: it is no file, cannot be read, or a line of it is damaged; the line is named.
    """
    if not path.is_file():  # nor a pipe, whose reader would wait for ever
        raise RunFolderError(f"{path} is no file: name a run with metrics")
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or error
        raise RunFolderError(
            f"{path} cannot be read ({reason}): change the rights or name another run"
        ) from error
    return parse_metrics(content, str(path))


def parse_metrics(content: bytes, name: str) -> Metrics:
    """Read the lines of a `metrics.jsonl`.

    Kinds and fields that are not known are passed over. When a step or an epoch stands there more than
    once, the last line counts. A last line that is not whole, as a killed run leaves it, is passed over.

    Args:
        content: the file.
        name: of the file, for errors.

    Raises:
        RunFolderError: a line is no JSON object, or a field is not what it should be.
    """
    steps: dict[int, StepRow] = {}
    epochs: dict[int, EpochRow] = {}
    *lines, last = content.split(b"\n")
    if last and not _is_torn(last):
        lines.append(last)
    for number, line in enumerate(lines, 1):
        fields = _Fields(f"{name}: line {number}", _object(line, f"{name}: line {number}"))
        match fields.content.get("kind"):
            case "step":
                step = _step(fields)
                steps[step.step] = step
            case "epoch":
                epoch = _epoch(fields)
                epochs[epoch.epoch] = epoch
    return Metrics(
        tuple(steps[number] for number in sorted(steps)), tuple(epochs[number] for number in sorted(epochs))
    )


def _is_torn(line: bytes) -> bool:
    """Whether a line without an end is the beginning of an object."""
    return line.startswith(b"{") and _json(line) is None


def _object(line: bytes, place: str) -> Mapping[str, Any]:
    content = _json(line)
    if not isinstance(content, dict):
        raise RunFolderError(f"{place} is not a JSON object: {_REMEDY}")
    return content


def _json(line: bytes) -> object:
    """What a line says; None for what is not JSON, and for null."""
    try:
        content: object = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    return content


@dataclass(frozen=True, slots=True)
class _Fields:
    place: str
    content: Mapping[str, Any]

    def whole(self, name: str, default: int | None = None) -> int:
        value = self.content.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _STEP_MAX:
            raise RunFolderError(f"{self.place}: {name!r} is no whole number of a run: {_REMEDY}")
        return value

    def number(self, name: str) -> float:
        value = self.content.get(name)
        if value is None:
            return math.nan
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RunFolderError(f"{self.place}: {name!r} is no number: {_REMEDY}")
        # A whole number can be too large for a float; compared with one it never overflows.
        return float(value) if abs(value) <= sys.float_info.max else math.nan

    def text(self, name: str) -> str | None:
        value = self.content.get(name)
        if value is not None and not isinstance(value, str):
            raise RunFolderError(f"{self.place}: {name!r} is no text: {_REMEDY}")
        return value


def _step(fields: _Fields) -> StepRow:
    return StepRow(
        step=fields.whole("step"),
        epoch=fields.whole("epoch", 0),
        loss=fields.number("loss"),
        grad_norm=fields.number("grad_norm"),
        lr=fields.number("lr"),
        tokens=fields.number("tokens"),
        seconds=fields.number("seconds"),
        time=fields.number("time"),
        spike=fields.content.get("spike") is True,
        skipped=fields.text("skipped"),
    )


def _epoch(fields: _Fields) -> EpochRow:
    return EpochRow(
        epoch=fields.whole("epoch"),
        step=fields.whole("step"),
        train_loss=fields.number("train_loss"),
        val_loss=fields.number("val_loss"),
        tokens=fields.number("tokens"),
        seconds=fields.number("seconds"),
        time=fields.number("time"),
    )
