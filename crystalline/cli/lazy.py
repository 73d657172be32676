"""The commands by name, each in a module that is imported when the command is called.

The one place of the command that imports at run time: `crystalline --help` must not wait for numpy and
tokenizers.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

__all__ = ["APP", "COMMANDS", "Outline", "load"]

APP = "crystalline.cli.app:run"
"""Where the command line itself starts. Not imported before signals are in order."""


@dataclass(frozen=True, slots=True)
class Outline:
    """What is known about a command without importing it.

    Attributes:
        summary: first line of the command's help.
        place: `module:attribute` of its function.
        examples: command lines for its help.
    """

    summary: str
    place: str
    examples: tuple[str, ...]


COMMANDS = {
    "train": Outline(
        "Train a language model on text files.",
        "crystalline.cli.train:train",
        (
            "crystalline train notes.txt essays/ --out runs/mine",
            "crystalline train notes.txt --out runs/small --layers 1 --dim 64 --epochs 10",
        ),
    ),
    "generate": Outline(
        "Let a trained model go on with a text.",
        "crystalline.cli.generate:generate",
        ('crystalline generate runs/mine --prompt "Once upon a time" --temperature 0.7',),
    ),
}
"""Every command, in the order of the help."""


def load(place: str) -> Any:
    """Import what `module:attribute` names.

    Raises:
        ImportError: there is no such module.
        AttributeError: the module has no such attribute.

    >>> load("math:tau") > 6
    True
    """
    module, _, attribute = place.partition(":")
    return getattr(import_module(module), attribute)
