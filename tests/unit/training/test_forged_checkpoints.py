"""Whatever a checkpoint holds, opening it ends: in a checkpoint, or in one line that says what is wrong.

The hashes are right here, or the manifest itself is strange; what damage does is in test_damage.py.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from crystalline.errors import ModelFolderError
from crystalline.training import load_checkpoint
from tests.helpers.damage import MANIFEST, make_run
from tests.helpers.forgery import (
    OPTIMIZER,
    PROGRESS,
    WEIGHTS,
    forge_arrays,
    forge_file,
    forge_progress,
    sign,
    write_json,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from crystalline.training import Checkpoint
    from tests.helpers.forgery import Arrays

LIMIT_S = 20.0


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYSTALLINE_CACHE", str(folder / "cache"))
        asyncio.run(make_run(folder / "out"))
    return folder / "out"


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "out", symlinks=True)


def newest_of(out: Path) -> Path:
    return max((out / "checkpoints").iterdir())


def load(folder: Path) -> Checkpoint:
    """Load, in a thread that is left behind if it never ends."""
    ends: list[Checkpoint | Exception] = []

    def attempt() -> None:
        try:
            ends.append(load_checkpoint(folder))
        except Exception as error:  # noqa: BLE001 - raised again where the test is
            ends.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    assert ends, f"opening it did not end within {LIMIT_S} s"
    if isinstance(ends[0], Exception):
        raise ends[0]
    return ends[0]


def assert_refused(out: Path) -> None:
    """By itself it is refused in one line; in its run, the checkpoint before it is used."""
    newest = newest_of(out)
    with pytest.raises(ModelFolderError) as caught:
        load(newest)
    assert str(newest) in str(caught.value)
    assert "\n" not in str(caught.value)
    found = load(out)
    assert found.progress.step < int(newest.name.split("-")[1])
    assert len(found.passed_over) == 1
    assert str(newest) in found.passed_over[0]


def manifest_of(checkpoint: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((checkpoint / MANIFEST).read_bytes())
    return found


def test_a_forgery_of_nothing_is_whole(out: Path) -> None:
    sign(newest_of(out))
    assert load(out).passed_over == ()


# The manifest


@pytest.mark.parametrize("left_out", ["everything", WEIGHTS, OPTIMIZER, PROGRESS, "config.json"])
def test_a_manifest_that_does_not_list_a_file_vouches_for_nothing(out: Path, left_out: str) -> None:
    manifest = manifest_of(newest_of(out))
    listed = {name: sha256 for name, sha256 in manifest.items() if name != left_out}
    write_json(newest_of(out) / MANIFEST, {} if left_out == "everything" else listed)
    assert_refused(out)


@pytest.mark.parametrize(
    "name",
    [
        "../{older}/config.json",
        "{newest}/config.json",
        "training/../config.json",
        "/etc/hostname",
        "",
        ".",
        "training",
        "nul\0l",
        "lone \ud800 surrogate",
        "x" * 5000,
    ],
)
def test_a_manifest_that_lists_what_is_no_file_of_the_checkpoint_is_refused(out: Path, name: str) -> None:
    newest, older = newest_of(out), min((out / "checkpoints").iterdir())
    manifest = manifest_of(newest)
    listed = name.format(older=older.name, newest=newest)
    write_json(newest / MANIFEST, {**manifest, listed: manifest["config.json"]})
    assert_refused(out)


@pytest.mark.parametrize("value", [None, 7, 10**4000, True, "", ["a"], {"a": "b"}, float("nan"), 1e308])
def test_a_manifest_with_something_else_for_a_hash_is_refused(out: Path, value: object) -> None:
    newest = newest_of(out)
    write_json(newest / MANIFEST, {**manifest_of(newest), "config.json": value})
    assert_refused(out)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null\n",
        b"[]\n",
        b'"text"\n',
        b"7\n",
        b"9" * 10_000,
        b"[" * 100_000,
        b"\xff\xfe\x00",
        b"\xef\xbb\xbf{}\n",
        b'{"a": ' * 400 + b"1" + b"}" * 400 + b"\n",
        b'{"a": ' * 900 + b"1" + b"}" * 900 + b"\n",
        b'{"a": ' * 5000 + b"1" + b"}" * 5000 + b"\n",
    ],
    ids=lambda content: f"{content[:6]!r} {len(content)} bytes",
)
def test_a_manifest_of_another_kind_is_refused(out: Path, content: bytes) -> None:
    (newest_of(out) / MANIFEST).write_bytes(content)
    assert_refused(out)


# What stands in for a file


@pytest.mark.parametrize("name", [WEIGHTS, OPTIMIZER, PROGRESS, MANIFEST, "config.json", "tokenizer.json"])
@pytest.mark.parametrize("what", ["nowhere", "itself", "folder", "older"])
def test_a_link_in_the_place_of_a_file_is_followed_to_the_content_it_must_have(
    out: Path, name: str, what: str
) -> None:
    newest, older = newest_of(out), min((out / "checkpoints").iterdir())
    file = newest / name
    target = {"nowhere": newest / "gone", "itself": file, "folder": older, "older": older / name}[what]
    whole = target == older / name and target.read_bytes() == file.read_bytes()
    file.unlink()
    file.symlink_to(target)
    if whole:
        assert load(newest).progress == load(out).progress
    else:
        assert_refused(out)


@pytest.mark.parametrize("name", [WEIGHTS, OPTIMIZER, PROGRESS, MANIFEST])
def test_a_pipe_in_the_place_of_a_file_keeps_nobody_waiting(out: Path, name: str) -> None:
    file = newest_of(out) / name
    file.unlink()
    os.mkfifo(file)
    assert_refused(out)


@pytest.mark.parametrize("what", ["empty folder", "file", "link to nowhere", "pipe"])
def test_what_looks_like_a_newer_checkpoint_and_is_none_is_passed_over(out: Path, what: str) -> None:
    step, strange = load(out).progress.step, out / "checkpoints" / "step-99999999"
    if what == "empty folder":
        strange.mkdir()
    elif what == "file":
        strange.write_text("mine", encoding="utf-8")
    elif what == "pipe":
        os.mkfifo(strange)
    else:
        strange.symlink_to("nowhere")
    found = load(out)
    assert found.progress.step == step
    assert len(found.passed_over) == 1
    assert strange.name in found.passed_over[0]


def test_a_newest_checkpoint_that_is_gone_as_a_whole_is_said(out: Path) -> None:
    """`latest` still names it."""
    newest = newest_of(out)
    shutil.rmtree(newest)
    found = load(out)
    assert len(found.passed_over) == 1
    assert newest.name in found.passed_over[0]


def test_a_checkpoint_under_the_name_of_another_step_is_refused(out: Path) -> None:
    older, newest = sorted((out / "checkpoints").iterdir())
    shutil.rmtree(newest)
    shutil.copytree(older, newest)
    assert_refused(out)


# Weights and moments with the right hash


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", [WEIGHTS, OPTIMIZER])
def test_a_number_that_is_not_finite_is_refused(out: Path, name: str, value: float) -> None:
    def change(arrays: Arrays) -> None:
        arrays[min(arrays)].flat[-1] = value

    forge_arrays(newest_of(out), name, change)
    assert_refused(out)


CHANGES: dict[str, Callable[[Arrays], object]] = {
    "one is missing": lambda arrays: arrays.pop("first_moment"),
    "one is shorter": lambda arrays: arrays.update(second_moment=arrays["second_moment"][:-1]),
    "one has a single entry": lambda arrays: arrays.update(second_moment=arrays["second_moment"][:1]),
    "one is empty": lambda arrays: arrays.update(first_moment=arrays["first_moment"][:0]),
    "one has two axes": lambda arrays: arrays.update(first_moment=arrays["first_moment"][:, None]),
    "one is float64": lambda arrays: arrays.update(first_moment=arrays["first_moment"].astype(np.float64)),
    "one is of integers": lambda arrays: arrays.update(first_moment=arrays["first_moment"].astype(np.int32)),
    "a square is negative": lambda arrays: arrays["second_moment"].__setitem__(0, -1.0),
}


@pytest.mark.parametrize("what", CHANGES)
def test_moments_that_do_not_fit_the_weights_are_refused(out: Path, what: str) -> None:
    forge_arrays(newest_of(out), OPTIMIZER, CHANGES[what])
    assert_refused(out)


@pytest.mark.parametrize("name", [WEIGHTS, OPTIMIZER])
@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"{}",
        b"[]",
        b'{"first_moment": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 4000000000000]}}',
        b'{"first_moment": {"dtype": "F32", "shape": [4], "data_offsets": [0, 8]}}',
        b'{"first_moment": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}',
        b'{"first_moment": {"dtype": "F999", "shape": [2], "data_offsets": [0, 8]}}',
        b'{"first_moment": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}',
    ],
)
def test_a_header_that_claims_what_is_not_there_is_refused(out: Path, name: str, header: bytes) -> None:
    forge_file(newest_of(out), name, len(header).to_bytes(8, "little") + header + bytes(8))
    assert_refused(out)


@pytest.mark.parametrize("length", [9, 1 << 20, 1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("name", [WEIGHTS, OPTIMIZER])
def test_a_header_longer_than_the_file_is_refused(out: Path, name: str, length: int) -> None:
    forge_file(newest_of(out), name, length.to_bytes(8, "little") + b"{}")
    assert_refused(out)


# How far the run had come


@pytest.mark.parametrize(
    "changes",
    [
        {"step": -1},
        {"epoch": -1},
        {"step_in_epoch": -1},
        {"step": "10"},
        {"step": 10.0},
        {"step": True},
        {"step": None},
        {"step": [10]},
        {"step": 10**4000},
        {"step": float("nan")},
        {"epoch": 0},
        {"step_in_epoch": 11},
        {"weights_sha256": "0" * 64},
    ],
    ids=lambda changes: str(changes)[:30],
)
def test_progress_that_cannot_be_is_refused(out: Path, changes: dict[str, object]) -> None:
    forge_progress(newest_of(out), **changes)
    assert_refused(out)


@pytest.mark.parametrize("name", ["step", "epoch", "step_in_epoch"])
def test_progress_without_an_entry_is_refused(out: Path, name: str) -> None:
    record = json.loads((newest_of(out) / PROGRESS).read_bytes())
    del record[name]
    write_json(newest_of(out) / PROGRESS, record)
    sign(newest_of(out))
    assert_refused(out)
