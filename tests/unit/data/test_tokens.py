"""Token files: what is read back is what was written, or it is made again."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crystalline.data import Corpus, default_cache_dir, encode_documents, prepare_tokens, train_tokenizer
from crystalline.data import pieces as pieces_module
from crystalline.data import tokens as tokens_module
from crystalline.errors import SettingError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CORPUS = Corpus("x", ("the cat sat on the mat", "the dog sat on the log", "naïve ☃"))
TOKENIZER = train_tokenizer(CORPUS, 270)


def test_each_document_follows_an_end_of_text_token() -> None:
    tokens = prepare_tokens(CORPUS, 270, None).tokens
    starts = [*np.flatnonzero(tokens == 0), len(tokens)]
    texts = [TOKENIZER.decode(tokens[a + 1 : b].tolist()) for a, b in pairwise(starts)]
    assert starts[0] == 0
    assert tuple(texts) == CORPUS.documents


def test_the_second_time_comes_from_the_cache(tmp_path: Path) -> None:
    first = prepare_tokens(CORPUS, 270, tmp_path / "new" / "folder")
    second = prepare_tokens(CORPUS, 270, tmp_path / "new" / "folder")
    assert (first.cached, second.cached) == (False, True)
    assert isinstance(second.tokens, np.memmap)
    assert second.tokens.dtype == first.tokens.dtype == np.uint16
    assert second.tokens.tolist() == first.tokens.tolist()
    assert second.tokenizer.to_str() == first.tokenizer.to_str()


def test_tokens_cannot_be_written_to(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(ValueError, match="read-only"):
            prepare_tokens(CORPUS, 270, tmp_path).tokens[0] = 1


def test_other_text_or_size_is_another_entry(tmp_path: Path) -> None:
    prepare_tokens(CORPUS, 270, tmp_path)
    assert not prepare_tokens(CORPUS, 271, tmp_path).cached
    assert not prepare_tokens(Corpus.from_text("other"), 270, tmp_path).cached
    assert prepare_tokens(CORPUS, 270, tmp_path).cached


@pytest.mark.parametrize("suffix", [".tokens", ".json"])
@pytest.mark.parametrize("damage", ["cut", "lengthened", "emptied", "removed", "one bit", "replaced"])
def test_a_damaged_cache_is_rebuilt(tmp_path: Path, suffix: str, damage: str) -> None:
    good = prepare_tokens(CORPUS, 270, tmp_path)
    (path,) = tmp_path.glob(f"*{suffix}")
    content = path.read_bytes()
    middle = len(content) // 2
    path.unlink()
    if damage != "removed":
        path.write_bytes(
            {
                "cut": content[:-3],
                "lengthened": content + b"\1\0",
                "emptied": b"",
                "one bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
                "replaced": b'{"dtype": "object", "sha256": 1, "tokenizer": 2}',
            }[damage]
        )
    rebuilt = prepare_tokens(CORPUS, 270, tmp_path)
    assert not rebuilt.cached
    assert rebuilt.tokens.tolist() == good.tokens.tolist()
    assert prepare_tokens(CORPUS, 270, tmp_path).cached, "the rebuilt entry is whole"


def test_a_record_with_another_type_of_number_is_not_believed(tmp_path: Path) -> None:
    prepare_tokens(CORPUS, 270, tmp_path)
    (path,) = tmp_path.glob("*.json")
    path.write_text(path.read_text().replace("uint16", "uint32"))
    assert not prepare_tokens(CORPUS, 270, tmp_path).cached


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for _ in range(2):
        prepared = prepare_tokens(CORPUS, 270, tmp_path / "file" / "cache")
        assert not prepared.cached
        assert prepared.tokens[0] == 0


def test_a_full_disk_leaves_no_half_written_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert not prepare_tokens(CORPUS, 270, tmp_path).cached
    assert list(tmp_path.iterdir()) == []


def test_an_impossible_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError):
        prepare_tokens(CORPUS, 3, tmp_path)


# It has merges across white space and punctuation, so that a cut in the wrong place shows in the ids.
# The file separator \x1c is white space to Python but not to the pre-tokenizer.
RUNS = train_tokenizer(Corpus.from_text("a   b !\x1c!\x1c x\n\n\n  \t\t é's 's' " * 5), 330)


@example(text="a      b", piece=2)
@example(text="!\x1c!\x1c", piece=1)
@given(text=st.text("ab!'s \n\t\x1c\xa0é", max_size=40), piece=st.integers(1, 9))
def test_long_documents_are_encoded_as_if_whole(text: str, piece: int) -> None:
    whole = [0, *RUNS.encode(text).ids]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pieces_module, "_PIECE_CHARACTERS", piece)
        patch.setattr(tokens_module, "_PIECES_AT_ONCE", 2)
        assert encode_documents(RUNS, [text, text]).tolist() == whole * 2


def test_little_of_a_long_text_is_encoded_at_once() -> None:
    sizes: list[int] = []

    class Counting:
        def __getattr__(self, name: str) -> Any:
            return getattr(TOKENIZER, name)

        def encode_batch_fast(self, texts: list[str], **settings: Any) -> Any:
            sizes.append(sum(map(len, texts)))
            return TOKENIZER.encode_batch_fast(texts, **settings)

    long = "the cat sat on the mat " * 100_000
    encode_documents(cast("Tokenizer", Counting()), [long, "short"])
    assert sum(sizes) == len(long) + len("short")
    assert max(sizes) < 1.1 * 2**20  # the records of a text take many times its memory


def test_large_vocabularies_need_wider_numbers() -> None:
    class Wide:
        """Stands in for a tokenizer with more entries than 16 bits can count."""

        def __getattr__(self, name: str) -> object:
            return getattr(TOKENIZER, name)

        def get_vocab_size(self) -> int:
            return (1 << 16) + 1

    assert encode_documents(Wide(), ["a"]).dtype == np.uint32  # type: ignore[arg-type]  # a fake


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    monkeypatch.setenv("CRYSTALLINE_CACHE", "/own")
    assert default_cache_dir() == Path("/own")
    monkeypatch.delenv("CRYSTALLINE_CACHE")
    assert default_cache_dir() == Path("/xdg/crystalline")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_dir() == Path("/home/somebody/.cache/crystalline")


def test_a_user_without_a_home_has_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("CRYSTALLINE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", homeless)
    assert default_cache_dir() is None
