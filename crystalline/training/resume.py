"""How a run goes on from a checkpoint: only as the run that it is."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from crystalline.data import Corpus
from crystalline.errors import CorpusError, ModelFolderError, SettingError
from crystalline.model.atomic import recover
from crystalline.training.checkpoint import load_record
from crystalline.training.config import TrainConfig
from crystalline.training.run_folder import run_folder_of

if TYPE_CHECKING:
    from crystalline.model import ModelConfig
    from crystalline.training.checkpoint import Checkpoint
    from crystalline.training.run_folder import RunIdentity

__all__ = [
    "NEUTRAL",
    "SavedRun",
    "check_progress",
    "check_same_run",
    "other_arithmetic",
    "saved_corpus",
    "saved_run",
]

NEUTRAL: Final = frozenset(
    {
        *(
            "spheres",
            "recompute",
            "save_every",
            "save_every_s",
            "keep",
            "on_loss",
            "epoch_timeout_s",
            "job_timeout_s",
        ),
        "on_nonfinite",  # which matters only where a run would have ended
    }
)
"""Settings that may differ when a run goes on."""


def check_same_run(
    checkpoint: Checkpoint,
    config: ModelConfig,
    identity: RunIdentity,
) -> None:
    """Return when going on gives the bits of the run that was never stopped.

    Args:
        checkpoint: where to go on.
        config: sizes of the model, with the vocabulary that the text gave.
        identity: what the run is now.

    Raises:
        SettingError: text, sizes or settings are others; every difference is named.
    """
    differences = []
    if checkpoint.record.get("data_fingerprint") != identity.data_fingerprint:
        before_text = checkpoint.record.get("data")
        differences.append(f"the text is another one (it was {before_text}, and is {identity.data})")
    if checkpoint.tokenizer_json != identity.tokenizer_json:
        differences.append("the tokenizer is another one (another version of its library?)")
    saved = checkpoint.record.get("settings")
    before = {**asdict(checkpoint.config), **(saved if isinstance(saved, dict) else {})}
    now = {**asdict(config), **asdict(identity.train)}
    differences += [
        f"{name} was {before.get(name)} and is {value}"
        for name, value in now.items()
        if name not in NEUTRAL and before.get(name) != value
    ]
    if differences:
        raise SettingError(f"cannot go on from step {checkpoint.progress.step}: {'; '.join(differences)}")


def other_arithmetic(checkpoint: Checkpoint, identity: RunIdentity) -> str | None:
    """What to say when going on will give other last bits than a run that was never stopped; else None.

    Other libraries, or another set of their kernels as on another processor, add up in another order.
    """
    before = checkpoint.record.get("arithmetic")
    if not before or before == identity.arithmetic:
        return None
    return (
        f"the run was computed by {before}, and is now by {identity.arithmetic}: it goes on, but not to the "
        "same last bits"
    )


def check_progress(checkpoint: Checkpoint, planned: list[int]) -> None:
    """Return when a run with so many steps in each of its epochs can have come so far.

    Raises:
        ModelFolderError: it cannot.
    """
    at = checkpoint.progress
    steps = planned[at.epoch - 1] if 0 < at.epoch <= len(planned) else 0
    over = at.step_in_epoch == steps
    if (
        at.epoch > len(planned)
        or at.step != sum(planned[: max(0, at.epoch - 1)]) + at.step_in_epoch
        or at.step_in_epoch > steps
        or (at.validated and not over)
    ):
        raise ModelFolderError(
            f"{checkpoint.folder} says step {at.step}, as step {at.step_in_epoch} of epoch {at.epoch}: the "
            f"run has {len(planned)} epochs, and no such place"
        )


@dataclass(frozen=True, slots=True)
class SavedRun:
    """What a checkpoint says about the run that made it.

    Attributes:
        model: sizes, with the most entries that the tokenizer was allowed.
        train: settings.
        data_paths: where the text came from: no path for text that Python itself carries, None for text that
            came from no file.
        folder: the run folder.
    """

    model: ModelConfig
    train: TrainConfig
    data_paths: tuple[Path, ...] | None
    folder: Path


def saved_corpus(saved: SavedRun) -> Corpus:
    """Read the text of a run again, from where it came.

    Raises:
        CorpusError: it is not there any more, or came from no file.
    """
    if saved.data_paths is None:
        raise CorpusError(f"the text of {saved.folder} came from no file: name files with the same text")
    return Corpus.from_paths(saved.data_paths) if saved.data_paths else Corpus.builtin()


def saved_run(folder: Path) -> SavedRun:
    """Read how a run was started, to start it again in the same way.

    Args:
        folder: a checkpoint, or a run folder.

    Raises:
        ModelFolderError: there is no checkpoint that can be read, or it does not say.
    """
    recover(folder)
    config, record = load_record(folder)
    try:
        known = {field.name for field in fields(TrainConfig)}
        settings = {name: value for name, value in record["settings"].items() if name in known}
        paths = record["data_paths"]
        return SavedRun(
            replace(config, vocab_size=record["vocab_size"]),
            TrainConfig(**settings),
            None if paths is None else tuple(map(Path, paths)),
            run_folder_of(folder),
        )
    except (KeyError, TypeError, AttributeError, SettingError) as error:
        raise ModelFolderError(f"{folder} does not say how its training was started: {error}") from error
