"""Which options of a command its tests do not name."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args, get_origin, get_type_hints

from typer.models import OptionInfo

from crystalline.cli.lazy import load

if TYPE_CHECKING:
    from pathlib import Path


def untested(place: str, tests: Path) -> list[str]:
    """The options of the command at `module:function` that do not stand in a file of tests in quotes."""
    written = tests.read_text(encoding="utf-8")
    hints = get_type_hints(load(place), include_extras=True)
    named = (name for name, hint in hints.items() if _is_option(hint))
    options = [f"--{name.replace('_', '-')}" for name in named]
    assert options, f"{place} has no option at all"
    return [option for option in options if f'"{option}"' not in written and f'"{option}=' not in written]


def _is_option(hint: object) -> bool:
    return get_origin(hint) is not None and any(isinstance(part, OptionInfo) for part in get_args(hint))
