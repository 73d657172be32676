"""`crystalline top` looks at a training that lives, and says so when there is none."""

from __future__ import annotations

import json
import signal
import time
from typing import TYPE_CHECKING

import pytest

from actors.living import NotServed, fetch_picture
from tests.helpers.command import LIMIT_S, TINY, run, start
from tests.helpers.terminal import Terminal

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.e2e

FOR_EVER = (*TINY, "--epochs", "100000", "--save-every", "0")


@pytest.fixture(scope="module")
def living(
    text: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A training that would take hours, and its folder; that path is longer than a socket's name can be."""
    out = tmp_path_factory.mktemp("living") / ("a-folder-with-a-long-name-" * 5) / "out"
    process = start("train", text, *FOR_EVER, "--spheres", "3", "--out", out, "--quiet")
    try:
        wait_until_seen(out, process)
        yield process, out
    finally:
        process.kill()
        process.communicate()


def wait_until_seen(out: Path, process: subprocess.Popen[str], actor: str = "/root/sphere-2") -> None:
    limit_s = time.monotonic() + 30
    while process.poll() is None:
        assert time.monotonic() < limit_s
        try:
            if actor in json.dumps(fetch_picture(out)):
                return
        except NotServed:
            time.sleep(0.01)
    raise AssertionError(process.communicate())


def test_once_as_json_is_one_picture(living: tuple[subprocess.Popen[str], Path]) -> None:
    process, out = living
    done = run("top", out, "--once", "--json")
    picture = done.json()
    assert len(done.out.splitlines()) == 1
    assert (picture["pid"], picture["format"], done.err) == (process.pid, "actors-picture-1", "")
    (root,) = picture["tree"]
    assert {"/root/sphere-0", "/root/sphere-1", "/root/sphere-2"} <= {
        each["path"] for each in root["children"]
    }
    assert root["handles"] is None or root["handles"]["type"] == "crystalline.train_epoch"


def test_once_is_a_table(living: tuple[subprocess.Popen[str], Path]) -> None:
    process, out = living
    done = run("top", out, "--once")
    assert (done.code, done.err) == (0, "")
    assert f"crystalline, process {process.pid}: " in done.out
    assert "the event loop answers" in done.out
    rows = [line.split() for line in done.out.splitlines()]
    for actor in ("/root", "sphere-1"):
        (state,) = [row[1].partition("(")[0] for row in rows if row[:1] == [actor]]
        assert state in {"running", "epoch_done", "idle"}


def test_on_a_terminal_it_renews_itself_until_ctrl_c(living: tuple[subprocess.Popen[str], Path]) -> None:
    process, out = living
    with Terminal("top", out, "--interval", "0.05") as terminal:
        terminal.wait_for("sphere-2")
        terminal.wait_for(" a second")
        terminal.wait_for("sphere-2")
        terminal.type("\x03")
        assert terminal.end() == 130
        assert "Traceback" not in terminal.shown
        assert terminal.shown.rstrip().endswith("\x1b[?25h"), "the cursor is back"
    assert process.poll() is None, "the training goes on"


def test_the_end_of_the_training_is_the_end(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    training = start("train", text, *FOR_EVER, "--out", out, "--quiet")
    wait_until_seen(out, training, "/root")
    watching = start("top", out, "--json", "--interval", "0.05")
    assert watching.stdout is not None
    first = json.loads(watching.stdout.readline())
    assert (first["pid"], len(first["tree"])) == (training.pid, 1)
    training.send_signal(signal.SIGINT)
    training.communicate(timeout=LIMIT_S)
    out_text, err = watching.communicate(timeout=LIMIT_S)
    assert (watching.returncode, err) == (0, f"the training in {out} has ended\n")
    assert all(json.loads(line)["pid"] == training.pid for line in out_text.splitlines())
    assert f"no living training in {out}" in run("top", out).refusal()
    assert {path.name for path in out.iterdir()}.isdisjoint({"top.socket"}), "nothing is left in the folder"


def test_a_training_that_cannot_be_shown_trains_all_the_same(text: Path, tmp_path: Path) -> None:
    closed = tmp_path / "no-folder"
    done = run(
        "train",
        text,
        *TINY,
        "--out",
        tmp_path / "out",
        "--json",
        limits=f"export TMPDIR='{closed}'; mkdir '{closed}'; mkdir -m 755 \"{closed}/actors-$(id -u)\"",
    )
    assert done.json()["steps"] > 0
    assert "crystalline top cannot look at this run: " in done.err
