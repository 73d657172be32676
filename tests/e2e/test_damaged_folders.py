"""The command on a damaged model folder: exit code 2 and one line, never a word from damaged weights."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from crystalline.training import load_checkpoint
from tests.helpers.command import run

if TYPE_CHECKING:
    from collections.abc import Callable
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


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("folder", [".", "latest"])
@pytest.mark.parametrize("place", [0.4, 0.9])
def test_generate_finds_a_flipped_bit(out: Path, name: str, folder: str, place: float) -> None:
    flip(out / "latest" / name, place)
    assert name in run("generate", out / folder).refusal()


# Going on from a run folder whose newest checkpoint is damaged


def flip(file: Path, place: float = 0.9) -> None:
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= 1
    file.write_bytes(content)


def checkpoints_of(out: Path) -> list[Path]:
    """The oldest first."""
    return sorted((out / "checkpoints").glob("step-*"))


DAMAGES: dict[str, Callable[[Path], object]] = {
    "model.safetensors": flip,
    "training/optimizer.safetensors": flip,
    "training/manifest.json": lambda file: file.unlink(),
    "tokenizer.json": lambda file: file.write_bytes(b""),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_resume_says_what_is_damaged_and_goes_on_from_the_checkpoint_before(
    out: Path, trained: Path, name: str
) -> None:
    newest = checkpoints_of(out)[-1]
    DAMAGES[name](newest / name)
    done = run("train", "--resume", out, "--json")
    assert done.json()["weights_sha256"] == load_checkpoint(trained).record["weights_sha256"]
    assert "passed over a newer checkpoint: " in done.err
    assert str(newest / name) in done.err
    assert run("generate", out, "--tokens", "3").code == 0


def test_resume_without_any_whole_checkpoint_is_refused(out: Path) -> None:
    for checkpoint in checkpoints_of(out):
        flip(checkpoint / "model.safetensors")
    assert run("train", "--resume", out).refusal().count("model.safetensors") == len(checkpoints_of(out)) == 2


@pytest.mark.parametrize(("before", "after"), [('"lr": 0.02', '"lr": 0.03'), ("text.txt", "tuxt.txt")])
def test_settings_of_a_damaged_checkpoint_are_not_used(
    out: Path, trained: Path, before: str, after: str
) -> None:
    """A flipped bit of the record, which still reads well."""
    record = checkpoints_of(out)[-1] / "training" / "progress.json"
    text = record.read_text(encoding="utf-8")
    assert before in text
    record.write_text(text.replace(before, after), encoding="utf-8")
    done = run("train", "--resume", out, "--json")
    assert done.json()["weights_sha256"] == load_checkpoint(trained).record["weights_sha256"]
    assert str(record) in done.err
