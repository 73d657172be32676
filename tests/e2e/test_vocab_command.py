"""`crystalline vocab`: a tokenizer without a model, and what is in one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from crystalline.cli.long import INTERRUPTED
from tests.helpers.command import Finished, run
from tests.helpers.options import untested
from tests.helpers.terminal import Terminal

pytestmark = pytest.mark.e2e


def learn(text: Path, out: Path, *words: str) -> Finished:
    return run("vocab", "train", text, "--out", out, "--vocab-size", "300", *words)


@pytest.mark.parametrize("command", ["train", "show"])
def test_no_option_is_without_a_test(command: str) -> None:
    assert untested(f"crystalline.cli.vocab_{command}:{command}", Path(__file__)) == []


def test_it_is_the_tokenizer_that_a_training_learns(text: Path, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "my.json"
    answer = learn(text, out, "--json").json()
    assert out.read_text() == (trained / "tokenizer.json").read_text()
    assert set(answer) == {"tokenizer", "entries", "bytes", "seconds"}
    assert (answer["tokenizer"], answer["entries"]) == (str(out), 300)
    assert answer["bytes"] == text.stat().st_size
    assert [path.name for path in tmp_path.iterdir()] == ["my.json"]
    assert out.stat().st_mode & 0o777 == text.stat().st_mode & 0o777


def test_without_a_text_it_learns_from_the_one_that_python_carries(tmp_path: Path) -> None:
    done = run("vocab", "train", "--out", tmp_path / "t.json", "--vocab-size", "260")
    assert (done.code, done.out) == (0, "")
    assert re.fullmatch(r"260 entries from [\d,]+ bytes in .* s\ntokenizer: .*t.json\n", done.err)


def test_a_file_is_replaced_with_force_alone(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "my.json"
    out.write_text("years of work")
    assert "--force" in learn(text, out).refusal()
    assert out.read_text() == "years of work"
    assert learn(text, out, "--force").code == 0
    assert Tokenizer.from_file(str(out)).get_vocab_size() == 300


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--out", "."), "is not a file"),
        (("--out", "missing/t.json"), "no folder missing"),
        (("--out", "t.json", "--vocab-size", "10"), "vocab_size is 10"),
        (("--out", "/proc/t.json"), "/proc/t.json cannot be written"),
        ((), "--out"),
    ],
)
def test_what_cannot_be_learned_is_refused(
    text: Path, tmp_path: Path, words: tuple[str, ...], complaint: str
) -> None:
    assert complaint in run("vocab", "train", text, *words, cwd=tmp_path).refusal()
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_one_leaves_nothing(tmp_path: Path) -> None:
    with Terminal("vocab", "train", "--out", tmp_path / "t.json", "--vocab-size", "1000000") as terminal:
        terminal.wait_for("learning from")
        terminal.type("\x03")
        assert terminal.end() == 130
    assert INTERRUPTED in terminal.shown
    assert terminal.shown.rindex("\x1b[?25h") > terminal.shown.index("\x1b[?25l"), "the cursor is back"
    assert list(tmp_path.iterdir()) == []


def test_what_is_in_a_vocabulary(trained: Path) -> None:
    shown = run("vocab", "show", trained).out
    rows = dict(re.findall(r"^(byte|merge|special|all) +(\d+)$", shown, flags=re.MULTILINE))
    assert rows == {"byte": "256", "merge": "43", "special": "1", "all": "300"}
    assert re.search(r"^1 +256  █{40}$", shown, flags=re.MULTILINE), "a bar that says how many are so long"
    assert "longest entries" in shown
    found = run("vocab", "show", trained / "tokenizer.json", "--json").json()
    assert found["kinds"] == {"byte": 256, "merge": 43, "special": 1}
    assert sum(found["lengths"].values()) == found["entries"] == 300
    assert found["longest"][0] == {"id": 0, "piece": "<|endoftext|>", "bytes": 13}
    assert {"data", "found"}.isdisjoint(found)


def test_entries_are_found_by_their_text(trained: Path) -> None:
    found = run("vocab", "show", trained, "--search", " k", "--json").json()["found"]
    assert found
    assert all("␣k" in each["piece"] for each in found)
    shown = run("vocab", "show", trained, "--search", " k").out
    assert f"entries with ␣k: {len(found)}\n" in shown
    assert "entries with <E2>" not in run("vocab", "show", trained, "--search", "☃☃☃").out
    assert "entries with ☃☃☃: 0\n" in run("vocab", "show", trained, "--search", "☃☃☃").out


def test_how_it_fits_a_text(text: Path, trained: Path) -> None:
    fit = run("vocab", "show", trained, text, "--json").json()["data"]
    content = text.read_text()
    tokenizer = Tokenizer.from_file(str(trained / "tokenizer.json"))
    ids = tokenizer.encode(content).ids
    assert (fit["bytes"], fit["tokens"], fit["words"]) == (len(content), len(ids), len(content.split()))
    assert fit["bytes_per_token"] == pytest.approx(len(content) / len(ids))
    assert fit["tokens_per_word"] == pytest.approx(len(ids) / len(content.split()))
    assert set(fit["unused"]) == set(range(300)) - set(ids)
    likeliest = fit["frequent"][0]
    assert likeliest["times"] == max(ids.count(token) for token in set(ids)) == ids.count(likeliest["id"])
    shown = run("vocab", "show", trained, text).out
    assert re.search(r"^entries never used +" + str(len(fit["unused"])), shown, flags=re.MULTILINE)
    assert re.search(r"^most frequent +times\n\S+ +\d+  █{40}$", shown, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("nowhere",), "nowhere"),
        (("MODEL", "missing.txt"), "missing.txt does not exist"),
        (("MODEL", "--search", "\udcff"), "--search is not valid text"),
    ],
)
def test_what_cannot_be_shown_is_refused(
    trained: Path, tmp_path: Path, words: tuple[str, ...], complaint: str
) -> None:
    given = [trained if word == "MODEL" else word for word in words]
    assert complaint in run("vocab", "show", *given, cwd=tmp_path).refusal()


def test_a_tokenizer_that_is_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"version": "1.0", "model": {"type": "BPE", "vocab": 3}}))
    assert f"{path} is not a tokenizer" in run("vocab", "show", path).refusal()
