"""A word is a path where a model stands at it, else a name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crystalline.errors import ModelFolderError
from crystalline.models import MODELS_VARIABLE, Store, models_folder, reading_model, resolve_model

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Stores a model of this name in `models` of the current folder."""
    monkeypatch.delenv(MODELS_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)

    def store(name: str) -> Path:
        with Store(Path("models")).adding(name) as folder:
            (folder / "config.json").write_text("{}")
        return Store(Path("models")).place(name)

    return store


def test_the_folder_is_models_right_here_or_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MODELS_VARIABLE, raising=False)
    assert models_folder() == Path("models")
    monkeypatch.setenv(MODELS_VARIABLE, "")
    assert models_folder() == Path("models")
    monkeypatch.setenv(MODELS_VARIABLE, "/somewhere/else")
    assert models_folder() == Path("/somewhere/else")


def test_a_name_leads_to_its_place(stored: Callable[[str], Path]) -> None:
    place = stored("a")
    assert resolve_model("a") == place
    assert resolve_model(Path("a")) == place
    assert resolve_model("a", Path("models")) == place
    with reading_model("a") as folder:
        assert folder == place


def test_a_path_is_a_path(stored: Callable[[str], Path], tmp_path: Path) -> None:
    stored("a")
    for path in ("./a", "runs/a", str(tmp_path / "nothing"), "models/a", "..", "."):
        assert resolve_model(path) == Path(path)
        with reading_model(path) as found:
            assert found == Path(path)


@pytest.mark.parametrize("kind", ["folder", "gguf"])
def test_a_model_right_here_comes_before_a_name(stored: Callable[[str], Path], kind: str) -> None:
    stored("a")
    if kind == "folder":
        Path("a").mkdir()
        Path("a/config.json").write_text("{}")
    else:
        Path("a").write_bytes(b"GGUF")
    assert resolve_model("a") == Path("a")


def test_another_folder_right_here_does_not(stored: Callable[[str], Path]) -> None:
    place = stored("a")
    Path("a").mkdir()
    assert resolve_model("a") == place
    Path("b").mkdir()
    assert resolve_model("b") == Path("b"), "whoever opens it says what it lacks"


def test_an_unknown_name_is_answered_with_those_that_are_there(stored: Callable[[str], Path]) -> None:
    stored("beta")
    stored("alpha")
    there = re.escape(f"no model 'gamma' in {Path('models').absolute()} (there: alpha, beta): ")
    with pytest.raises(ModelFolderError, match=f"{there}.*a path, .*{MODELS_VARIABLE}"):
        resolve_model("gamma")
    with pytest.raises(ModelFolderError, match="there: none"), reading_model("gamma", Path("others")):
        pass


def test_a_path_is_offered_only_where_it_is_taken(stored: Callable[[str], Path]) -> None:
    stored("alpha")
    with pytest.raises(ModelFolderError, match=f"alpha.*{MODELS_VARIABLE}") as raised:
        Store(Path("models")).place("gamma")
    assert "a path" not in str(raised.value)


def test_what_is_read_stays_though_it_is_removed(stored: Callable[[str], Path]) -> None:
    stored("a")
    with reading_model("a") as folder:
        Store(Path("models")).remove("a")
        assert (folder / "config.json").read_text() == "{}"
