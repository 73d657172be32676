"""A record vouches for every byte, its own among them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crystalline.errors import ModelFolderError
from crystalline.models import RECORD, FileHash, Record, damages, read_record
from crystalline.models.record import hashed, write_record

if TYPE_CHECKING:
    from pathlib import Path

FILES = {"config.json": b"{}\n", "model.safetensors": bytes(range(256)) * 40}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    write_record(tmp_path, record(tmp_path))
    return tmp_path


def record(folder: Path) -> Record:
    return Record(
        source="/from/here",
        source_kind="gguf",
        imported=1234.5,
        weights_sha256="ab" * 32,
        files={name: hashed(folder / name) for name in FILES},
    )


def test_what_is_written_is_read(folder: Path) -> None:
    assert read_record(folder) == record(folder)
    assert read_record(folder).size == sum(map(len, FILES.values()))
    assert damages(folder) == []


def test_the_hash_is_that_of_the_whole_file(folder: Path) -> None:
    seen: list[int] = []
    assert hashed(folder / "config.json", seen.append) == FileHash(
        3, "ca3d163bab055381827226140568f3bef7eaac187cebd76878e0b63e9e442356"
    )
    assert seen == [3]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "cut", "longer", "changed", "folder"])
def test_a_damaged_file_is_named(folder: Path, name: str, damage: str) -> None:
    path, content = folder / name, FILES[name]
    path.unlink()
    match damage:
        case "cut":
            path.write_bytes(content[:-1])
        case "longer":
            path.write_bytes(content + b"x")
        case "changed":
            path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        case "folder":
            path.mkdir()
    (found,) = damages(folder)
    assert str(path) in found


def test_every_damaged_file_is_named(folder: Path) -> None:
    for name in FILES:
        (folder / name).unlink()
    assert len(damages(folder)) == 2


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_changed_byte_of_the_record_is_found(folder: Path, data: st.DataObject) -> None:
    write_record(folder, record(folder))
    content = bytearray((folder / RECORD).read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    (folder / RECORD).write_bytes(content)
    with pytest.raises(ModelFolderError, match=RECORD):
        read_record(folder)
    assert RECORD in damages(folder)[0]


def test_a_record_of_a_later_version_is_not_guessed_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crystalline.models.record._FORMAT", 2)
    write_record(folder, record(folder))
    monkeypatch.undo()
    with pytest.raises(ModelFolderError, match="newer version"):
        read_record(folder)


def test_a_record_of_another_shape_is_damaged(folder: Path) -> None:
    contents: list[object] = [{}, [], {"format": 1}]
    for content in contents:
        (folder / RECORD).write_text(json.dumps(content, indent=2) + "\n")
        with pytest.raises(ModelFolderError, match=RECORD):
            read_record(folder)
