"""`crystalline trace` in a process of its own, on runs that were recorded for it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crystalline.cli.lazy import COMMANDS
from tests.helpers.command import CRYSTALLINE, LIMIT_S, TINY, Finished, environment, run
from tests.helpers.options import untested

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.e2e

# Question -> the words behind the file, and what the answer for programs has.
QUESTIONS: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "summary": ((), set()),
    "why": (("sphere-1",), set()),
    "critical": (("--epoch", "1"), set()),
    "stuck": ((), set()),
    "diff": (("same.trace",), set()),
}
# Export -> how a file of it begins.
EXPORTS = {"sequence": "sequenceDiagram", "timeline": "{", "otel": "{", "html": "<!"}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    """A folder with traces of three runs: `mine`, `same` with its seed, and `other`. Not to be changed."""
    folder = tmp_path_factory.mktemp("recorded")
    for name, words in {"mine": (), "same": (), "other": ("--batch-size", "12")}.items():
        out = ("--out", folder / name, "--trace", folder / f"{name}.trace")
        assert run("train", text, *TINY, "--spheres", "3", *words, *out, "--quiet").code == 0
    return folder


@pytest.fixture
def place(recorded: Path, tmp_path: Path) -> Path:
    """A folder with a copy of a trace, to do with as one likes."""
    (tmp_path / "mine.trace").write_bytes((recorded / "mine.trace").read_bytes())
    return tmp_path


def told(done: Finished) -> str:
    """What a command that went well has printed: whole lines of text, without control characters."""
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("\n")
    assert all(line.isprintable() for line in done.out.splitlines())
    return done.out


def names(place: Path) -> set[str]:
    return {path.name for path in place.iterdir()}


@pytest.mark.parametrize("command", COMMANDS["trace"].commands)
def test_no_option_is_without_a_test(command: str) -> None:
    assert untested(COMMANDS["trace"].commands[command].place, Path(__file__)) == []


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_answer_for_people_and_one_for_programs(recorded: Path, question: str) -> None:
    words, keys = QUESTIONS[question]
    assert len(told(run("trace", question, "mine.trace", *words, cwd=recorded)).splitlines()) >= 1
    found = run("trace", question, "mine.trace", *words, "--json", cwd=recorded).json()
    assert keys <= found.keys()


def test_the_file_may_come_first_or_alone_and_its_run_stands_for_it(recorded: Path) -> None:
    forms = [("summary", "mine.trace"), ("mine.trace", "summary"), ("mine.trace",), ("mine",)]
    answers = {told(run("trace", *words, cwd=recorded)) for words in forms}
    assert len(answers) == 1
    assert "/root/sphere-1" in answers.pop()


def test_the_critical_path_of_a_message(recorded: Path) -> None:
    whole = run("trace", "critical", "mine.trace", "--json", cwd=recorded).json()
    part = run("trace", "critical", "mine.trace", "--message", "3", "--json", cwd=recorded).json()
    assert part != whole


def test_runs_with_one_seed_are_the_same_and_others_part(recorded: Path) -> None:
    assert run("trace", "diff", "mine.trace", "same.trace", cwd=recorded).code == 0
    parted = run("trace", "mine.trace", "diff", "other.trace", cwd=recorded)
    assert (parted.code, parted.err) == (1, "")
    assert parted.out


@pytest.mark.parametrize("export", EXPORTS)
def test_what_is_exported_is_a_file_of_its_own(place: Path, export: str) -> None:
    done = run("trace", "mine.trace", export, "--out", "made", cwd=place)
    assert (done.code, done.out) == (0, "")
    assert done.err.endswith(": made\n")
    assert (place / "made").read_text().startswith(EXPORTS[export])
    assert names(place) == {"mine.trace", "made"}, "nothing is left beside it"


def test_what_is_there_is_replaced_by_force_alone(place: Path) -> None:
    (place / "made").write_text("mine")
    words = ("trace", "sequence", "mine.trace", "--out", "made")
    assert "made exists" in run(*words, cwd=place).refusal()
    assert (place / "made").read_text() == "mine"
    assert run(*words, "--force", cwd=place).code == 0
    assert (place / "made").read_text().startswith("sequenceDiagram")


def test_a_timeline_is_json_also_on_standard_output(recorded: Path) -> None:
    done = run("trace", "timeline", "mine.trace", "--out", "-", cwd=recorded)
    assert done.err == ""
    assert json.loads(done.out)["traceEvents"]


def test_a_sequence_of_some_messages(recorded: Path) -> None:
    whole = told(run("trace", "sequence", "mine.trace", cwd=recorded))
    few = told(run("trace", "sequence", "mine.trace", "--limit", "3", cwd=recorded))
    two = ("--actor", "/root", "--actor", "/root/sphere-1")
    some = told(run("trace", "sequence", "mine.trace", *two, cwd=recorded))
    one = told(run("trace", "sequence", "mine.trace", "--message", "3", cwd=recorded))
    assert len(few) < len(whole)
    assert ("sphere-2" in whole, "sphere-2" in some, "sphere-1" in some) == (True, False, True)
    assert one != whole


def cut(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


def overwritten(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + b"\xff\xc1garbage" * 8 + content[middle + 72 :]


@pytest.mark.parametrize("damage", [cut, overwritten])
def test_a_damaged_file_is_read_as_far_as_it_goes(place: Path, damage: Callable[[bytes], bytes]) -> None:
    file = place / "mine.trace"
    file.write_bytes(damage(file.read_bytes()))
    done = run("trace", "mine.trace", "--json", cwd=place)
    assert done.json()
    (warning,) = done.err.splitlines()
    assert warning.startswith("warning: mine.trace: ")
    done = run("trace", "html", "mine.trace", "--out", "made.html", cwd=place)
    assert (done.code, done.err.splitlines()[0]) == (0, warning)


def test_what_cannot_be_used_is_refused(recorded: Path) -> None:
    # Most refusals are tested in the process of the tests, where they take no time.
    for words in (("gone.trace",), ("why", "mine.trace", "/nobody")):
        assert words[-1] in run("trace", *words, cwd=recorded).refusal()


@pytest.mark.parametrize("words", [("summary",), ("html", "--out", "-")], ids=" ".join)
def test_a_reader_that_leaves_has_read_enough(recorded: Path, words: tuple[str, ...]) -> None:
    process = subprocess.Popen(
        [CRYSTALLINE, "trace", "mine.trace", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        cwd=recorded,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        assert (process.wait(timeout=LIMIT_S), said) == (0, b"")
