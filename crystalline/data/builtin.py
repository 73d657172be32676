"""English text that every CPython carries: the language reference's topics and the library's docstrings."""

from __future__ import annotations

import ast
import os
import sysconfig
import warnings
from pathlib import Path
from pydoc_data.topics import topics
from typing import TYPE_CHECKING

from crystalline.errors import CorpusError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["builtin_documents"]

# Tests and bundled tools speak of themselves, installed packages differ from machine to machine, the
# modules of encodings all say the same, and pydoc_data is read already.
_SKIPPED_FOLDERS = frozenset(
    {
        "__pycache__",
        "dist-packages",
        "encodings",
        "idle_test",
        "idlelib",
        "lib2to3",
        "pydoc_data",
        "site-packages",
        "test",
        "tests",
    }
)


def builtin_documents() -> tuple[str, ...]:
    """The topics of the language reference, then each standard module's docstrings, one document each.

    Modules are parsed, never imported: nothing runs, and the answer depends on the files alone.

    Raises:
        CorpusError: this Python has neither topics nor sources.
    """
    documents = [topics[topic] for topic in sorted(topics)]
    with warnings.catch_warnings():
        # Old modules hold invalid escapes. They are not ours to mend.
        warnings.simplefilter("ignore")
        documents += ["\n\n".join(_docstrings_in(path)) for path in _library_sources()]
    kept = tuple(document for document in documents if document.strip())
    if not kept:
        raise CorpusError("this Python carries no documentation: name text files to learn from")
    return kept


def _library_sources() -> Iterator[Path]:
    for parent, folders, names in os.walk(sysconfig.get_path("stdlib")):
        folders[:] = sorted(set(folders) - _SKIPPED_FOLDERS)
        yield from (Path(parent, name) for name in sorted(names) if name.endswith(".py"))


def _docstrings_in(path: Path) -> list[str]:
    try:
        return list(_docstrings_of(ast.parse(path.read_bytes())))
    except (OSError, SyntaxError, ValueError):
        # A source that this Python cannot read or parse is not a text to learn from.
        return []


def _docstrings_of(node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """The docstring of a definition and of the definitions in its body, in the order of the source."""
    docstring = ast.get_docstring(node)
    if docstring:
        yield docstring
    for statement in node.body:
        if isinstance(statement, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _docstrings_of(statement)
