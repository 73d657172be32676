"""`crystalline models` in processes of its own: every command, every option."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from typing import TYPE_CHECKING, get_args, get_type_hints

import pytest

from crystalline.cli import models_change, models_import, models_list, models_verify
from crystalline.cli.models import Models
from crystalline.model import weights_sha256
from crystalline.model.export_hf import write_hf
from crystalline.model.opening import open_model
from crystalline.models import MODELS_VARIABLE, Store, read_record
from tests.helpers.command import CRYSTALLINE, environment, run
from tests.helpers.small_models import chat_model, listing, small_model

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

# Option of a command -> the test that sees its effect.
OPTIONS = {
    (models_import.import_model, "name"): "test_an_import_has_the_name_that_is_asked_for",
    (models_import.export_model, "format"): "test_the_format_is_the_one_that_is_asked_for",
    (models_import.export_model, "kind"): "test_the_type_is_the_one_that_is_asked_for",
    (models_list.list_models, "json"): "test_a_list_is_a_table_or_an_object",
    (models_list.info, "json"): "test_all_that_is_known_is_text_or_an_object",
    (models_change.remove, "yes"): "test_a_removal_is_confirmed",
}
EVERYWHERE = "test_the_folder_is_the_one_that_is_named"
COMMANDS = (
    models_import.import_model,
    models_import.export_model,
    models_list.list_models,
    models_list.info,
    models_change.rename,
    models_change.remove,
    models_verify.verify,
)
ARGUMENTS = {"ctx", "source", "target", "name", "names", "new", "return"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that can chat. Not to be changed."""
    folder = tmp_path_factory.mktemp("source") / "talker"
    write_hf(folder, chat_model())
    return folder


@pytest.fixture
def here(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which `models` has one model, `a`."""
    monkeypatch.delenv(MODELS_VARIABLE, raising=False)
    done = run("models", "import", source, "--name", "a", cwd=tmp_path)
    assert (done.code, done.err) == (0, "")
    return tmp_path


def names(here: Path) -> list[str]:
    return Store(here / "models").names()


def test_no_option_is_without_a_test() -> None:
    for command in COMMANDS:
        options = get_type_hints(command).keys() - ARGUMENTS - {"models"}
        if command is models_import.import_model:
            options |= {"name"}
        assert {(command, option) for option in options} == {each for each in OPTIONS if each[0] is command}
    assert {*OPTIONS.values(), EVERYWHERE} <= globals().keys()


def test_an_import_says_what_it_has_done(here: Path, source: Path) -> None:
    done = run("models", "import", source, cwd=here)
    sha256 = weights_sha256(open_model(source).flat)
    assert (done.code, done.err) == (0, "")
    assert (
        done.out
        == f"talker: {chat_model().config.parameter_count():,} parameters, weights {sha256[:8]}, in models\n"
    )
    assert names(here) == ["a", "talker"]
    assert "exists" in run("models", "import", source, cwd=here).refusal()


def test_an_import_has_the_name_that_is_asked_for(here: Path, source: Path) -> None:
    assert run("models", "import", source, "--name", "b", cwd=here).code == 0
    assert names(here) == ["a", "b"]
    for name in ("../b", ".b", "b/c", ""):
        assert "cannot be the name" in run("models", "import", source, "--name", name, cwd=here).refusal()


def test_an_import_of_a_run_is_its_model(trained: Path, tmp_path: Path) -> None:
    assert run("models", "import", trained, "--name", "mine", "--models", tmp_path).code == 0
    record = read_record(Store(tmp_path).place("mine"))
    assert (record.source, record.source_kind) == (str(trained), "run")
    assert record.weights_sha256 == weights_sha256(open_model(trained).flat)


def test_what_cannot_be_imported_is_said_in_one_line(here: Path) -> None:
    for nothing in ("nothing", "nothing.gguf"):
        assert f"no file or folder {nothing}:" in run("models", "import", nothing, cwd=here).refusal()
    (here / "text.gguf").write_text("no model")
    assert "text.gguf" in run("models", "import", "text.gguf", cwd=here).refusal()
    assert names(here) == ["a"]


def test_the_format_is_the_one_that_is_asked_for(here: Path) -> None:
    for words in (
        ("a", "one"),
        ("a", "two.gguf"),
        ("a", "three", "--format", "gguf"),
        ("a", "f.gguf", "--format", "hf"),
    ):
        done = run("models", "export", *words, cwd=here)
        assert (done.code, done.err) == (0, "")
        assert done.out.startswith(f"{words[1]}: ")
    assert [(here / name).is_dir() for name in ("one", "two.gguf", "three", "f.gguf")] == [
        True,
        False,
        False,
        True,
    ]
    wanted = weights_sha256(chat_model().flat)
    for name in ("one", "two.gguf", "three", "f.gguf"):
        assert weights_sha256(open_model(here / name).flat) == wanted
    assert "exists" in run("models", "export", "a", "one", cwd=here).refusal()
    run("models", "export", "a", "x", "--format", "onnx", cwd=here).refusal()


def test_the_type_is_the_one_that_is_asked_for(here: Path) -> None:
    sizes = {}
    for kind in ("f32", "f16", "q8_0"):
        done = run("models", "export", "a", f"{kind}.gguf", "--type", kind, cwd=here)
        assert done.out == f"{kind}.gguf: gguf, {kind}, {(here / f'{kind}.gguf').stat().st_size:,} bytes\n"
        sizes[kind] = (here / f"{kind}.gguf").stat().st_size
    assert sizes["q8_0"] < sizes["f16"] < sizes["f32"]
    assert (
        "a folder cannot hold q8_0" in run("models", "export", "a", "x", "--type", "q8_0", cwd=here).refusal()
    )
    assert run("models", "export", "a", "half", "--type", "f16", cwd=here).code == 0
    assert (here / "half" / "model.safetensors").stat().st_size < sizes["f32"] / 1.5


def test_a_path_can_be_exported_as_well(here: Path, source: Path) -> None:
    assert run("models", "export", source, "out.gguf", cwd=here).code == 0
    assert weights_sha256(open_model(here / "out.gguf").flat) == weights_sha256(chat_model().flat)
    assert "there: a" in run("models", "export", "b", "x", cwd=here).refusal()


def test_a_list_is_a_table_or_an_object(here: Path) -> None:
    head, row = run("models", "list", cwd=here).out.splitlines()
    assert head.split() == ["name", "parameters", "layers", "context", "vocab", "size", "weights", "imported"]
    config, sha256 = chat_model().config, weights_sha256(chat_model().flat)
    assert row.split()[:5] == ["a", f"{config.parameter_count():,}", "2", "64", "363"]
    assert sha256[:8] in row
    found = run("models", "list", "--json", cwd=here).json()
    assert found["folder"] == "models"
    (only,) = found["models"]
    assert (only["name"], only["weights_sha256"], only["layers"]) == ("a", sha256, 2)
    assert only["bytes"] == read_record(Store(here / "models").place("a")).size


def test_a_destination_that_cannot_be_is_named_as_it_was_typed(here: Path) -> None:
    (here / "file").write_text("no folder")
    for target in ("file/x", "file/x/y.gguf", "/proc/x", "/proc/x/y.gguf"):
        done = run("models", "export", "a", target, cwd=here)
        assert done.refusal().startswith(f"error: {target}: ")
    done = run("models", "export", "a", "large/x", cwd=here, limits="ulimit -f 10")
    assert done.refusal().startswith("error: large/x: ")
    assert listing(here / "large") == []


def test_a_folder_that_was_named_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(MODELS_VARIABLE, raising=False)
    missing = tmp_path / "missing"
    for words in (("list",), ("list", "--json"), ("verify",)):
        done = run("models", *words, "--models", "missing", cwd=tmp_path)
        assert f"there is no folder {missing}:" in done.refusal()
    monkeypatch.setenv(MODELS_VARIABLE, str(missing))
    assert f"there is no folder {missing}:" in run("models", "list", cwd=tmp_path).refusal()
    missing.mkdir()
    assert run("models", "list", cwd=tmp_path).out == f"no models in {missing}\n"


def test_a_list_without_models(tmp_path: Path) -> None:
    assert run("models", "list", cwd=tmp_path).out == "no models in models\n"
    assert run("models", "list", "--json", cwd=tmp_path).json() == {"folder": "models", "models": []}
    assert listing(tmp_path) == []


def test_a_damaged_model_has_a_row_and_a_line(here: Path, source: Path) -> None:
    assert run("models", "import", source, "--name", "b", cwd=here).code == 0
    (here / "models" / "a" / "crystalline.json").unlink()
    done = run("models", "list", cwd=here)
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert "crystalline.json" in done.err
    assert done.out.splitlines()[1].split()[:2] == ["a", "damaged"]
    rows = json.loads(run("models", "list", "--json", cwd=here).out)["models"]
    assert ["error" in row for row in rows] == [True, False]


def test_all_that_is_known_is_text_or_an_object(here: Path) -> None:
    text = run("models", "info", "a", cwd=here).out
    sha256 = weights_sha256(chat_model().flat)
    for words in (
        sha256,
        "<|im_start|> (360)",
        "<|im_end|> (361), <|endoftext|> (0)",
        "4 of width 8, 2 for keys",
    ):
        assert words in text
    parts = [line for line in text.splitlines() if "█" in line]
    assert {line.split()[0] for line in parts} == {"embedding", "attention", "feed-forward"}
    longest = max(parts, key=lambda line: line.count("█"))
    assert longest.split()[0] == "feed-forward"
    found = run("models", "info", "a", "--json", cwd=here).json()
    assert found["weights_sha256"] == sha256
    assert sum(found["parts"].values()) == found["parameters"]
    assert "there: a" in run("models", "info", "b", cwd=here).refusal()


def test_a_rename_is_seen_by_all(here: Path) -> None:
    assert run("models", "rename", "a", "b", cwd=here).out == "a is now b\n"
    assert names(here) == ["b"]
    assert "there: b" in run("models", "rename", "a", "c", cwd=here).refusal()
    assert "cannot be the name" in run("models", "rename", "b", "../c", cwd=here).refusal()


def test_a_removal_is_confirmed(here: Path) -> None:
    assert "--yes" in run("models", "remove", "a", cwd=here).refusal()
    assert names(here) == ["a"]
    for answer, left in (("n", ["a"]), ("y", [])):
        assert on_a_terminal(here, answer, "models", "remove", "a") == 0
        assert names(here) == left
    assert "there: none" in run("models", "remove", "a", "--yes", cwd=here).refusal()


def test_a_removal_with_yes_asks_nothing(here: Path) -> None:
    assert run("models", "remove", "a", "--yes", cwd=here).out == "a is removed\n"
    assert listing(here / "models" / ".store") == []


def test_a_check_names_the_damaged_file(here: Path, source: Path) -> None:
    assert run("models", "import", source, "--name", "b", cwd=here).code == 0
    done = run("models", "verify", cwd=here)
    assert (done.code, done.out, done.err) == (0, "a: ok\nb: ok\n", "")
    weights = here / "models" / "a" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    done = run("models", "verify", cwd=here)
    assert (done.code, done.err) == (1, "")
    assert "model.safetensors is damaged" in done.out.splitlines()[0]
    assert done.out.splitlines()[1] == "b: ok"
    assert run("models", "verify", "b", cwd=here).code == 0
    assert run("models", "verify", "a", cwd=here).code == 1
    assert "there: a, b" in run("models", "verify", "b", "c", cwd=here).refusal()


@pytest.mark.parametrize("way", ["option", "environment", "both"])
def test_the_folder_is_the_one_that_is_named(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """The option comes before the variable."""
    models = tmp_path / "elsewhere"
    words: tuple[str, ...] = ("--models", str(models))
    if way != "option":
        monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path / "wrong" if way == "both" else models))
    if way == "environment":
        words = ()
    assert run("models", "import", source, "--name", "a", *words, cwd=tmp_path).code == 0
    assert Store(models).names() == ["a"]
    assert "a " in run("models", "list", *words, cwd=tmp_path).out
    assert run("models", "info", "a", *words, cwd=tmp_path).code == 0
    assert run("models", "verify", *words, cwd=tmp_path).out == "a: ok\n"
    assert run("models", "export", "a", tmp_path / "out", *words, cwd=tmp_path).code == 0
    assert run("models", "rename", "a", "b", *words, cwd=tmp_path).code == 0
    assert run("models", "remove", "b", "--yes", *words, cwd=tmp_path).code == 0
    assert Store(models).names() == []
    assert listing(tmp_path) == ["elsewhere", "out"]


def test_the_variable_is_the_one_of_the_package() -> None:
    option = next(each for each in get_args(Models) if hasattr(each, "envvar"))
    assert option.envvar == MODELS_VARIABLE


def test_a_full_disk_leaves_nothing(here: Path, tmp_path: Path) -> None:
    write_hf(tmp_path / "larger", small_model(dim=128, ffn_dim=1024))
    done = run("models", "import", "larger", cwd=here, limits="ulimit -f 1000")
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert len(done.err.splitlines()) == 1
    assert names(here) == ["a"]
    assert len(listing(here / "models" / ".store")) == 1


def test_a_bar_is_for_terminals(here: Path, source: Path) -> None:
    code, shown = terminal(here, "", "models", "import", source, "--name", "b")
    assert code == 0
    assert "b: " in shown
    assert names(here) == ["a", "b"]


def on_a_terminal(cwd: Path, answer: str, *words: str | Path) -> int:
    return terminal(cwd, f"{answer}\n", *words)[0]


def terminal(cwd: Path, typed: str, *words: str | Path) -> tuple[int, str]:
    """Run the command on a terminal of its own; its exit code, and what was seen there."""
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    with subprocess.Popen(
        [CRYSTALLINE, *words], stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd, env=environment()
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
        except OSError:  # the other end is closed
            pass
        process.wait(timeout=30)
    os.close(ours)
    return process.returncode, shown.decode()


def test_other_commands_take_a_name_and_say_which_there_are(here: Path) -> None:
    (here / "text.txt").write_text("some words to read " * 20, encoding="utf-8")
    for words in (
        ("generate", "a", "--tokens", "3"),
        ("chat", "a", "--prompt", "hello", "--tokens", "3"),
        ("eval", "a", "text.txt"),
        ("tokenize", "a", "some words"),
        ("vocab", "show", "a"),
    ):
        assert run(*words, cwd=here).code == 0, words
        unknown = run(words[0], *("b" if word == "a" else word for word in words[1:]), cwd=here)
        assert unknown.code == 2, words
        assert f"no model 'b' in {here / 'models'} (there: a)" in unknown.err, words
        assert unknown.err.count("\n") == 1, words
