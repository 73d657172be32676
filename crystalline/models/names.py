"""What models may be called."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from crystalline.errors import SettingError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["NAME_BYTES_MAX", "check_name", "is_name", "name_for"]

NAME_BYTES_MAX: Final = 200
"""Longest name in UTF-8: file systems allow 255, and a name that is being made has 14 more."""

_NAME: Final = re.compile(r"[^\W_][\w.\-]*")  # a hyphen in front would read as an option
_OTHERS: Final = re.compile(r"[^\w.\-]+|\A[\W_]+")


def is_name(text: str) -> bool:
    """Whether a model may have this name."""
    return _NAME.fullmatch(text) is not None and len(text.encode(errors="replace")) <= NAME_BYTES_MAX


def check_name(name: str) -> str:
    """The name, if a model may have it.

    Raises:
        SettingError: it may not; says what names are like.
    """
    if not is_name(name):
        raise SettingError(
            f"{name!r} cannot be the name of a model: use letters, digits, '.', '_' and '-', a letter or a "
            f"digit first, {NAME_BYTES_MAX} bytes at most"
        )
    return name


def name_for(source: Path) -> str:
    """The name that suggests itself for what stands at a path; other characters become hyphens.

    Raises:
        SettingError: nothing is left of it.

    >>> from pathlib import Path
    >>> name_for(Path("downloads/My Model.Q8_0.gguf"))
    'My-Model.Q8_0'
    """
    last = source.absolute().name or source.resolve().name
    stem = last.removesuffix(".gguf")
    return check_name(_OTHERS.sub("-", stem).lstrip("-._"))
