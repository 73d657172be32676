"""Help that teaches, and comes quickly because nothing heavy is loaded for it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import get_type_hints

import pytest

import crystalline
from crystalline.cli.lazy import COMMANDS, load
from crystalline.cli.train import train
from tests.helpers.command import CRYSTALLINE, run

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
def test_help_names_the_commands_and_gives_examples(words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.code == 0
    assert "crystalline train" in done.out
    assert all(name in done.out and outline.summary in done.out for name, outline in COMMANDS.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_the_outline_agrees_with_the_command(name: str) -> None:
    docstring = load(COMMANDS[name].place).__doc__
    assert docstring.splitlines()[0] == COMMANDS[name].summary


def test_help_of_train_shows_every_option_and_default() -> None:
    text = run("train", "--help").out
    for name in get_type_hints(train).keys() - {"ctx", "data", "return"}:
        assert f"--{name.replace('_', '-')}" in text
    assert "[default: 12]" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_has_a_short_name_and_an_example(name: str) -> None:
    text = run(name, "-h").out
    assert text == run(name, "--help").out
    assert all(example in text for example in COMMANDS[name].examples)


def test_version() -> None:
    assert run("--version").out == f"crystalline {crystalline.__version__}\n"


def test_the_version_costs_nothing_until_somebody_asks() -> None:
    script = (
        "import sys; before = set(sys.modules); import crystalline;"
        "assert not {'importlib.metadata', 'numpy'} & (set(sys.modules) - before);"
        "assert crystalline.__version__;"
        "assert not hasattr(crystalline, 'versions')"
    )
    subprocess.run([sys.executable, "-c", script], timeout=20, check=True)


def test_a_misspelt_command_is_corrected() -> None:
    assert "train" in run("trian").refusal()


def test_help_loads_nothing_heavy() -> None:
    # The interpreter lists what it imports on standard error.
    done = subprocess.run(
        [sys.executable, "-X", "importtime", CRYSTALLINE, "--help"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
        env=os.environ,
    )
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "typer" in loaded
    assert not loaded & {"numpy", "tokenizers", "safetensors", "anyio", "actors", "asyncio", "pydantic"}


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "crystalline", "--version"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout == run("--version").out
