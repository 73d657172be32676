"""docs/architecture.md draws the tree of both packages, one line of purpose for each file."""

from __future__ import annotations

import re

from tests.architecture.tree import PACKAGES, ROOT, name_of, package_files

MAP = re.compile(r"^## The code map$.*?^```text$(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
INDENT = 2


def _mapped() -> dict[str, str]:
    """Path -> purpose, as the drawing says."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawing = MAP.search(text)
    assert drawing is not None, "docs/architecture.md has no code map"
    folders: list[str] = []
    purposes: dict[str, str] = {}
    for row in drawing.group(1).strip("\n").splitlines():
        depth = (len(row) - len(row.lstrip())) // INDENT
        name, _, purpose = row.strip().partition(" ")
        folders = folders[:depth]
        path = "".join([*folders, name])
        assert path not in purposes, f"{path} is drawn twice"
        if name.endswith("/"):
            folders.append(name)
        else:
            purposes[path] = purpose.strip()
    return purposes


def test_the_map_is_the_tree() -> None:
    typed = [f"{package}/py.typed" for package in PACKAGES]
    assert sorted(_mapped()) == sorted([*typed, *map(name_of, package_files())])


def test_every_file_on_the_map_has_a_purpose() -> None:
    assert [path for path, purpose in _mapped().items() if not purpose] == []
