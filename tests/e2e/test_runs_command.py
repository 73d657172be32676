"""`crystalline runs` in a process of its own: tables for people, objects for programs, pictures, refusals."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.command import CRYSTALLINE, LIMIT_S, TINY, Finished, environment, run
from tests.helpers.run_folders import SHA256, encoded, epoch_line, make_run, step_line

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.e2e

FALLING = [5.0, 4.0, 3.0, 2.0, 1.5, 1.25, 1.125, 1.0]
PART = [*FALLING[:5], 2.0, 2.5, 2.25]


@pytest.fixture(scope="module")
def _fonts(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("matplotlib"))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _fonts: str) -> Path:
    """A folder with three runs: `one`, `same` with other spheres, `other` with another rate."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("MPLCONFIGDIR", _fonts)
    monkeypatch.setenv("COLUMNS", "80")
    make_run(tmp_path / "runs" / "one", FALLING)
    make_run(tmp_path / "runs" / "same", FALLING, settings={"spheres": 4})
    make_run(tmp_path / "runs" / "other", PART, settings={"lr": 0.03}, weights_sha256="ff" * 32)
    return tmp_path


def files(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*")}


def told(done: Finished) -> str:
    """What a command that went well has printed: whole lines of text, without control characters."""
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("\n")
    assert all(line.isprintable() and line == line.rstrip() for line in done.out.splitlines())
    return done.out


def test_list_is_a_table(place: Path) -> None:
    heads, *rows = told(run("runs", "list", cwd=place)).splitlines()
    assert heads.split() == [
        *("run", "steps", "epoch", "last", "loss", "best", "val", "loss"),
        *("tokens/s", "spheres", "when", "weights"),
    ]
    time = ("2023-11-14", "22:13")
    assert [row.split() for row in rows] == [
        ["runs/one", "8", "2", "1.0000", "1.2500", "200", "2", *time, "01234567"],
        ["runs/other", "8", "2", "2.2500", "2.2500", "200", "2", *time, "ffffffff"],
        ["runs/same", "8", "2", "1.0000", "1.2500", "200", "4", *time, "01234567"],
    ]


def test_list_for_programs(place: Path) -> None:
    found = run("runs", "list", "runs", "--json", cwd=place).json()
    assert found["folder"] == "runs"
    assert found["runs"][0] == {
        "run": "runs/one",
        "steps": 8,
        "epoch": 2,
        "last_loss": 1.0,
        "best_val_loss": 1.25,
        "tokens_per_s": 200.0,
        "spheres": 2,
        "time": 1_700_000_008.0,
        "weights_sha256": SHA256,
    }


def test_a_real_run_is_listed_and_shown(trained: Path) -> None:
    (row,) = run("runs", "list", trained, "--json").json()["runs"]
    shown = run("runs", "show", trained, "--json").json()
    assert row["run"] == shown["run"] == str(trained)
    assert row["steps"] == shown["checkpoint_step"] > 0
    assert row["epoch"] == len(shown["epochs"]) == 20
    assert row["last_loss"] < 5
    assert row["tokens_per_s"] > 0
    assert len(row["weights_sha256"]) == 64
    assert (shown["settings"]["lr"], shown["settings"]["dim"]) == (0.02, 16)
    assert told(run("runs", "show", trained)).startswith(f"run                   {trained}\n")


def test_real_runs_part_where_their_settings_do(trained: Path, text: Path, tmp_path: Path) -> None:
    for name, words in {"same": ("--spheres", "3"), "warm": ("--warmup", "5")}.items():
        out = tmp_path / name
        assert run("train", text, *TINY, "--lr", "0.02", "--epochs", "20", *words, "--out", out).code == 0
    found = run("runs", "compare", trained, tmp_path / "same", tmp_path / "warm", "--json").json()
    assert found["weights"] == ["same", "different"]
    assert found["parts_at"] == [None, 2], "the first update is what differs, and shows in the next loss"
    assert found["settings"] == {"spheres": [2, 3, 2], "warmup": [50, 50, 5]}
    assert found["neutral"] == ["spheres"]


def test_a_run_without_metrics_is_listed_and_shown(place: Path) -> None:
    make_run(place / "old", None)
    row = told(run("runs", "list", "old", cwd=place)).splitlines()[1].split()
    assert row[:4] == ["old", "8", "2", "-"]
    assert "no loss, nats per token recorded yet" in told(run("runs", "show", "old", cwd=place))


def test_no_runs_is_said(place: Path) -> None:
    (place / "empty").mkdir()
    assert told(run("runs", "list", "empty", cwd=place)) == "no runs below empty\n"
    assert run("runs", "list", "empty", "--json", cwd=place).json() == {"folder": "empty", "runs": []}


def test_a_damaged_run_is_named_beside_those_that_are_not(place: Path) -> None:
    (place / "runs" / "other" / "metrics.jsonl").write_text("garbage\n")
    done = run("runs", "list", cwd=place)
    assert done.code == 2
    assert [line.split()[:2] for line in done.out.splitlines()[1:]] == [
        ["runs/one", "8"],
        ["runs/other", "damaged"],
        ["runs/same", "8"],
    ]
    assert done.err.startswith("error: runs/other/metrics.jsonl: line 1 ")
    assert len(done.err.splitlines()) == 1
    objects = json.loads(run("runs", "list", "--json", cwd=place).out)["runs"]
    assert [set(each) == {"run", "error"} for each in objects] == [False, True, False]


def test_show_tells_all(place: Path) -> None:
    text = told(run("runs", "show", "runs/one", cwd=place))
    facts = {line.split("  ")[0]: line.split()[-1] for line in text.splitlines() if "  " in line}
    assert facts["weights"] == SHA256
    assert (facts["data"], facts["fingerprint of data"]) == ("text.txt", "fe" * 32)
    assert (facts["lr"], facts["dim"], facts["spheres"]) == ("0.003", "16", "2")
    assert ["1", "4", "3.0000", "2.2500", "400", "200", "2.0"] in [line.split() for line in text.splitlines()]
    assert "loss, nats per token, over steps\n5 │" in text
    assert max(map(len, text.splitlines())) <= 90


def test_show_names_spikes_and_skipped_steps(place: Path) -> None:
    content = [step_line(1, 5.0), step_line(2, 9.0, spike=True), step_line(3, None, skipped="not\x1bfinite")]
    (place / "runs" / "one" / "metrics.jsonl").write_bytes(encoded(content))
    text = told(run("runs", "show", "runs/one", cwd=place))
    assert "spikes: 1\n  step 2: loss 9.0000\nskipped: 1\n  step 3: not?finite\n" in text
    shown = run("runs", "show", "runs/one", "--json", cwd=place).json()
    assert (shown["spikes"], shown["skipped"]) == ([2], [{"step": 3, "reason": "not\x1bfinite"}])


def test_many_spikes_are_counted(place: Path) -> None:
    content = [step_line(step, 5.0, spike=True) for step in range(1, 13)]
    (place / "runs" / "one" / "metrics.jsonl").write_bytes(encoded(content))
    text = told(run("runs", "show", "runs/one", cwd=place))
    assert "spikes: 12\n  step 1: loss 5.0000\n" in text
    assert "  step 8: loss 5.0000\n  and 4 more\n" in text


def test_show_for_programs(place: Path) -> None:
    shown = run("runs", "show", "runs/one", "--json", cwd=place).json()
    assert shown["epochs"][0] == {
        "epoch": 1,
        "step": 4,
        "train_loss": 3.0,
        "val_loss": 2.25,
        "tokens": 400,
        "seconds": 2.0,
    }
    assert (shown["data"], shown["data_fingerprint"], shown["checkpoint_step"]) == ("text.txt", "fe" * 32, 8)


def test_a_run_that_is_being_killed_is_shown(place: Path) -> None:
    with (place / "runs" / "one" / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "step", "step": 9, "lo')
    assert run("runs", "show", "runs/one", "--json", cwd=place).json()["steps"] == 8


def test_compare_says_where_losses_part_and_what_differs(place: Path) -> None:
    text = told(run("runs", "compare", "runs/one", "runs/same", "runs/other", cwd=place))
    rows = [line.split() for line in text.splitlines()]
    assert ["A", "runs/one", "8", "1.0000", "1.2500", "8", "01234567"] in rows
    assert ["spheres", "2", "4", "2", "changes", "no", "bit"] in rows
    assert ["lr", "0.003", "0.003", "0.03"] in rows
    equal = "losses equal to the last bit in all 8 common steps; the same weights to the last bit"
    assert f"A and B: {equal}\nA and C: losses part at step 6; different weights\n" in text
    assert ["5", "1.500000", "1.500000", "1.500000"] in rows
    assert ["6", "1.250000", "1.250000", "2.000000"] in rows
    assert text.endswith("A  runs/one\nB  runs/same\nC  runs/other\n")


def test_compare_for_programs(place: Path) -> None:
    found = run("runs", "compare", "runs/one", "runs/same", "--json", cwd=place).json()
    assert (found["weights"], found["parts_at"], found["common_steps"]) == (["same"], [None], 8)
    assert (found["settings"], found["neutral"]) == ({"spheres": [2, 4]}, ["spheres"])
    assert found["table"][0] == {"step": 1, "values": [5.0, 5.0]}
    assert [each["run"] for each in found["runs"]] == ["runs/one", "runs/same"]


@pytest.mark.parametrize(
    ("metric", "step", "first"),
    [("loss", 1, 5.0), ("val_loss", 4, 2.25), ("grad_norm", 1, 1.5), ("lr", 1, 0.001)],
)
def test_the_metric_decides_table_and_curves(place: Path, metric: str, step: int, first: float) -> None:
    words = ("runs", "compare", "runs/one", "runs/other", "--metric", metric)
    found = run(*words, "--json", cwd=place).json()
    assert (found["metric"], found["table"][0]["step"], found["table"][0]["values"][0]) == (
        metric,
        step,
        first,
    )
    assert f"{metric} at step" in told(run(*words, cwd=place))


@pytest.mark.parametrize(("by", "end"), [("step", "8"), ("tokens", "800"), ("seconds", "4")])
def test_what_curves_are_drawn_over(place: Path, by: str, end: str) -> None:
    text = told(run("runs", "compare", "runs/one", "runs/other", "--by", by, cwd=place))
    assert text.splitlines()[-3].split()[-1] == end


def test_smoothing_changes_the_curves(place: Path) -> None:
    for words in (("show", "runs/one"), ("compare", "runs/one", "runs/other")):
        plain, smooth = (told(run("runs", *words, "--smooth", n, cwd=place)) for n in ("1", "3"))
        assert plain != smooth


def test_runs_that_have_nothing_in_common_are_compared(place: Path) -> None:
    make_run(place / "begun", [], checkpoint=False)
    text = told(run("runs", "compare", "runs/one", "begun", cwd=place))
    assert "settings and data: no difference known" in text
    assert "A and B: no common step; weights not compared, there is no checkpoint\n" in text
    assert "no common step with loss" in text


@pytest.mark.parametrize(
    "words", [("show", "runs/one"), ("compare", "runs/one", "runs/other", "--by", "tokens")]
)
def test_a_plot_is_a_png(place: Path, words: tuple[str, ...]) -> None:
    told(run("runs", *words, "--plot", "losses.png", cwd=place))
    content = (place / "losses.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content.endswith(b"IEND\xaeB`\x82")
    assert len(content) > 10_000, "no empty frame"


@pytest.mark.parametrize(
    "plot", ["missing/one.png", "runs/one/metrics.jsonl/one.png", "folder.png", "/proc/one.png"]
)
def test_a_plot_that_cannot_be_written(place: Path, plot: str) -> None:
    (place / "folder.png").mkdir()
    before = files(place)
    for words in (("show", "runs/one"), ("compare", "runs/one", "runs/other")):
        assert plot in run("runs", *words, "--plot", plot, cwd=place).refusal()
    assert files(place) == before


def test_a_plot_that_is_no_png(place: Path) -> None:
    assert ".png" in run("runs", "show", "runs/one", "--plot", "one.pdf", cwd=place).refusal()


def test_a_plot_of_nothing(place: Path) -> None:
    make_run(place / "begun", [], checkpoint=False)
    assert "to plot" in run("runs", "show", "begun", "--plot", "one.png", cwd=place).refusal()
    assert (
        "to plot"
        in run(
            "runs", "compare", "begun", "begun", "--metric", "lr", "--plot", "one.png", cwd=place
        ).refusal()
    )
    assert not (place / "one.png").exists()


def test_without_matplotlib_a_plot_says_what_to_install(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What stands first on the path is imported first: a matplotlib that is as good as not installed.
    (place / "hidden").mkdir()
    (place / "hidden" / "matplotlib.py").write_text("raise ModuleNotFoundError('no', name='matplotlib')")
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(place / "hidden"), os.environ.get("PYTHONPATH", "")])
    )
    line = run("runs", "show", "runs/one", "--plot", "one.png", cwd=place).refusal()
    assert line == "error: this needs matplotlib: pip install '.[plot]' where crystalline's sources are"
    assert not (place / "one.png").exists()
    told(run("runs", "show", "runs/one", cwd=place))
    told(run("runs", "compare", "runs/one", "runs/other", cwd=place))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("list", "nowhere"), "there is no folder nowhere"),
        (("list", "file"), "there is no folder file"),
        (("show", "nowhere"), "nowhere does not exist"),
        (("show", "file"), "file is a file"),
        (("show", "runs"), "holds no training run"),
        (("show", "runs/one", "--smooth", "0"), "smooth"),
        (("show", "runs/one", "--smooth", "many"), "smooth"),
        (("show",), "RUN"),
        (("compare", "runs/one", "nowhere"), "nowhere does not exist"),
        (("compare", "runs/one"), "2 to 26"),
        (("compare", *["runs/one"] * 27), "2 to 26"),
        (("compare",), "RUN"),
        (("compare", "runs/one", "runs/other", "--metric", "beauty"), "beauty"),
        (("compare", "runs/one", "runs/other", "--by", "moon"), "moon"),
        (("lsit",), "list"),
    ],
)
def test_what_cannot_be_used_is_refused(place: Path, words: tuple[str, ...], complaint: str) -> None:
    (place / "file").write_text("")
    assert complaint in run("runs", *words, cwd=place).refusal()


@pytest.mark.parametrize(
    "content",
    [b"garbage\n", b"garbage", b"\x89PNG\r\n\x1a\n\0\0", b"\0" * 5000, b'{"kind": "step", "step": "x"}\n'],
)
def test_metrics_that_are_damaged(place: Path, content: bytes) -> None:
    (place / "runs" / "one" / "metrics.jsonl").write_bytes(content)
    for words in (("show", "runs/one"), ("compare", "runs/other", "runs/one")):
        assert "runs/one/metrics.jsonl: line 1" in run("runs", *words, cwd=place).refusal()


def test_empty_metrics_are_a_run_that_has_just_begun(place: Path) -> None:
    (place / "runs" / "one" / "metrics.jsonl").write_bytes(b"")
    assert "recorded yet" in told(run("runs", "show", "runs/one", cwd=place))


def test_a_name_that_would_move_the_cursor(place: Path) -> None:
    name = "a\x1b[2Jb\nc\udcffd"
    make_run(place / "odd" / name, FALLING)
    for words in (("list", "odd"), ("show", f"odd/{name}"), ("compare", f"odd/{name}", "runs/one")):
        assert "a?[2Jb?c?d" in told(run("runs", *words, cwd=place))
    (found,) = run("runs", "list", "odd", "--json", cwd=place).json()["runs"]
    assert found["run"] == f"odd/{name}"


def test_where_braille_cannot_be_written_the_curve_is_ascii(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    text = told(run("runs", "show", "runs/one", cwd=place))
    assert text.isascii()
    assert "5 |o" in text
    assert "?" not in text


def test_a_reader_that_leaves_is_no_reason_for_a_traceback(place: Path) -> None:
    process = subprocess.Popen(
        [CRYSTALLINE, "runs", "show", "runs/one"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        cwd=place,
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read()
        process.wait(timeout=LIMIT_S)
    assert b"Traceback" not in said


def test_a_long_run_is_listed_and_shown(place: Path) -> None:
    content: list[dict[str, Any]] = [step_line(step, 1 + 1 / step) for step in range(1, 50_001)]
    content.append(epoch_line(1, 50_000, 1.0))
    (place / "runs" / "one" / "metrics.jsonl").write_bytes(encoded(content))
    assert run("runs", "list", "--json", cwd=place).json()["runs"][0]["steps"] == 50_000
    told(run("runs", "show", "runs/one", "--smooth", "100", cwd=place))
