"""The built-in text is there on every machine, without importing, running or warning about anything."""

from __future__ import annotations

import sysconfig
from typing import TYPE_CHECKING

import pytest

from crystalline.data import builtin
from crystalline.data.builtin import builtin_documents
from crystalline.data.corpus import Corpus
from crystalline.errors import CorpusError

if TYPE_CHECKING:
    from pathlib import Path

MODULE = '''"""Module."""
BAD_ESCAPE = "\\d"
class Outer:
    """Outer class."""
    def method(self):
        """Method."""
    async def waits(self): "Waits."
def bare(): pass
raise SystemExit("imported!")
'''


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A standard library of our own, and no topics."""
    monkeypatch.setattr(builtin, "topics", {})
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path) if name == "stdlib" else "")
    return tmp_path


def test_docstrings_come_in_source_order_and_nothing_runs(library: Path) -> None:
    (library / "module.py").write_text(MODULE)
    assert builtin_documents() == ("Module.\n\nOuter class.\n\nMethod.\n\nWaits.",)


def test_tests_packages_and_broken_sources_are_passed_over(library: Path) -> None:
    for folder in ("test", "site-packages", "json/tests", "encodings"):
        (library / folder).mkdir(parents=True)
        (library / folder / "x.py").write_text('"""Not this."""')
    (library / "broken.py").write_text("def (")
    (library / "null.py").write_bytes(b"\0")
    (library / "z.py").write_text('"""Z."""')
    (library / "json" / "a.py").write_text('"""A."""')
    assert builtin_documents() == ("Z.", "A.")


def test_a_python_without_documentation_is_told_so(library: Path) -> None:
    assert list(library.iterdir()) == []
    with pytest.raises(CorpusError, match="name text files"):
        builtin_documents()


def test_the_real_one_is_english_and_long_enough_to_learn_from() -> None:
    corpus = Corpus.builtin()
    assert corpus.size_bytes > 1_000_000
    assert len(corpus.documents) > 300
    assert sum(document.count(" the ") for document in corpus.documents) > 10_000
