"""Change a module in one place at a time, and see whether its tests notice.

    python tests/conformance/mutate.py actors/wire.py tests/unit/actors/test_wire.py ...

Each mutant is one change to the syntax tree: a statement left out, a condition negated or one side of it
dropped, an operator exchanged for its neighbour, a number moved by one, an argument dropped, a value returned
as None. The words of errors are not changed. A mutant runs in a process of its own, forked before the module
was imported, so that what happens at import is tested as well. Prints those that no test notices; the last
line says how many there were.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import os
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import hypothesis.extra.numpy  # noqa: F401 - imported once, before the forks
import msgpack  # noqa: F401 - as above
import pytest
from hypothesis import Phase, settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

MEMORY_BYTES_MAX = 4 << 30
OPTIONS = (
    *("-x", "-q", "-p", "no:cacheprovider"),
    "--hypothesis-profile=mutation",
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),  # hypothesis was imported before pytest began
)
# The same examples for every mutant; and no search for the smallest one, which nobody looks at.
settings.register_profile(
    "mutation", derandomize=True, database=None, deadline=None, phases=[Phase.explicit, Phase.generate]
)
SWAPS: dict[type[ast.AST], type[Any]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Mod: ast.Mult,
    ast.LShift: ast.RShift,
    ast.BitOr: ast.BitAnd,
}


class Mutant:
    """One change: the field of a node gets another value."""

    def __init__(self, node: ast.AST, field: str, value: object, said: str) -> None:
        self.node = node
        self.field = field
        self.value = value
        self.said = said

    def source(self, tree: ast.Module) -> str:
        """The text of the module with this change; the tree is left as it was."""
        kept = getattr(self.node, self.field)
        setattr(self.node, self.field, self.value)
        try:
            return ast.unparse(ast.fix_missing_locations(copy.deepcopy(tree)))
        finally:
            setattr(self.node, self.field, kept)


def mutants(tree: ast.AST) -> Iterator[Mutant]:
    """Every change to what is below this node, but for what is there for readers and type checkers alone."""
    for field, value in ast.iter_fields(tree):
        if field in {"annotation", "returns"} or isinstance(tree, ast.Raise):
            continue
        for index, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST) and not _is_for_readers(child):
                yield from _of_statement(tree, field, value, index, child)
                yield from _of_condition(child)
                yield from _of_value(child)
                yield from mutants(child)


def _is_for_readers(node: ast.AST) -> bool:
    """Documentation, the list of public names, what the type checker alone sees."""
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.AnnAssign(annotation=ast.Name(id="TypeAlias")):
            return True
        case ast.Assign(value=ast.Call(func=ast.Name(id="TypeVar"))):
            return True
    return False


def _of_statement(parent: ast.AST, field: str, block: Any, index: int, node: ast.AST) -> Iterator[Mutant]:
    """Leave a statement out, where there is something to leave out."""
    kept = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Pass)
    if not isinstance(node, ast.stmt) or isinstance(node, kept) or isinstance(parent, ast.Module):
        return
    yield Mutant(parent, field, [*block[:index], ast.Pass(), *block[index + 1 :]], _said("left out", node))


def _of_condition(node: ast.AST) -> Iterator[Mutant]:
    match node:
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            yield Mutant(node, "test", ast.UnaryOp(ast.Not(), test), _said("negated", test))
        case ast.BoolOp(op=op, values=values):
            other = ast.Or if isinstance(op, ast.And) else ast.And
            yield Mutant(node, "op", other(), _said("and for or", node))
            for index, part in enumerate(values):
                yield Mutant(node, "values", values[:index] + values[index + 1 :], _said("dropped", part))
        case ast.Compare(ops=ops):
            for index, found in enumerate(ops):
                swapped = [*ops[:index], SWAPS[type(found)](), *ops[index + 1 :]]
                yield Mutant(node, "ops", swapped, _said("compared otherwise", node))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield Mutant(node, "operand", ast.UnaryOp(ast.Not(), operand), _said("negated", node))


def _of_value(node: ast.AST) -> Iterator[Mutant]:
    match node:
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in SWAPS:
            yield Mutant(node, "op", SWAPS[type(op)](), _said("another operator", node))
        case ast.UnaryOp(op=ast.USub()):
            yield Mutant(node, "op", ast.UAdd(), _said("sign dropped", node))
        case ast.Constant(value=bool() as value):
            yield Mutant(node, "value", not value, _said("negated", node))
        case ast.Constant(value=int() as value):
            yield Mutant(node, "value", value + 1, _said("one more", node))
            yield Mutant(node, "value", value - 1, _said("one less", node))
        case ast.Constant(value=str() | bytes() as value) if value:
            yield Mutant(node, "value", value[:-1], _said("shortened", node))
        case ast.Return(value=ast.expr() as value) if not _is_none(value):
            yield Mutant(node, "value", ast.Constant(None), _said("returned None for", value))
        case ast.Call():
            yield from _of_call(node)


def _of_call(node: ast.Call) -> Iterator[Mutant]:
    for index, argument in enumerate(node.args):
        without = node.args[:index] + node.args[index + 1 :]
        yield Mutant(node, "args", without, _said("dropped", argument, node))
    for index, keyword in enumerate(node.keywords):
        kept = node.keywords[:index] + node.keywords[index + 1 :]
        yield Mutant(node, "keywords", kept, _said("dropped", keyword, node))


def _is_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _said(what: str, node: ast.AST, inside: ast.AST | None = None) -> str:
    text = ast.unparse(node).split("\n", maxsplit=1)[0]
    place = f" in {ast.unparse(inside)}" if inside is not None else ""
    return f"line {getattr(node, 'lineno', 0)}: {what}: {text}{place}"


class _Instead(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports one module from a text that is in no file."""

    def __init__(self, name: str, source: str) -> None:
        self._name = name
        self._source = source

    def find_spec(self, fullname: str, path: object, target: object = None) -> Any:
        del path, target
        return importlib.util.spec_from_loader(fullname, self) if fullname == self._name else None

    def get_source(self, fullname: str) -> str:
        del fullname
        return self._source


def unnoticed(
    name: str, sources: Sequence[str], tests: Sequence[str], workers: int, limit_s: int
) -> Iterator[int]:
    """Run the tests with each of these sources of a module; the index of each with which all of them pass."""
    running: dict[int, int] = {}
    for index, source in enumerate(sources):
        if len(running) == workers:
            yield from _end_of_one(running)
        child = os.fork()
        if not child:
            _test(name, source, tests, limit_s)
        running[child] = index
    while running:
        yield from _end_of_one(running)


def _end_of_one(running: dict[int, int]) -> Iterator[int]:
    child, status = os.wait()
    index = running.pop(child)
    if status == 0:
        yield index


def _test(name: str, source: str, tests: Sequence[str], limit_s: int) -> NoReturn:
    """In a child: end with 0 if all tests pass; with a signal if they take too long or too much memory."""
    try:
        signal.alarm(limit_s)
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        sys.meta_path.insert(0, _Instead(name, source))
        code = int(pytest.main([*OPTIONS, *tests]))
    except BaseException:  # noqa: BLE001 - whatever happens in the child, it must not go on as the parent
        code = 1
    os._exit(code)


def main() -> None:
    """Run every mutant and print those that nobody noticed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("module", type=Path, help="a file of a package, such as actors/wire.py")
    parser.add_argument("tests", nargs="+", help="what pytest is to run")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--limit-s", type=int, default=120, help="for the tests of one mutant")
    parser.add_argument("--only", default="", help="mutants whose description has this in it")
    wanted = parser.parse_args()
    name = ".".join(wanted.module.with_suffix("").parts)
    original = wanted.module.read_text()
    tree = ast.parse(original)
    if not list(unnoticed(name, [original], wanted.tests, 1, wanted.limit_s)):
        sys.exit("error: the tests fail without any change")
    found = [mutant for mutant in mutants(tree) if wanted.only in mutant.said]
    sources = [mutant.source(tree) for mutant in found]
    survivors = 0
    for index in unnoticed(name, sources, wanted.tests, wanted.workers, wanted.limit_s):
        survivors += 1
        print(f"{wanted.module}, {found[index].said}", flush=True)
    print(f"{wanted.module}: {len(found)} mutants, {len(found) - survivors} noticed, {survivors} not")


if __name__ == "__main__":
    main()
