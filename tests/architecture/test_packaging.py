"""What is shipped, and what lies at the top of the repository."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib
from typing import Any

from tests.architecture.tree import PACKAGES, ROOT

FOLDERS = {".ci", "actors", "crystalline", "docs", "examples", "tests"}


def _project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _ignored_names() -> set[str]:
    rows = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    return {row.strip("/") for row in rows if row.endswith("/")}


def test_both_packages_are_in_the_wheel() -> None:
    assert tuple(_project()["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == PACKAGES


def test_both_packages_are_marked_as_typed() -> None:
    assert [package for package in PACKAGES if not (ROOT / package / "py.typed").is_file()] == []


def test_the_installed_version_is_that_of_the_project() -> None:
    assert importlib.metadata.version("crystalline") == _project()["project"]["version"]


def test_the_change_log_begins_with_this_version() -> None:
    log = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## (\d+\.\d+\.\d+)", log, flags=re.MULTILINE)
    assert newest is not None
    assert newest.group(1) == _project()["project"]["version"]


def test_the_command_is_installed() -> None:
    assert _project()["project"]["scripts"] == {"crystalline": "crystalline.cli:main"}


def test_the_top_level_holds_exactly_the_agreed_folders() -> None:
    present = {path.name for path in ROOT.iterdir() if path.is_dir()} - _ignored_names() - {".git"}
    assert present == FOLDERS
