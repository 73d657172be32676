"""`crystalline trace` in a process of its own, on runs that were recorded for it."""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from actors.tracing import Trace
from crystalline.cli import app
from crystalline.cli.lazy import COMMANDS
from tests.architecture.tree import ROOT
from tests.helpers.command import CRYSTALLINE, LIMIT_S, TINY, Finished, environment, run
from tests.helpers.options import untested

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.e2e

# Question -> the words behind the file.
QUESTIONS: dict[str, tuple[str, ...]] = {
    "summary": (),
    "why": ("sphere-1",),
    "critical": ("--epoch", "1"),
    "stuck": (),
    "diff": ("same.trace",),
}
# Export -> how a file of it begins.
EXPORTS = {"sequence": "sequenceDiagram", "timeline": "{", "otel": "{", "html": "<!"}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    """A folder with traces of three runs: `mine`, `same` with its seed, and `other`. Not to be changed."""
    folder = tmp_path_factory.mktemp("recorded")
    for name, words in {"mine": (), "same": (), "other": ("--seed", "1")}.items():
        # Small parts, so that there is something left when one of them is damaged.
        record = ("--trace-payloads", "hash", "--trace-bytes", "64KiB")
        out = ("--out", folder / name, "--trace", folder / f"{name}.trace", *record)
        assert run("train", text, *TINY, "--spheres", "3", *words, *out, "--quiet").code == 0
    return folder


@pytest.fixture
def place(recorded: Path, tmp_path: Path) -> Path:
    """A folder with a copy of a trace, to do with as one likes."""
    for part in recorded.glob("mine.trace*"):
        shutil.copy(part, tmp_path)
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


def answer(recorded: Path, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    """What a command prints, in this process, which takes no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(recorded)
        assert app.run(["trace", *words]) == code
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


@functools.cache
def documented() -> dict[str, set[str]]:
    """The keys of each answer for programs, as docs/debugging.md has them."""
    page = (ROOT / "docs" / "debugging.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ((?:`\w+`(?:, )?)+) \|$", page, flags=re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", keys)) for name, keys in rows}


@pytest.mark.parametrize("question", QUESTIONS)
def test_an_answer_for_people_and_one_for_programs(
    recorded: Path, question: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (question, "mine.trace", *QUESTIONS[question])
    assert told(run("trace", *words, cwd=recorded)).strip()
    found = json.loads(answer(recorded, capsys, *words, "--json"))
    assert set(found) == documented()[question]


def test_the_file_may_come_first_or_alone_and_its_run_stands_for_it(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = told(run("trace", "mine", cwd=recorded))
    assert "/root/sphere-1" in summary
    for words in (("summary", "mine.trace"), ("mine.trace", "summary"), ("mine.trace",)):
        assert answer(recorded, capsys, *words) == summary


@pytest.fixture(scope="module")
def number(recorded: Path) -> str:
    """The message by which Root was told to train the first epoch."""
    sends = Trace.open(recorded / "mine.trace").select(kinds={"send"})
    return str(next(event.msg_id for event in sends if event.type == "crystalline.train_epoch"))


def test_the_critical_path_of_a_message(
    recorded: Path, number: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(answer(recorded, capsys, "critical", "mine.trace", "--message", number, "--json"))
    assert found["stretch"]["message"] == int(number)


def test_runs_with_one_seed_are_the_same_and_others_part(
    recorded: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parted = run("trace", "mine.trace", "diff", "other.trace", cwd=recorded)
    assert (parted.code, parted.err) == (1, "")
    seen: set[str] = set()
    for _ in range(2):  # what differed first is left out the second time
        ignored = [word for field in seen for word in ("--ignore", field)]
        words = ("diff", "mine.trace", "other.trace", *ignored, "--json")
        found = json.loads(answer(recorded, capsys, *words, code=1))
        fields = {re.split(r"[.\[]", each["name"])[0] for each in found["first"]["unlike"]}
        assert fields
        assert not fields & seen
        seen |= fields


@pytest.mark.parametrize("export", EXPORTS)
def test_what_is_exported_is_a_file_of_its_own(place: Path, export: str) -> None:
    before = names(place)
    done = run("trace", "mine.trace", export, "--out", "made", cwd=place)
    assert (done.code, done.out) == (0, "")
    assert done.err.endswith(": made\n")
    page = (place / "made").read_text()
    assert page.startswith(EXPORTS[export])
    assert ('"title":"mine.trace"' in page) == (export == "html"), (
        "not the name of what was written to at first"
    )
    assert names(place) == before | {"made"}, "nothing is left beside it"


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


def test_a_sequence_of_some_messages(recorded: Path, number: str, capsys: pytest.CaptureFixture[str]) -> None:
    whole = answer(recorded, capsys, "sequence", "mine.trace")
    few = answer(recorded, capsys, "sequence", "mine.trace", "--limit", "3")
    some = answer(recorded, capsys, "sequence", "mine.trace", "--actor", "/root/sphere-1")
    one = answer(recorded, capsys, "sequence", "mine.trace", "--message", number)
    assert len(few) < len(whole)
    assert ("sphere-2" in whole, "sphere-2" in some, "sphere-1" in some) == (True, False, True)
    assert ("train_epoch" in one, one != whole) == (True, True)


def cut(content: bytes) -> bytes:
    return content[:-20]


def overwritten(content: bytes) -> bytes:
    middle = len(content) * 3 // 4
    return content[:middle] + b"\xff\xc1garbage" * 4 + content[middle + 36 :]


@pytest.mark.parametrize(("damage", "word"), [(cut, "note"), (overwritten, "warning")])
def test_a_damaged_file_is_read_as_far_as_it_goes(
    place: Path, damage: Callable[[bytes], bytes], word: str
) -> None:
    file = place / "mine.trace"
    whole = len(Trace.open(file))
    file.write_bytes(damage(file.read_bytes()))
    done = run("trace", "mine.trace", "--json", cwd=place)
    assert 0 < done.json()["events"] < whole
    (warning,) = done.err.splitlines()
    assert warning.startswith(f"{word}: mine.trace ")


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
