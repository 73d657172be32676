"""What cannot be used is refused: exit code 2, one line that names it, nothing half-written."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.helpers.command import TINY, Finished, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e


@pytest.fixture
def place(tmp_path: Path, text: Path) -> Path:
    """A folder with one good text in it."""
    shutil.copy(text, tmp_path / "text.txt")
    return tmp_path


def train(place: Path, *words: str, data: str = "text.txt", out: str = "out") -> Finished:
    return run("train", data, *TINY, "--out", out, *words, cwd=place)


def files(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*")}


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("missing.txt", None, "does not exist"),
        ("empty.txt", b"", "is empty"),
        ("binary.txt", b"\x7fELF\0\0text", "is binary"),
        ("latin.txt", b"caf\xe9 au lait", "not UTF-8"),
        ("short.txt", b"ab", "--seq-len"),
    ],
)
def test_a_file_that_is_no_text(place: Path, name: str, content: bytes | None, complaint: str) -> None:
    if content is not None:
        (place / name).write_bytes(content)
    before = files(place)
    line = train(place, data=name).refusal()
    assert complaint in line
    assert name in line or name == "short.txt"
    assert files(place) == before


def test_a_folder_without_text(place: Path) -> None:
    (place / "folder").mkdir()
    (place / "folder" / "picture.png").write_bytes(b"\x89PNG\0")
    assert "folder holds no text" in train(place, data="folder").refusal()


def test_files_of_a_folder_that_are_no_text_are_counted(place: Path) -> None:
    for name in ("a.png", "b.txt"):
        (place / name).write_bytes(b"\xff\xfe")
    done = train(place, data=".")
    assert done.code == 0, done.err
    assert "note: skipped 2 files that are not UTF-8 text, such as a.png" in done.err.splitlines()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--heads", "3"), "heads=3"),
        (("--heads", "4", "--kv-heads", "3"), "kv_heads=3"),
        (("--dim", "0"), "dim"),
        (("--dim=-16",), "dim"),
        (("--layers", "0"), "layers"),
        (("--ffn-dim", "0"), "ffn_dim"),
        (("--seq-len", "0"), "seq_len"),
        (("--vocab-size", "10"), "vocab_size"),
        (("--spheres", "0"), "spheres"),
        (("--spheres=-1",), "spheres"),
        (("--shards", "0"), "shards"),
        (("--epochs", "0"), "epochs"),
        (("--steps", "0"), "steps"),
        (("--batch-size", "0"), "batch_size"),
        (("--lr=-0.1",), "lr"),
        (("--lr", "nan"), "lr"),
        (("--lr", "inf"), "lr"),
        (("--warmup=-1",), "warmup"),
        (("--weight-decay=-1",), "weight_decay"),
        (("--clip=-1",), "clip"),
        (("--val-fraction", "1"), "val_fraction"),
        (("--seed=-1",), "seed"),
        (("--save-every=-1",), "save_every"),
        (("--epoch-timeout", "0"), "epoch_timeout"),
        (("--dim", "ten"), "--dim"),
        (("--dimm", "16"), "--dimm"),
    ],
)
def test_an_impossible_setting(place: Path, words: tuple[str, ...], named: str) -> None:
    assert named in train(place, *words).refusal()
    assert files(place) == {"text.txt"}


def test_more_than_the_memory_holds(place: Path) -> None:
    assert "choose smaller sizes" in train(place, "--dim", "10000000").refusal()


def test_an_output_folder_that_exists_is_kept_without_force(place: Path) -> None:
    first = train(place, "--json", "--quiet").json()
    before = files(place)
    assert "--force" in train(place, "--seed", "1").refusal()
    assert files(place) == before
    second = train(place, "--seed", "1", "--force", "--json", "--quiet").json()
    assert first["weights_sha256"] != second["weights_sha256"]
    assert files(place) == before, "replaced, with nothing left over"


def test_a_folder_that_is_no_run_is_never_replaced(place: Path) -> None:
    (place / "out").mkdir()
    (place / "out" / "thesis.tex").write_text("years of work")
    assert "out" in train(place, "--force").refusal()
    assert (place / "out" / "thesis.tex").read_text() == "years of work"


@pytest.mark.parametrize("out", ["text.txt/out", "/proc/out", "/dev/null"])
def test_an_output_folder_that_cannot_be_made(place: Path, out: str) -> None:
    assert out in train(place, out=out).refusal()
    assert files(place) == {"text.txt"}


def test_a_full_disk_leaves_no_half_of_a_checkpoint(place: Path) -> None:
    done = run(
        "train",
        "text.txt",
        *TINY,
        *("--out", "out", "--quiet"),
        cwd=place,
        limits="ulimit -f 8",  # 4 KiB, or 8 in some shells: less than the weights
    )
    assert "checkpoint" in done.refusal()
    assert files(place) == {"text.txt"}


@pytest.mark.parametrize("trace", ["/dev/full", "missing/trace", "."])
def test_a_trace_that_cannot_be_written(place: Path, trace: str) -> None:
    assert trace in train(place, "--trace", trace, "--quiet").refusal()
    assert files(place) == {"text.txt"}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("dimm = 16", "did you mean 'dim'"),
        ('dim = "wide"', "'dim' must be a whole number"),
        ("dim = [", "not TOML"),
        (None, "cannot be read"),
    ],
)
def test_a_config_file_that_cannot_be_used(place: Path, content: str | None, complaint: str) -> None:
    if content is not None:
        (place / "run.toml").write_text(content)
    line = train(place, "--config", "run.toml").refusal()
    assert "run.toml" in line
    assert complaint in line


def test_a_model_folder_that_is_missing(place: Path) -> None:
    assert "there is no model 'nowhere' in " in run("generate", "nowhere", cwd=place).refusal()
    assert "no folder no/where" in run("generate", "no/where", cwd=place).refusal()


@pytest.mark.parametrize("damaged", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("how", ["removed", "cut", "garbage"])
def test_a_model_folder_that_is_damaged(trained: Path, tmp_path: Path, damaged: str, how: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(trained, folder, ignore=shutil.ignore_patterns("checkpoints", "latest", "training"))
    file = folder / damaged
    if how == "removed":
        file.unlink()
    elif how == "cut":
        os.truncate(file, file.stat().st_size // 2)
    else:
        file.write_bytes(b"\xff\0 not at all")
    assert damaged in run("generate", folder, "--prompt", "Ka").refusal()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--tokens", "0"), "tokens"),
        (("--temperature=-1",), "temperature"),
        (("--temperature", "nan"), "temperature"),
        (("--top-k=-1",), "top_k"),
        (("--top-p", "0"), "top_p"),
        (("--top-p", "1.5"), "top_p"),
        (("--seed=-1",), "seed"),
    ],
)
def test_impossible_sampling(trained: Path, words: tuple[str, ...], named: str) -> None:
    assert named in run("generate", trained, *words).refusal()
