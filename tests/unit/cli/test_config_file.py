"""Options from a TOML file: names with - or _, types as on the command line, errors that name the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalline.cli.config_file import read_settings
from crystalline.errors import SettingError

TYPES: dict[str, Any] = {
    "batch_size": int,
    "steps": int | None,
    "lr": float,
    "json": bool,
    "out": Path,
    "trace": Path | None,
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "run.toml"


def test_names_may_have_either_line(file: Path) -> None:
    file.write_text('batch-size = 3\nsteps = 9\nlr = 1\njson = true\nout = "a"\ntrace = "b"')
    expected = {"batch_size": 3, "steps": 9, "lr": 1, "json": True, "out": "a", "trace": "b"}
    assert read_settings(file, TYPES) == expected


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("batchsize = 3", "unknown setting 'batchsize'; did you mean 'batch_size'?"),
        ("colour = 3", "unknown setting 'colour'; see crystalline train --help"),
        ("[model]\nlr = 1.0", "[model] is a table; no tables: write the options at the top level"),
        ("lr = { peak = 1.0 }", "[lr] is a table"),
        ("batch-size = 1\nbatch_size = 2", "set twice"),
        ("batch_size = 1.5", "'batch_size' must be a whole number, got 1.5"),
        ("batch_size = true", "'batch_size' must be a whole number, got True"),
        ("steps = 'all'", "'steps' must be a whole number, got 'all'"),
        ("lr = '1'", "'lr' must be a number, got '1'"),
        ("json = 1", "'json' must be true or false, got 1"),
        ("out = 1", "'out' must be a string, got 1"),
        ("lr = ", "not TOML"),
        ("lr = 1\nlr = 2", "not TOML"),
    ],
)
def test_what_is_wrong_is_named(file: Path, content: str, complaint: str) -> None:
    file.write_text(content)
    with pytest.raises(SettingError) as caught:
        read_settings(file, TYPES)
    assert complaint in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe", b"lr = 1 # caf\xe9"])
def test_bytes_that_are_no_text_are_no_toml(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    with pytest.raises(SettingError, match="not TOML"):
        read_settings(file, TYPES)


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    with pytest.raises(SettingError, match=r"run\.toml cannot be read"):
        read_settings(file, TYPES)
    with pytest.raises(SettingError, match="cannot be read"):
        read_settings(file.parent, TYPES)


@given(value=st.one_of(st.integers(-(2**63), 2**63 - 1), st.booleans(), st.floats(allow_nan=False)))
def test_a_value_is_taken_as_it_is_or_refused(tmp_path_factory: pytest.TempPathFactory, value: float) -> None:
    file = tmp_path_factory.getbasetemp() / "any.toml"
    file.write_text(f"lr = {str(value).lower()}")
    if isinstance(value, bool):
        with pytest.raises(SettingError):
            read_settings(file, TYPES)
    else:
        assert read_settings(file, TYPES) == {"lr": value}
