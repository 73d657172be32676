"""What `crystalline generate` can be told, for one prompt and for a file of them."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.command import CRYSTALLINE, LIMIT_S, Finished, environment, run
from tests.helpers.options import untested
from tests.helpers.parrots import length_of, parrot
from tests.helpers.terminal import Terminal

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def bird(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that says "a" for ever, and sees 32 tokens."""
    return parrot(tmp_path_factory.mktemp("parrot") / "model", seq_len=32)


def generate(model: Path, *words: str | Path) -> dict[str, Any]:
    return run("generate", model, "--prompt", "hi", "--tokens", "9", "--json", *words).json()


def answers(done: Finished) -> list[dict[str, Any]]:
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_no_option_is_without_a_test() -> None:
    assert untested("crystalline.cli.generate:generate", Path(__file__)) == []


@pytest.mark.parametrize(
    "words",
    [
        ("--temperature", "100"),
        ("--repetition-penalty", "10"),
        ("--stop", "aaa"),
        ("--stop", "x", "--stop", "aa"),
        ("--tokens", "3"),
    ],
)
def test_an_option_has_an_effect(bird: Path, words: tuple[str, ...]) -> None:
    usual = generate(bird, "--temperature", "0")
    assert (usual["text"], usual["finish"]) == ("aaaaaaaaa", "length")
    assert generate(bird, "--temperature", "0", *words)["text"] != usual["text"]


@pytest.mark.parametrize("words", [("--top-k", "1"), ("--top-p", "0.000001"), ("--min-p", "0.9")])
def test_what_is_unlikely_is_left_out(bird: Path, words: tuple[str, ...]) -> None:
    assert generate(bird, "--temperature", "100", "--seed", "1")["text"] != "aaaaaaaaa"
    assert generate(bird, "--temperature", "100", "--seed", "1", *words)["text"] == "aaaaaaaaa"


def test_a_stop_text_ends_the_output_before_it(bird: Path) -> None:
    found = generate(bird, "--temperature", "0", "--stop", "aaaa")
    assert (found["text"], found["finish"]) == ("", "stop")
    plain = run("generate", bird, "--prompt", "hi", "--temperature", "0", "--stop", "aaaa")
    assert plain.out == "hi\n"


def test_log_probabilities_are_told(bird: Path) -> None:
    found = generate(bird, "--temperature", "0", "--logprobs", "2")
    assert len(found["logprobs"]) == 9
    for each in found["logprobs"]:
        assert (each["text"], each["logprob"]) == ("a", pytest.approx(0.0, abs=1e-4))
        assert [len(each["top"]), each["top"][0]["id"]] == [2, each["id"]]
        assert each["top"][1]["logprob"] == pytest.approx(-16 + math.log1p(0), abs=1e-2)
    assert "logprobs" not in generate(bird)


def test_a_full_context_ends_or_slides(bird: Path) -> None:
    long = ("--tokens", "100", "--temperature", "0")
    ended = generate(bird, *long, "--context", "refuse")
    assert ended["finish"] == "context"
    assert ended["tokens"] == 32 - length_of("hi") + 1
    assert generate(bird, *long)["tokens"] == generate(bird, *long, "--context", "slide")["tokens"] == 100
    refused = run("generate", bird, "--prompt", "hi " * 50, "--context", "refuse").refusal()
    assert "--context slide" in refused


def test_how_it_is_computed_does_not_change_the_text(bird: Path) -> None:
    usual = generate(bird, "--temperature", "0")
    other = generate(bird, "--temperature", "0", "--threads", "1", "--weights", "int8")
    assert other["text"] == usual["text"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--min-p", "2"), "min_p"),
        (("--repetition-penalty", "0"), "repetition_penalty"),
        (("--stop", ""), "stop"),
        (("--logprobs", "50", "--json"), "logprobs"),
        (("--logprobs", "1"), "add --json"),
        (("--context", "drop"), "overflow is 'drop'|context is 'drop'"),
        (("--weights", "int4"), "weights is 'int4'"),
        (("--threads", "0"), "threads"),
        (("--prompt", "a", "--batch", "b"), "--prompt and --batch"),
        (("--batch", "nowhere.txt"), "nowhere.txt cannot be read"),
    ],
)
def test_what_cannot_be_is_refused(bird: Path, words: tuple[str, ...], named: str) -> None:
    line = run("generate", bird, *words).refusal()
    assert any(name in line for name in named.split("|"))


def test_a_file_of_prompts_is_answered_in_its_order_as_each_alone(trained: Path, tmp_path: Path) -> None:
    prompts = ["Ka ", "Dumi ren", "To", "Sol va", "Pe lin or", "Ash", "Bu ka to", "Mi", "Ren sol", "Va"]
    file = tmp_path / "prompts.txt"
    file.write_text("\n\n".join(prompts))
    hot = ("--temperature", "1.5", "--tokens", "12", "--seed", "4")
    found = answers(run("generate", trained, "--batch", file, *hot))
    assert [each["prompt"] for each in found] == prompts
    assert [each["line"] for each in found] == [1 + 2 * number for number in range(len(prompts))]
    for each in found[:3]:
        alone = run("generate", trained, "--prompt", each["prompt"], *hot, "--json").json()
        assert {key: alone[key] for key in ("text", "tokens", "finish", "seed", "prompt_tokens")} == {
            key: each[key] for key in ("text", "tokens", "finish", "seed", "prompt_tokens")
        }


def test_json_lines_have_settings_of_their_own(bird: Path, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    lines: list[dict[str, Any]] = [
        {"prompt": "hi", "tokens": 3},
        {"prompt": "hi"},
        {"prompt": "hi", "stop": "aa", "logprobs": 1},
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    found = answers(run("generate", bird, "--batch", file, "--tokens", "5", "--temperature", "0"))
    assert [each["text"] for each in found] == ["aaa", "aaaaa", ""]
    assert [each["finish"] for each in found] == ["length", "length", "stop"]
    assert ["logprobs" in each for each in found] == [False, False, True]


def test_prompts_come_from_standard_input_as_well(bird: Path) -> None:
    done = subprocess.run(
        [CRYSTALLINE, "generate", bird, "--batch", "-", "--tokens", "2", "--temperature", "0"],
        input="one\ntwo",
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env=environment(),
        check=False,
    )
    assert [json.loads(line)["prompt"] for line in done.stdout.splitlines()] == ["one", "two"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"prompt": "a", "temperature": -1}', "temperature is -1"),
        ('{"prompt": "a", "tokens": 0}', "tokens is 0"),
        ('{"prompt": "a", "context": "drop"}', "'drop'"),
        ('{"prompt": "\\ud800"}', "not valid text"),
        (json.dumps({"prompt": "hi " * 50, "context": "refuse"}), "the model sees 32"),
        ("nonsense", "not JSON"),
    ],
)
def test_one_bad_line_is_named_before_anything_runs(
    bird: Path, tmp_path: Path, line: str, complaint: str
) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "fine"}\n' + line)
    refused = run("generate", bird, "--batch", file).refusal()
    assert "line 2" in refused
    assert complaint in refused


def test_ctrl_c_ends_a_batch(bird: Path, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("hi\n" * 3)
    with Terminal("generate", bird, "--batch", file, "--tokens", "10000000", "--top-k", "1") as terminal:
        terminal.wait_for("answering 3 prompts")
        terminal.type("\x03")
        assert terminal.end() == 130
    assert "interrupted" in terminal.shown
    assert "Traceback" not in terminal.shown


def test_a_long_prompt_is_seen_to_be_read_on_a_terminal(tmp_path: Path) -> None:
    model, long = parrot(tmp_path / "model"), "a " * 800
    with Terminal("generate", model, "--prompt", long, "--tokens", "3", "--top-k", "1") as terminal:
        terminal.wait_for("reading the prompt: 512 of ")
        assert terminal.end() == 0
    assert "reading the prompt" not in run("generate", model, "--prompt", long, "--tokens", "3").err
