"""Help that teaches, and comes quickly because nothing heavy is loaded for it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, get_type_hints

import pytest

import crystalline
from crystalline.cli.lazy import COMMANDS, Outline, load
from crystalline.cli.train import train
from tests.helpers.command import CRYSTALLINE, run

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

GROUPS: dict[tuple[str, ...], dict[str, Outline]] = {(): dict(COMMANDS)} | {
    (name,): dict(outline.commands) for name, outline in COMMANDS.items() if outline.commands
}
EVERY = {(*words, name): outline for words, group in GROUPS.items() for name, outline in group.items()}


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",)])
@pytest.mark.parametrize("group", GROUPS, ids=" ".join)
def test_help_names_the_commands_and_gives_examples(group: tuple[str, ...], words: tuple[str, ...]) -> None:
    done = run(*group, *words)
    assert done.code == 0
    for name, outline in GROUPS[group].items():
        assert " ".join(["crystalline", *group, name]) in done.out
        assert outline.summary in done.out


@pytest.mark.parametrize("outline", EVERY.values(), ids=map(" ".join, EVERY))
def test_the_outline_agrees_with_the_command(outline: Outline) -> None:
    docstring = load(outline.place).__doc__
    assert docstring.splitlines()[0] == outline.summary


def test_help_of_train_shows_every_option_and_default() -> None:
    text = run("train", "--help").out
    for name in get_type_hints(train).keys() - {"ctx", "data", "return"}:
        assert f"--{name.replace('_', '-')}" in text
    assert "[default: 12]" in text


@pytest.mark.parametrize("words", [words for words in EVERY if words not in GROUPS], ids=" ".join)
def test_help_of_a_command_has_a_short_name_and_an_example(words: tuple[str, ...]) -> None:
    text = run(*words, "-h").out
    assert text == run(*words, "--help").out
    assert all(example in text for example in EVERY[words].examples)


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
    heavy = {"numpy", "tokenizers", "safetensors", "anyio", "actors", "asyncio"}
    loaded = modules("--help")
    assert "typer" in loaded
    assert not loaded & {*heavy, "pydantic"}
    assert not modules("runs", "--help") & heavy


@pytest.mark.parametrize("words", [("runs", "list", "."), ("train", "--help")], ids=" ".join)
def test_extras_are_loaded_by_those_who_ask_for_them(words: tuple[str, ...], tmp_path: Path) -> None:
    assert not modules(*words, cwd=tmp_path) & {"matplotlib", "tensorboardX"}


def modules(*words: str, cwd: Path | None = None) -> set[str]:
    """The packages that are imported for a command."""
    # The interpreter lists what it imports on standard error.
    done = subprocess.run(
        [sys.executable, "-X", "importtime", CRYSTALLINE, *words],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
        env=os.environ,
        cwd=cwd,
    )
    return {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "crystalline", "--version"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout == run("--version").out


@pytest.mark.parametrize("words", ["generate", "chat", "eval", "tokenize", "vocab show"])
def test_help_of_what_opens_a_model_says_where_names_are_looked_up(words: str) -> None:
    text = run(*words.split(), "--help").out
    assert "($CRYSTALLINE_MODELS," in text
