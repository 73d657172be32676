"""Imports run one way, at the top of a file, and in no circle."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import grimp

from tests.architecture.tree import PACKAGES, ROOT, Function, functions, name_of, package_files


def test_contracts_of_the_layers_hold() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    run = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_no_import_cycle() -> None:
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True, cache_dir=None)
    below = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    order = list(graphlib.TopologicalSorter(below).static_order())  # a cycle raises, and names its modules
    assert set(order) >= set(PACKAGES)


def test_no_import_inside_a_function() -> None:
    found = [
        f"{name_of(path)}:{function.name}"
        for path in package_files()
        for function in functions(path)
        if _imports(function)
    ]
    assert found == []


def _imports(function: Function) -> bool:
    return any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(function))
