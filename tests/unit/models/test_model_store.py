"""Names appear, move and disappear as a whole; what is read stays; what was left behind is cleared away."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from crystalline.errors import ModelFolderError, OutputError, SettingError
from crystalline.models import Store
from tests.helpers.small_models import listing

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "models")


def add(store: Store, name: str, text: str = "weights") -> None:
    with store.adding(name) as folder:
        (folder / "config.json").write_text(text)


def places(store: Store) -> list[str]:
    return listing(store.folder / ".store")


def test_what_is_not_there_has_no_models(store: Store) -> None:
    assert store.names() == []
    with pytest.raises(ModelFolderError, match=r"no model 'a' .*there: none"):
        store.place("a")
    assert not store.folder.exists()


def test_a_model_has_its_name_when_it_is_whole(store: Store) -> None:
    with store.adding("a") as folder:
        (folder / "config.json").write_text("text")
        assert store.names() == []
    assert store.names() == ["a"]
    assert (store.place("a") / "config.json").read_text() == "text"
    assert (store.folder / "a" / "config.json").read_text() == "text", "the name can be opened as a folder"
    assert len(places(store)) == 1


def test_names_are_sorted_and_nothing_else_is_one(store: Store) -> None:
    for name in ("b", "a", "c"):
        add(store, name)
    (store.folder / "notes.txt").write_text("mine")
    (store.folder / "folder").mkdir()
    (store.folder / "link").symlink_to("folder")
    assert store.names() == ["a", "b", "c"]


def test_an_addition_that_fails_leaves_nothing(store: Store) -> None:
    with pytest.raises(TypeError), store.adding("a") as folder:
        (folder / "config.json").write_text(None)  # type: ignore[arg-type]  # fails in the middle
    assert store.names() == []
    assert places(store) == []
    assert listing(store.folder) == [".store"]


@pytest.mark.parametrize("taken", ["model", "file", "folder", "broken link"])
def test_a_name_that_is_taken_is_refused(store: Store, taken: str) -> None:
    store.folder.mkdir()
    match taken:
        case "model":
            add(store, "a", "first")
        case "file":
            (store.folder / "a").write_text("mine")
        case "folder":
            (store.folder / "a").mkdir()
        case _:
            (store.folder / "a").symlink_to("nowhere")
    before = os.lstat(store.folder / "a")
    with pytest.raises(OutputError, match="exists"):
        add(store, "a", "second")
    add(store, "b")
    with pytest.raises(OutputError, match="exists"):
        store.rename("b", "a")
    assert os.path.samestat(before, os.lstat(store.folder / "a"))


def test_of_two_additions_the_first_to_end_has_the_name(store: Store) -> None:
    with ExitStack() as stack:
        late = stack.enter_context(store.adding("a"))
        (late / "config.json").write_text("late")
        add(store, "a", "early")
        with pytest.raises(OutputError):
            stack.close()
    assert (store.place("a") / "config.json").read_text() == "early"
    assert len(places(store)) == 1


@pytest.mark.parametrize("name", ["", "..", "a/b", ".store", "-y"])
def test_impossible_names_are_refused(store: Store, name: str) -> None:
    add(store, "a")
    with pytest.raises(SettingError):
        add(store, name)
    with pytest.raises(SettingError):
        store.rename("a", name)
    assert store.names() == ["a"]


def test_a_rename_keeps_the_place(store: Store) -> None:
    add(store, "a")
    place = store.place("a")
    store.rename("a", "b")
    assert store.names() == ["b"]
    assert store.place("b") == place
    with pytest.raises(ModelFolderError, match=r"no model 'a' .*there: b"):
        store.rename("a", "c")
    with pytest.raises(OutputError):
        store.rename("b", "b")


def test_a_removal_deletes_the_files(store: Store) -> None:
    add(store, "a")
    add(store, "b")
    store.remove("a")
    assert store.names() == ["b"]
    assert places(store) == [store.place("b").name]
    with pytest.raises(ModelFolderError, match="no model 'a'"):
        store.remove("a")


@pytest.mark.parametrize("name", ["..", ".store", "a/../b", "notes.txt", "folder", "link"])
def test_only_models_are_removed(store: Store, name: str) -> None:
    add(store, "b")
    (store.folder / "notes.txt").write_text("mine")
    (store.folder / "folder").mkdir()
    (store.folder / "link").symlink_to("folder")
    before = listing(store.folder)
    with pytest.raises(ModelFolderError):
        store.remove(name)
    with pytest.raises(ModelFolderError):
        store.rename(name, "c")
    assert listing(store.folder) == before


def test_what_is_being_read_stays_until_it_was_read(store: Store) -> None:
    add(store, "a", "old")
    with store.reading("a") as folder, store.reading("a"):
        store.remove("a")
        assert store.names() == []
        add(store, "a", "new")
        assert (folder / "config.json").read_text() == "old"
    with store.reading("a") as folder:
        assert (folder / "config.json").read_text() == "new"
    add(store, "b")
    assert len(places(store)) == 2, "the next writer has cleared the old one away"


def test_a_reader_that_followed_the_name_before_never_sees_another_model(store: Store) -> None:
    add(store, "a", "old")
    followed = store.place("a")
    store.remove("a")
    add(store, "a", "new")
    assert not (followed / "config.json").exists()


def test_what_was_left_behind_is_cleared_by_the_next_writer(store: Store) -> None:
    add(store, "a")
    left = store.folder / ".store" / ".0123456789abcdef.new-01234567"
    (left / "0123456789abcdef").mkdir(parents=True)
    nameless = store.folder / ".store" / "fedcba9876543210"
    nameless.mkdir()
    half_link = store.folder / ".b.new-01234567"
    half_link.mkdir()
    assert store.names() == ["a"]
    assert left.is_dir(), "readers change nothing"
    store.rename("a", "b")
    assert places(store) == [store.place("b").name]
    assert listing(store.folder) == [".store", "b"]


def test_what_others_write_just_now_is_not_cleared_away(store: Store) -> None:
    with ExitStack() as stack:
        one = stack.enter_context(store.adding("a"))
        two = stack.enter_context(store.adding("b"))
        add(store, "c")
        store.remove("c")
        assert one.is_dir()
        assert two.is_dir()
    assert store.names() == ["a", "b"]


def test_a_model_without_files_is_said_and_can_be_removed(store: Store) -> None:
    add(store, "a")
    place = store.place("a")
    (place / "config.json").unlink()
    place.rmdir()
    assert store.names() == ["a"]
    with pytest.raises(ModelFolderError, match="lost its files"), store.reading("a"):
        pass
    store.remove("a")
    assert store.names() == []
