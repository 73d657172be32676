"""The budgets of size and documentation that docs/architecture.md states."""

from __future__ import annotations

import ast
import bisect
import re
import statistics
from pathlib import Path

from tests.architecture.tree import (
    ROOT,
    Function,
    code_lines,
    files_of_tests,
    functions,
    name_of,
    package_files,
    parsed,
)

FILE_LINES_MAX = 600
FILE_LINES_MEDIAN_MAX = 200
FUNCTION_LINES_MAX = 70
FUNCTION_LINES_MEDIAN_MAX = 7
FUNCTION_LINES_P90_MAX = 25
DOCUMENTED_MIN = 0.95

DEBT = re.compile(
    r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b"
)  # in pieces: this file is searched too
SKIPS = re.compile(r"\bmark\.(skip|skipif|xfail)\b|\bpytest\.(skip|xfail|importorskip)\(")


def test_no_file_is_long() -> None:
    sizes = {name_of(path): _line_count(path) for path in [*package_files(), *files_of_tests()]}
    assert {name: size for name, size in sizes.items() if size > FILE_LINES_MAX} == {}


def test_the_median_file_is_short() -> None:
    assert statistics.median(_line_count(path) for path in package_files()) < FILE_LINES_MEDIAN_MAX


def test_no_function_is_long() -> None:
    sizes = _function_sizes()
    assert {name: size for name, size in sizes.items() if size > FUNCTION_LINES_MAX} == {}


def test_the_usual_function_is_short() -> None:
    sizes = sorted(_function_sizes().values())
    assert statistics.median(sizes) <= FUNCTION_LINES_MEDIAN_MAX
    assert sizes[int(0.9 * len(sizes))] < FUNCTION_LINES_P90_MAX


def test_public_names_are_documented() -> None:
    documented = {
        name: ast.get_docstring(node) is not None
        for path in package_files()
        for name, node in _public(parsed(path), name_of(path))
    }
    without = sorted(name for name, has in documented.items() if not has)
    assert len(without) <= (1 - DOCUMENTED_MIN) * len(documented), without


def test_every_module_says_what_it_is_for() -> None:
    assert [name_of(path) for path in package_files() if not ast.get_docstring(parsed(path))] == []


def test_nothing_is_marked_as_unfinished() -> None:
    files = [*package_files(), *_other_tests(), *sorted((ROOT / "examples").rglob("*.py"))]
    assert [name_of(path) for path in files if DEBT.search(path.read_text(encoding="utf-8"))] == []


def test_packages_never_sleep_in_a_thread() -> None:
    sleepers = [
        f"{name_of(path)}:{node.lineno}"
        for path in package_files()
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "sleep"}
    ]
    assert sleepers == []


def test_no_test_is_skipped() -> None:
    assert [name_of(path) for path in _other_tests() if SKIPS.search(path.read_text(encoding="utf-8"))] == []


def _other_tests() -> list[Path]:
    """All test files but this one, which must name the marks it looks for."""
    return [path for path in files_of_tests() if path != Path(__file__).resolve()]


def _line_count(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _function_sizes() -> dict[str, int]:
    """Code lines of every function in the packages."""
    sizes: dict[str, int] = {}
    for path in package_files():
        code = sorted(code_lines(path))
        for node in functions(path):
            last = node.end_lineno or node.lineno
            size = bisect.bisect_right(code, last) - bisect.bisect_left(code, node.lineno)
            sizes[f"{name_of(path)}:{node.lineno} {node.name}"] = size
    return sizes


def _public(node: ast.AST, prefix: str) -> list[tuple[str, ast.ClassDef | Function]]:
    """Classes, functions and methods that users may call; what is nested in a function is private."""
    found: list[tuple[str, ast.ClassDef | Function]] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef | Function) and not child.name.startswith("_"):
            if _is_overload(child):
                continue
            found.append((f"{prefix}:{child.name}", child))
            if isinstance(child, ast.ClassDef):
                found += _public(child, f"{prefix}:{child.name}")
    return found


def _is_overload(node: ast.ClassDef | Function) -> bool:
    return any("overload" in ast.unparse(decorator) for decorator in node.decorator_list)
