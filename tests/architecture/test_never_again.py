"""tests/README.md says, for every fault that must never come back, which tests keep it away."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from tests.architecture.tree import ROOT, parsed

if TYPE_CHECKING:
    from pathlib import Path

FAULTS = 25
RUNS = 7
ROW = re.compile(r"^\| (?P<fault>[^|]+) \| (?P<here>[^|]+) \| (?P<tests>[^|]*) \|$", flags=re.MULTILINE)
NODE = re.compile(r"`(tests/[\w/]+\.py)::([\w:]+)`")


def _rows(heading: str) -> list[re.Match[str]]:
    """The rows of the table under a heading of tests/README.md, without its head."""
    text = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return list(ROW.finditer(section))[1:]


def _names(path: Path) -> set[str]:
    """`test_x` and `TestY::test_x` for every test of a file."""
    return set(_qualified(parsed(path)))


def _qualified(node: ast.AST, prefix: str = "") -> list[str]:
    names: list[str] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            names += _qualified(child, f"{prefix}{child.name}::")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            names.append(f"{prefix}{child.name}")
    return names


def test_every_fault_stands_in_the_table_once() -> None:
    faults = [row["fault"] for row in _rows("Never again")]
    assert len(faults) == len(set(faults)) == FAULTS


def test_every_run_that_must_end_well_stands_in_its_table_once() -> None:
    runs = [row["fault"] for row in _rows("Runs that must end well")]
    assert len(runs) == len(set(runs)) == RUNS


def test_every_fault_and_run_names_a_test() -> None:
    rows = [*_rows("Never again"), *_rows("Runs that must end well")]
    assert [row["fault"] for row in rows if not NODE.search(row["tests"])] == []


def test_every_named_test_exists() -> None:
    text = (ROOT / "tests" / "README.md").read_text(encoding="utf-8")
    missing = [
        f"{file}::{name}"
        for file, name in NODE.findall(text)
        if not (ROOT / file).is_file() or name not in _names(ROOT / file)
    ]
    assert missing == []
