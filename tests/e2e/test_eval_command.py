"""`crystalline eval`: the loss that a training reports, and a person's view of it."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from crystalline.data import Corpus
from crystalline.inference import TextModel
from crystalline.inference.evaluate import documents_of, evaluate
from tests.helpers.command import run
from tests.helpers.options import untested
from tests.helpers.terminal import Terminal
from tests.helpers.texts import words

pytestmark = pytest.mark.e2e


def test_no_option_is_without_a_test() -> None:
    assert untested("crystalline.cli.evaluate:evaluate_model", Path(__file__)) == []


def test_json_tells_what_the_model_makes_of_the_text(trained: Path, text: Path) -> None:
    found = run("eval", trained, text, "--json").json()
    model = TextModel.load(trained)
    wanted = evaluate(model, documents_of(model, Corpus.from_paths([text]).documents))
    assert found["loss"] == pytest.approx(wanted.loss, rel=1e-5)
    assert found["perplexity"] == pytest.approx(math.exp(wanted.loss), rel=1e-4)
    assert found["bits_per_byte"] == pytest.approx(wanted.bits_per_byte, rel=1e-5)
    assert (found["tokens"], found["bytes"]) == (wanted.tokens, text.stat().st_size)
    assert found["tokens_per_s"] == pytest.approx(found["tokens"] / found["seconds"])
    assert found["model"] == str(trained)
    assert found["perplexity"] < 150, "it has learned something of 300 entries"


def test_a_table_for_people(trained: Path, text: Path) -> None:
    done = run("eval", trained, text)
    found = run("eval", trained, text, "--json").json()
    assert (done.code, done.err) == (0, "")
    rows = dict(re.findall(r"^(.+?) {2,}(\S+)$", done.out, flags=re.MULTILINE))
    assert float(rows["loss (nats per token)"]) == pytest.approx(found["loss"], abs=1e-3)
    assert int(rows["tokens"].replace(",", "")) == found["tokens"]


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("--seq-len", "4"), "loss"),
        (("--stride", "1"), "loss"),
        (("--max-tokens", "7"), "tokens"),
        (("--weights", "int8"), "loss"),
    ],
)
def test_every_option_has_an_effect(trained: Path, text: Path, words: tuple[str, ...], key: str) -> None:
    usual = run("eval", trained, text, "--json").json()
    assert run("eval", trained, text, *words, "--json").json()[key] != usual[key]


def test_the_number_of_threads_does_not_change_the_result(trained: Path, text: Path) -> None:
    one, two = (run("eval", trained, text, "--threads", count, "--json").json()["loss"] for count in "12")
    assert one == pytest.approx(two, rel=1e-5)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--seq-len", "17"), "16 tokens at most"),
        (("--seq-len", "0"), "seq_len is 0"),
        (("--stride", "0"), "stride is 0"),
        (("--stride", "17"), "stride is 17"),
        (("--max-tokens", "0"), "max_tokens is 0"),
        (("--threads", "0"), "threads is 0"),
        (("--weights", "int4"), "weights is 'int4'"),
        (("missing.txt",), "missing.txt does not exist"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    trained: Path, text: Path, words: tuple[str, ...], complaint: str
) -> None:
    assert complaint in run("eval", trained, text, *words).refusal()


def test_a_model_that_is_missing_is_refused(text: Path) -> None:
    assert "nowhere" in run("eval", "nowhere", text).refusal()


def test_ctrl_c_ends_it(trained: Path, tmp_path: Path) -> None:
    long = tmp_path / "long.txt"
    long.write_text(words(500_000))
    with Terminal("eval", trained, long, "--stride", "1") as terminal:
        terminal.wait_for("tokens/s")
        terminal.type("\x03")
        assert terminal.end() == 130
    assert "interrupted" in terminal.shown
    assert "Traceback" not in terminal.shown
