"""Neither the number of spheres nor the process changes a bit, and every number of spheres ends well."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from crystalline.data import tokenizer_from_json
from crystalline.lattice import SYMMETRY_ORDER, group_of
from crystalline.model import load_tokenizer_json
from crystalline.optim import SLICE
from tests.helpers.command import LIMIT_S, TINY, environment, run
from tests.helpers.texts import skewed, words

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

SPHERES = [1, 2, 4, 8, 13, 14, 25]
SMALL = ("--dim", "16", "--layers", "1", "--heads", "2", "--vocab-size", "300", "--seq-len", "64")
SIZE = 100_000


@pytest.mark.parametrize("make", [words, skewed])
def test_every_number_of_spheres_trains_three_epochs_to_the_same_bits(tmp_path: Path, make: type) -> None:
    data = tmp_path / "data.txt"
    data.write_text(make(SIZE))
    hashes = set()
    for spheres in SPHERES:
        out = tmp_path / f"run-{spheres}"
        options = ("--spheres", str(spheres), "--epochs", "3", "--out", out)
        report = run("train", data, *SMALL, *options, "--quiet", "--json").json()
        assert report["epochs"] == 3
        assert report["spheres"] == len(report["sphere_busy"]) == spheres
        assert (out / "model.safetensors").is_file()
        hashes.add(report["weights_sha256"])
    assert len(hashes) == 1


def test_a_model_of_several_slices_has_the_same_bits_as_well(text: Path, tmp_path: Path) -> None:
    hashes = set()
    for spheres in (1, 13):
        options = (
            "--dim",
            "128",
            "--ffn-dim",
            "1280",
            "--steps",
            "4",
            "--spheres",
            str(spheres),
            "--out",
            tmp_path / f"{spheres}",
        )
        report = run("train", text, *TINY, *options, "--json").json()
        assert report["parameters"] > 2 * SLICE
        assert report["steps"] == 4
        hashes.add(report["weights_sha256"])
    assert len(hashes) == 1


FROM_TEXT = """
import sys
from crystalline.data import Corpus, train_tokenizer
corpus = Corpus.builtin()
sys.stdout.write(corpus.fingerprint)
sys.stdout.write(train_tokenizer(Corpus("some", corpus.documents[:100]), 1000).to_str())
"""


def test_text_and_tokenizer_do_not_depend_on_the_seed_of_hashes() -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FROM_TEXT],
            stdout=subprocess.PIPE,
            text=True,
            env=environment() | {"PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    ]
    outputs = [process.communicate(timeout=LIMIT_S)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert len(outputs[0]) > 1000
    assert outputs[0] == outputs[1]


def test_the_skewed_text_is_skewed(trained_on_skewed: Path) -> None:
    tokenizer = tokenizer_from_json(load_tokenizer_json(trained_on_skewed))
    ids = np.array(tokenizer.encode(skewed(SIZE)).ids)
    counts = np.bincount(group_of(ids), minlength=SYMMETRY_ORDER)
    assert counts.max() > 0.7 * counts.sum()


@pytest.fixture
def trained_on_skewed(tmp_path: Path) -> Path:
    (tmp_path / "data.txt").write_text(skewed(SIZE))
    out = tmp_path / "out"
    assert run("train", tmp_path / "data.txt", *SMALL, "--steps", "1", "--out", out).code == 0
    return out


def test_a_corpus_shorter_than_one_batch(tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text(words(600))
    options = ("--batch-size", "1000", "--epochs", "3", "--out", tmp_path / "out", "--json")
    report = run("train", tmp_path / "data.txt", *SMALL, *options).json()
    assert (report["epochs"], report["steps"]) == (3, 3)


def test_spheres_without_work_are_mentioned(text: Path, tmp_path: Path) -> None:
    options = ("--spheres", "5", "--shards", "3", "--steps", "1", "--out", tmp_path / "out")
    done = run("train", text, *SMALL, *options)
    assert done.code == 0
    assert "2 of 5 spheres rested" in done.err
