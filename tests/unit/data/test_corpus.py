"""A corpus is made of real text, or refused in one line that names the thing and the remedy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalline.data import Corpus
from crystalline.errors import CorpusError

# Neither blank nor unencodable.
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: bool(text.strip()))


def refusal(*paths: Path) -> str:
    with pytest.raises(CorpusError) as caught:
        Corpus.from_paths(paths)
    message = str(caught.value)
    assert "\n" not in message
    assert ":" in message, "the remedy follows a colon"
    return message


def test_a_file_is_one_document(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes("né\r\n".encode())
    corpus = Corpus.from_paths([file])
    assert corpus.documents == ("né\r\n",)
    assert corpus.size_bytes == 5
    assert corpus.name == str(file)


def test_a_byte_order_mark_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfhello")
    assert Corpus.from_paths([tmp_path / "a.txt"]).documents == ("hello",)


def test_a_folder_is_read_sorted_and_deep_without_hidden_binary_and_blank_files(tmp_path: Path) -> None:
    contents = {
        "b.txt": b"second",
        "a.md": b"first",
        "sub/c.txt": b"third",
        ".hidden": b"not me",
        ".git/config": b"nor me",
        "image.png": b"\x89PNG\r\n\x00",
        "latin.txt": b"caf\xe9",
        "blank.txt": b" \n",
    }
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    corpus = Corpus.from_paths([tmp_path])
    assert corpus.documents == ("first", "second", "third")
    assert corpus.skipped == (str(tmp_path / "image.png"), str(tmp_path / "latin.txt"))
    assert "first" not in repr(corpus), "a log must not fill up with documents"


def test_paths_keep_the_order_given(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    corpus = Corpus.from_paths([tmp_path / "c", tmp_path / "a", tmp_path / "b"])
    assert corpus.documents == ("c", "a", "b")
    assert corpus.name == f"{tmp_path / 'c'} and 2 more"


def test_a_link_in_a_circle_ends(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "self").symlink_to(tmp_path)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    assert Corpus.from_paths([tmp_path]).documents == ("text",)


def test_a_file_met_again_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text")
    (tmp_path / "b.txt").write_text("other")
    (tmp_path / "link.txt").symlink_to("a.txt")
    (tmp_path / "bad.txt").write_bytes(b"\xff")
    corpus = Corpus.from_paths([tmp_path / "link.txt", tmp_path, tmp_path / "a.txt", tmp_path])
    assert corpus.documents == ("text", "other")
    assert corpus.skipped == (str(tmp_path / "bad.txt"),)
    assert Corpus.from_paths([tmp_path / "a.txt"] * 2).name == str(tmp_path / "a.txt")


def test_models_and_runs_in_a_folder_are_passed_over(tmp_path: Path) -> None:
    for name in ("model/config.json", "model/model.safetensors", "run/checkpoints/step-1/tokenizer.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    (tmp_path / "run" / "latest").symlink_to("checkpoints/step-1")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "config.json").write_text("prose")
    assert Corpus.from_paths([tmp_path]).documents == ("prose",)


def test_no_path_is_refused() -> None:
    assert "name at least one" in refusal()


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    assert f"{tmp_path / 'gone.txt'} does not exist" in refusal(tmp_path / "gone.txt")


@pytest.mark.parametrize("content", [b"", b" \n\t"])
def test_an_empty_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "empty.txt").write_bytes(content)
    assert f"{tmp_path / 'empty.txt'} is empty" in refusal(tmp_path / "empty.txt")


@pytest.mark.parametrize("content", [b"ab\0cd", b"\xff\xfeh\x00i\x00"])
def test_a_binary_file_named_outright_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.bin").write_bytes(content)
    assert f"{tmp_path / 'x.bin'} is binary" in refusal(tmp_path / "x.bin")


@pytest.mark.parametrize(
    ("content", "where"),
    [
        (b"caf\xe9", "byte 0xe9 at offset 3"),
        (b"\xed\xa0\x80", "byte 0xed at offset 0"),
        (b"\xef\xbb\xbfcaf\xe9", "byte 0xe9 at offset 6"),
    ],
)
def test_a_file_in_another_encoding_says_where_and_how_to_convert_it(
    tmp_path: Path, content: bytes, where: str
) -> None:
    (tmp_path / "x.txt").write_bytes(content)
    message = refusal(tmp_path / "x.txt")
    assert f"{tmp_path / 'x.txt'} is not UTF-8 text ({where})" in message
    assert "iconv -f latin1 -t utf-8" in message


def test_a_folder_without_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"\0")
    assert f"{tmp_path} holds no text" in refusal(tmp_path)


def test_an_endless_device_is_not_read() -> None:
    assert "neither a file nor a folder" in refusal(Path(os.devnull))


def test_a_name_that_no_file_can_have_is_refused() -> None:
    assert "cannot be read" in refusal(Path("x" * 5000))
    assert "cannot be read" in refusal(Path("a\0b"))


def test_a_file_without_read_permission_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret.txt").write_text("text")

    def deny(path: Path) -> bytes:
        # Rights alone would not stop a test that runs as the superuser.
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", deny)
    for path in (tmp_path, tmp_path / "secret.txt"):
        assert f"{tmp_path / 'secret.txt'} cannot be read (Permission denied)" in refusal(path)


def test_blank_text_is_refused() -> None:
    with pytest.raises(CorpusError, match="chat is empty"):
        Corpus.from_text(" \n", name="chat")


def test_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(CorpusError, match="character 1"):
        Corpus.from_text("a\ud800")


@given(st.lists(TEXT, min_size=1, max_size=4), TEXT)
def test_the_fingerprint_is_of_content_not_of_name(documents: list[str], name: str) -> None:
    assert Corpus(name, tuple(documents)).fingerprint == Corpus("other", tuple(documents)).fingerprint


@given(st.lists(TEXT, min_size=1, max_size=4), st.lists(TEXT, min_size=1, max_size=4))
def test_other_documents_have_another_fingerprint(one: list[str], two: list[str]) -> None:
    same = Corpus("a", tuple(one)).fingerprint == Corpus("b", tuple(two)).fingerprint
    assert same == (one == two)


def test_a_boundary_between_documents_is_content() -> None:
    assert Corpus("x", ("ab", "c")).fingerprint != Corpus("x", ("a", "bc")).fingerprint
