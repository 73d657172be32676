"""The repository as the architecture tests see it: its files, parsed once."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("actors", "crystalline")

Function = ast.FunctionDef | ast.AsyncFunctionDef


def package_files() -> list[Path]:
    """Every Python file of the two packages."""
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def files_of_tests() -> list[Path]:
    """Every Python file below tests/."""
    return sorted((ROOT / "tests").rglob("*.py"))


def name_of(path: Path) -> str:
    """A path as people write it, from the top of the repository."""
    return path.relative_to(ROOT).as_posix()


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=name_of(path))


def functions(path: Path) -> list[Function]:
    """Every function and method in a file, nested ones included."""
    return [node for node in ast.walk(parsed(path)) if isinstance(node, Function)]


def code_lines(path: Path) -> frozenset[int]:
    """Line numbers that hold code: no blank line, no comment alone on its line, no docstring."""
    rows = path.read_text(encoding="utf-8").splitlines()
    bare = {number for number, row in enumerate(rows, 1) if not row.strip() or row.lstrip().startswith("#")}
    return frozenset(range(1, len(rows) + 1)) - bare - _docstring_lines(parsed(path))


def _docstring_lines(tree: ast.Module) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            text = node.body[0]
            lines.update(range(text.lineno, (text.end_lineno or text.lineno) + 1))
    return lines
