"""Every error that crystalline raises on purpose. One family, so that one `except` catches it."""

from __future__ import annotations

__all__ = [
    "CorpusError",
    "CrystallineError",
    "DeadlineExceeded",
    "GenerationError",
    "InputError",
    "ModelFolderError",
    "NonFiniteError",
    "OutputError",
    "QueueFull",
    "RunFolderError",
    "SettingError",
    "TrainingError",
]


class CrystallineError(Exception):
    """Base of all errors here. The text names what was wrong, where, and what to do."""


class InputError(CrystallineError):
    """Something the user handed in cannot be used. Commands end with exit code 2."""


class SettingError(InputError, ValueError):
    """A setting is impossible, alone or together with another one."""


class CorpusError(InputError):
    """The text to learn from is missing, empty, binary or too short."""


class ModelFolderError(InputError):
    """A model folder is missing, incomplete or damaged."""


class RunFolderError(InputError):
    """A run folder, or what is recorded in it, is missing or damaged."""


class OutputError(InputError):
    """The output folder exists, cannot be written, or has no room left."""


class TrainingError(CrystallineError):
    """An epoch could not be finished. The text is the story of how it failed."""


class NonFiniteError(TrainingError):
    """A loss or a gradient is not a number, or infinite; the weights were not touched."""


class GenerationError(CrystallineError):
    """A request for text ended before its text did. The text is the story of how that came."""


class QueueFull(GenerationError):
    """A request found no place, or lost its place to somebody with fewer. Nothing was generated for it."""


class DeadlineExceeded(GenerationError):
    """The time of a request was over before its text was."""
