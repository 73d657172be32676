"""The command on a damaged model folder: exit code 2 and one line, never a word from damaged weights."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.helpers.command import run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

FILES = ("model.safetensors", "config.json", "tokenizer.json")


@pytest.fixture
def out(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "out", symlinks=True)


@pytest.mark.parametrize("name", FILES)
def test_generate_names_a_file_that_is_missing(out: Path, name: str) -> None:
    (out / "latest" / name).unlink()
    assert name in run("generate", out).refusal()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_generate_names_a_file_that_is_cut_short(out: Path, name: str, part: float) -> None:
    file = out / "latest" / name
    file.write_bytes(file.read_bytes()[: int(part * file.stat().st_size)])
    assert name in run("generate", out).refusal()
