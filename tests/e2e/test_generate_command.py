"""`crystalline generate` in a process of its own: the same words for the same wish."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from crystalline.inference import SamplingOptions, TextModel, complete
from tests.helpers.command import CRYSTALLINE, environment, run

pytestmark = pytest.mark.e2e


def generate(folder: Path, *words: str) -> dict[str, Any]:
    return run("generate", folder, "--prompt", "Ka ", "--tokens", "30", "--json", *words).json()


def test_greedy_text_is_the_models_own_in_every_process(trained: Path) -> None:
    first, second = (generate(trained, "--temperature", "0", "--seed", seed) for seed in ("0", "1"))
    greedy = SamplingOptions(temperature=0.0)
    here = complete(TextModel.load(trained), "Ka ", tokens=30, options=greedy, overflow="slide").text
    assert first["text"] == second["text"] == here


def test_the_seed_decides_the_text(trained: Path) -> None:
    texts = [generate(trained, "--seed", seed)["text"] for seed in ("1", "1", "2")]
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.parametrize(
    "words",
    [
        ("--temperature", "3"),
        ("--top-k", "1"),
        ("--top-p", "0.01"),
        ("--seed", "5"),
        ("--tokens", "3"),
        ("--prompt", "Dumi"),
    ],
)
def test_every_option_has_an_effect(trained: Path, words: tuple[str, ...]) -> None:
    assert generate(trained, *words)["text"] != generate(trained)["text"]


def test_one_candidate_is_greedy(trained: Path) -> None:
    greedy = generate(trained, "--temperature", "0")["text"]
    assert generate(trained, "--top-k", "1", "--seed", "3")["text"] == greedy
    assert generate(trained, "--top-p", "0.000001", "--seed", "4")["text"] == greedy


def test_json_tells_what_was_asked_and_done(trained: Path) -> None:
    answer = generate(trained, "--temperature", "0")
    keys = "prompt text tokens seed tokens_per_s model prompt_tokens finish"
    assert set(answer) == set(keys.split())
    assert (answer["prompt"], answer["seed"], answer["model"]) == ("Ka ", 0, str(trained))
    assert 0 < answer["tokens"] <= 30
    assert answer["tokens_per_s"] > 0


def test_plain_output_reads_on_from_the_prompt(trained: Path) -> None:
    done = run("generate", trained, "--prompt", "Ka ", "--tokens", "30", "--temperature", "0")
    assert (done.code, done.err) == (0, "")
    assert done.out == "Ka " + generate(trained, "--temperature", "0")["text"] + "\n"


def test_a_prompt_beyond_the_context_is_said(trained: Path) -> None:
    done = run("generate", trained, "--prompt", "Ka " * 40, "--tokens", "3")
    assert done.code == 0
    assert re.fullmatch(r"note: the prompt has \d+ tokens, only the last 16 are used\n", done.err)


def test_output_that_cannot_be_written_is_named(trained: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [CRYSTALLINE, "generate", trained, "--prompt", "Ka"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
            timeout=20,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.startswith("error: standard output: ")
    assert len(done.stderr.splitlines()) == 1


def test_without_a_prompt_a_new_document_begins(trained: Path) -> None:
    assert run("generate", trained, "--tokens", "5").code == 0


def test_a_reader_that_leaves_is_no_reason_for_noise(trained: Path) -> None:
    process = subprocess.Popen(
        [CRYSTALLINE, "generate", trained, "--tokens", "100000", "--top-k", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
        process.wait(timeout=20)
