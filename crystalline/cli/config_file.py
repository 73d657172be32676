"""Options from a TOML file: the same names, with - or _. The command line wins."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import typer  # noqa: TC002  (typer itself reads the annotations at run time)

from crystalline.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["read_settings", "use_config_file"]

_NOT_SETTINGS = frozenset({"ctx", "data", "config", "return"})
_TOML_NAMES = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "a string",
    str: "a string",
}


def use_config_file(ctx: typer.Context, config: Path | None) -> Path | None:
    """Make the settings in a file the defaults of the command that is being parsed.

    Raises:
        SettingError: see `read_settings`.
    """
    if config is not None:
        hints = get_type_hints(ctx.command.callback)
        types = {name: hint for name, hint in hints.items() if name not in _NOT_SETTINGS}
        ctx.default_map = read_settings(config, types)
    return config


def read_settings(path: Path, types: Mapping[str, Any]) -> dict[str, Any]:
    """Read option values.

    Args:
        path: a TOML file with one `name = value` a line; - and _ in a name are the same.
        types: the Python type of every option, by parameter name. A `Path` is a string in the file, a
            float may be written as an int.

    Returns:
        The values by parameter name.

    Raises:
        SettingError: the file cannot be read or is not TOML, a name is unknown, a table, or stands
            there twice, or a value has the wrong type. Names the file and the key.
    """
    settings: dict[str, Any] = {}
    for key, value in _parse(path).items():
        name = key.replace("-", "_")
        if isinstance(value, dict):
            raise SettingError(f"{path}: [{key}] is a table; no tables: write the options at the top level")
        if name not in types:
            raise SettingError(f"{path}: unknown setting {key!r}; {_nearest(name, types)}")
        if name in settings:
            raise SettingError(f"{path}: {key!r} is set twice, with - and with _; remove one")
        wanted = _plain(types[name])
        if not _fits(value, wanted):
            raise SettingError(f"{path}: {key!r} must be {_TOML_NAMES[wanted]}, got {value!r}")
        settings[name] = str(value) if wanted is str else value
    return settings


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingError(f"{path} cannot be read ({reason}): name a TOML file") from error
    except ValueError as error:  # of TOML, or of UTF-8
        raise SettingError(f"{path} is not TOML ({error}): write one name = value a line") from error


def _nearest(name: str, types: Mapping[str, Any]) -> str:
    if near := get_close_matches(name, types, n=1):
        return f"did you mean {near[0]!r}?"
    return "see crystalline train --help for the names"


def _plain(hint: Any) -> Any:
    """The one type in `int | None` and the like."""
    return next((part for part in get_args(hint) if part is not NoneType), hint)


def _fits(value: object, wanted: Any) -> bool:
    if isinstance(value, bool) or wanted is bool:
        return isinstance(value, bool) and wanted is bool
    if wanted is float:
        return isinstance(value, int | float)
    if wanted is str:  # a time or a number of steps is as good without quotes
        return isinstance(value, str | int)
    return isinstance(value, str if wanted is Path else wanted)
