"""The large text: the same from the same packages, without markup, nothing twice, and known again."""

from __future__ import annotations

import gzip
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.large import text
from tests.benchmarks.large.markup import dictionary_text, html_text, plain_text
from tests.benchmarks.large.text import Fetched, Source, TextError, debian_text, manifest_of

if TYPE_CHECKING:
    from pathlib import Path

SOURCES = (
    Source("words", "dict/*.dz", dictionary_text),
    Source("notes", "doc/**/*.txt", plain_text, without=("translations",)),
)


def test_a_page_is_its_paragraphs() -> None:
    page = b"""<html><head><title>T</title><style>p {}</style></head><body><p>One &amp; <i>two</i>,
    three.<br/>Four<p>Five<script>x()</script><pre>a
  b</pre><ul><li>Six</li><li>Seven</ul></body></html>"""
    assert html_text(page) == "One & two, three.\nFour\n\nFive\n\na\nb\n\nSix\nSeven\n"


def test_a_dictionary_has_no_braces_and_no_editions() -> None:
    content = b"Feel\n   1. See {Feeler}.\n      [1913 Webster]\n\n   2. [Obs.]\n   [WordNet 1.5 +PJC]\n"
    assert dictionary_text(content) == "Feel\n   1. See Feeler.\n\n   2. [Obs.]\n"


def test_a_stray_byte_is_left_out_and_so_are_blank_lines() -> None:
    assert plain_text(b"\xef\xbb\xbfa\x92b\r\n\n \n\n\nc") == "ab\n\nc\n"
    assert plain_text(b" \n\n") == ""


class Debian:
    """Packages that need no network."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.note = "first\n"

    def fetch(self, source: Source, place: Path) -> Fetched:
        self.fetched.append(source.package)
        root = place / source.package
        files = {
            "dict/a.dz": gzip.compress(b"Aam {see}\n"),
            "doc/b/two.txt": b"second\n",
            "doc/a/one.txt": self.note.encode(),
            "doc/c/again.txt": b"second\n",
            "doc/c/blank.txt": b" \n",
            "doc/translations/three.txt": b"third\n",
        }
        for name, content in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return Fetched(source.package, "1.0", root)


def test_the_text_is_sorted_has_nothing_twice_and_is_used_again(tmp_path: Path) -> None:
    debian, said = Debian(), []  # type: tuple[Debian, list[str]]
    paths, manifest = debian_text(tmp_path, said.append, SOURCES, debian.fetch)
    assert [path.read_text() for path in paths] == ["Aam see\n", "first\n\nsecond\n"]
    assert [entry["documents"] for entry in manifest["sources"]] == [1, 2]
    assert [entry["dropped"] for entry in manifest["sources"]] == [0, 2]
    assert manifest["bytes"] == sum(path.stat().st_size for path in paths)
    assert debian_text(tmp_path, said.append, SOURCES, debian.fetch) == (paths, manifest)
    assert debian.fetched == ["words", "notes"]
    assert said == ["fetching words", "fetching notes"]


def test_a_file_that_was_changed_is_made_anew(tmp_path: Path) -> None:
    debian = Debian()
    paths, manifest = debian_text(tmp_path, print, SOURCES, debian.fetch)
    paths[1].write_text("first\n\nsecunda\n")
    assert debian_text(tmp_path, print, SOURCES, debian.fetch) == (paths, manifest)
    assert debian.fetched == ["words", "notes"] * 2
    debian.note = "another version\n"
    assert debian_text(tmp_path, print, SOURCES, debian.fetch) == (paths, manifest)
    paths[0].unlink()
    assert debian_text(tmp_path, print, SOURCES, debian.fetch)[1] != manifest


def test_other_packages_are_another_text(tmp_path: Path) -> None:
    debian = Debian()
    debian_text(tmp_path, print, SOURCES, debian.fetch)
    paths, _ = debian_text(tmp_path, print, SOURCES[:1], debian.fetch)
    assert [path.name for path in paths] == ["words.txt"]


def test_a_package_without_such_files_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"words 1\.0 holds no none/\*"):
        debian_text(tmp_path, print, [Source("words", "none/*", plain_text)], Debian().fetch)
    assert list(tmp_path.iterdir()) == []


def test_a_machine_without_apt_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TextError, match=r"apt-get is missing: use Debian, or --text"):
        debian_text(tmp_path / "work", print, SOURCES)


@pytest.mark.parametrize(
    ("depends", "name"),
    [("linux-doc-6.1 (= 6.1.192-2)", "linux-doc-6.1"), ("a, linux-doc-6.12 | b", "linux-doc-6.12")],
)
def test_a_package_that_only_names_another_stands_for_it(
    depends: str, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, ...]] = []

    def answer(command: tuple[str, ...], **_: object) -> subprocess.CompletedProcess[str]:
        asked.append(command)
        if command[:2] == ("apt-get", "download"):
            (tmp_path / name / "some.deb").touch()
        out = f"Package: linux-doc\nDepends: {depends}\n" if command[0] == "apt-cache" else "1.0\n"
        return subprocess.CompletedProcess(command, 0, out, "")

    monkeypatch.setattr(subprocess, "run", answer)
    fetched = text.fetch_package(next(of for of in text.SOURCES if of.package == "linux-doc"), tmp_path)
    assert (fetched.package, fetched.version) == (name, "1.0")
    assert ("apt-get", "download", name) in asked


def test_texts_of_ones_own_are_known_by_their_content(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("bb")
    (tmp_path / "a.txt").write_text("a")
    manifest = manifest_of([tmp_path])
    assert [entry["bytes"] for entry in manifest["sources"]] == [1, 2]
    assert manifest["bytes"] == 3
    with pytest.raises(TextError, match=r"missing\.txt cannot be read"):
        manifest_of([tmp_path / "missing.txt"])
