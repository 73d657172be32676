"""What models may be called, and what suggests itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalline.errors import SettingError
from crystalline.models import check_name, is_name, name_for

GOOD = ["a", "smollm2", "Llama-3.2-1B", "my_model.q8", "模型", "7b", "a" * 200]
BAD = [
    "",
    ".",
    "..",
    ".hidden",
    "-option",
    "_x",
    "a/b",
    "a\\b",
    "a b",
    "a\n",
    "a\0",
    "~",
    "a" * 201,
    "模" * 67,
]


@pytest.mark.parametrize("name", GOOD)
def test_a_name(name: str) -> None:
    assert check_name(name) == name
    assert is_name(name)


@pytest.mark.parametrize("name", BAD)
def test_no_name(name: str) -> None:
    assert not is_name(name)
    with pytest.raises(SettingError, match="cannot be the name of a model"):
        check_name(name)


@given(st.text(max_size=30))
def test_a_name_is_one_visible_entry_of_a_folder(text: str) -> None:
    if is_name(text):
        assert (Path("folder") / text).parent == Path("folder")
        assert not text.startswith((".", "-"))


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("runs/mine", "mine"),
        ("runs/mine/", "mine"),
        ("/downloads/SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-Instruct.Q4_1"),
        ("My Model (final)", "My-Model-final-"),
        (".hidden", "hidden"),
        ("__x", "x"),
    ],
)
def test_the_name_that_suggests_itself(path: str, name: str) -> None:
    assert name_for(Path(path)) == name


def test_the_current_folder_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert name_for(Path()) == "here"


def test_where_no_name_suggests_itself_one_must_be_given() -> None:
    with pytest.raises(SettingError):
        name_for(Path("/"))


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_what_suggests_itself_is_a_name_or_refused(text: str) -> None:
    try:
        assert is_name(name_for(Path("folder") / text))
    except SettingError:
        assert not any(each.isalnum() for each in text) or text in {".", ".."}
