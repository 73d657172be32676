"""Every option of `crystalline train` changes something that can be seen, and every one is tested."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, get_type_hints

import pytest

from actors.tracing import Trace, read_trace
from crystalline.cli.train import train
from tests.helpers.command import TINY, run, run_program
from tests.helpers.event_files import shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.helpers.command import Finished

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Run:
    """What a run left behind."""

    done: Finished
    out: Path

    @property
    def report(self) -> dict[str, Any]:
        return self.done.json()

    @property
    def model(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.out / "config.json").read_text())
        return found

    @property
    def checkpoints(self) -> list[str]:
        return sorted(path.name for path in (self.out / "checkpoints").iterdir())


def weights(of: Run) -> str:
    return str(of.report["weights_sha256"])


def model(key: str) -> Callable[[Run], Any]:
    return lambda of: of.model[key]


def report(key: str) -> Callable[[Run], Any]:
    return lambda of: of.report[key]


# Option -> the value to give it, and what must be another than without it.
EFFECTS: dict[str, tuple[str, Callable[[Run], Any]]] = {
    "vocab-size": ("280", model("vocab_size")),
    "seq-len": ("8", model("max_position_embeddings")),
    "val-fraction": ("0", report("val_loss")),
    "layers": ("2", model("num_hidden_layers")),
    "dim": ("32", model("hidden_size")),
    "heads": ("1", model("num_attention_heads")),
    "kv-heads": ("1", model("num_key_value_heads")),
    "ffn-dim": ("24", model("intermediate_size")),
    "epochs": ("2", report("epochs")),
    "steps": ("1", report("steps")),
    "batch-size": ("12", report("steps")),
    "lr": ("0.5", weights),
    "warmup": ("1", weights),
    "weight-decay": ("0.9", weights),
    "clip": ("0.001", weights),
    "seed": ("1", weights),
    "spheres": ("3", report("spheres")),
    "shards": ("5", weights),
    "save-every": ("1", lambda of: of.checkpoints),
}
# Options whose effect is not a value in a table: the name of the test that sees it.
ELSEWHERE = {
    "out": "test_out_is_where_the_model_is",
    "epoch-timeout": "test_an_epoch_that_takes_too_long_fails",
    "trace": "test_trace_records_the_messages",
    "trace-level": "test_the_level_of_a_trace_says_what_is_recorded",
    "trace-sample": "test_a_sample_of_nothing_leaves_what_happens_to_actors",
    "trace-payloads": "test_a_trace_may_hold_what_is_in_the_messages_and_takes_no_more_room_than_it_may",
    "trace-bytes": "test_a_trace_may_hold_what_is_in_the_messages_and_takes_no_more_room_than_it_may",
    "config": "test_a_config_file_gives_options_and_the_command_line_wins",
    "json": "test_json_is_one_object_with_the_agreed_keys",
    "quiet": "test_quiet_prints_nothing",
    "force": "test_force_replaces_a_run",
    "tensorboard": "test_tensorboard_writes_event_files_that_go_on_after_a_resume",
    "keep": "test_so_many_checkpoints_are_kept",
    "dump-signal": "test_the_dump_signal_is_the_one_that_is_heard",
    "log-format": "test_the_log_is_written_as_asked",
    "log-level": "test_the_log_is_written_as_asked",
    "resume": "test_resume_goes_on_with_settings_and_text_of_the_run",
    "recompute": "test_recompute_takes_less_memory_and_changes_no_weight",
    "on-loss": "test_on_loss_decides_what_a_lost_sphere_ends",
    "on-nonfinite": "test_on_nonfinite_decides_what_a_number_that_is_none_ends",
}


@pytest.fixture(scope="module")
def trainer(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Train with some more words; the same words give the same run."""

    @cache
    def trained(*words: str) -> Run:
        out = tmp_path_factory.mktemp("run") / "out"
        return Run(run("train", text, *TINY, "--out", out, "--json", *words), out)

    return trained


def test_no_option_is_without_a_test() -> None:
    options = {name.replace("_", "-") for name in get_type_hints(train)} - {"ctx", "data", "return"}
    assert EFFECTS.keys() | ELSEWHERE.keys() == options
    assert set(ELSEWHERE.values()) <= globals().keys()


@pytest.mark.parametrize("option", EFFECTS)
def test_the_option_has_an_effect(trainer: Callable[..., Run], option: str) -> None:
    value, seen = EFFECTS[option]
    assert seen(trainer(f"--{option}", value)) != seen(trainer())


def test_what_does_not_decide_the_result_does_not_change_it(trainer: Callable[..., Run]) -> None:
    runs = [trainer(), trainer("--spheres", "3"), trainer("--save-every", "1")]
    assert len({weights(each) for each in runs}) == 1


def test_out_is_where_the_model_is(trainer: Callable[..., Run]) -> None:
    assert trainer().report["model"] == str(trainer().out)


def test_an_epoch_that_takes_too_long_fails(text: Path, tmp_path: Path) -> None:
    done = run("train", text, *TINY, "--out", tmp_path / "out", "--epoch-timeout", "0.000001")
    assert done.code == 1
    error, *notes = done.err.splitlines()[1:]
    assert error.startswith("error: epoch 1 was not done within 1e-06 s")
    assert notes[0].startswith("  outside waits for /root (reply to crystalline.train_epoch) for ")
    assert "Traceback" not in done.err


def test_trace_records_the_messages(trainer: Callable[..., Run], tmp_path: Path) -> None:
    trainer("--trace", str(tmp_path / "trace"))
    actors = {event.actor for event in read_trace(tmp_path / "trace")}
    assert {"/root", "/root/sphere-0", "/root/sphere-1"} <= actors


def test_the_level_of_a_trace_says_what_is_recorded(trainer: Callable[..., Run], tmp_path: Path) -> None:
    trainer("--trace", str(tmp_path / "trace"), "--trace-level", "waits")
    kinds = {event.kind for event in Trace.open(tmp_path / "trace")}
    assert ({"start", "state", "job"} <= kinds, "receive" in kinds) == (True, False)


def test_a_sample_of_nothing_leaves_what_happens_to_actors(
    trainer: Callable[..., Run], tmp_path: Path
) -> None:
    trainer("--trace", str(tmp_path / "trace"), "--trace-sample", "0")
    kinds = {event.kind for event in Trace.open(tmp_path / "trace")}
    assert ({"start", "state", "end"} <= kinds, "receive" in kinds) == (True, False)


def test_a_trace_may_hold_what_is_in_the_messages_and_takes_no_more_room_than_it_may(
    trainer: Callable[..., Run], tmp_path: Path
) -> None:
    more = ("--trace-payloads", "hash", "--trace-bytes", "64KiB", "--epochs", "20")
    trainer("--trace", str(tmp_path / "trace"), *more)
    trace = Trace.open(tmp_path / "trace")
    assert all(event.payload for event in trace.select(kinds={"send"}))
    assert trace.rotated
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 64 * 1024


def test_a_config_file_gives_options_and_the_command_line_wins(
    text: Path, trainer: Callable[..., Run], tmp_path: Path
) -> None:
    config = tmp_path / "run.toml"
    config.write_text('batch-size = 12\nval_fraction = 0\nseed = 7\njson = true\nout = "named-in-the-file"\n')
    tiny = [
        word for pair in zip(TINY[::2], TINY[1::2], strict=True) if pair[0] != "--batch-size" for word in pair
    ]
    by_file = run("train", text, *tiny, "--config", config, "--seed", "1", cwd=tmp_path).json()
    by_words = trainer("--batch-size", "12", "--val-fraction", "0", "--seed", "1").report
    assert by_file["weights_sha256"] == by_words["weights_sha256"]
    assert (tmp_path / "named-in-the-file" / "config.json").is_file()


def test_json_is_one_object_with_the_agreed_keys(trainer: Callable[..., Run]) -> None:
    keys = "epochs steps tokens train_loss val_loss tokens_per_s wall_s spheres shards parameters model"
    spent = "sphere_busy sphere_waiting sphere_idle peak_rss_bytes planned_bytes"
    assert set(trainer().report) == {*keys.split(), "weights_sha256", *spent.split()}
    assert len(trainer().done.out.splitlines()) == 1


def test_quiet_prints_nothing(text: Path, tmp_path: Path, trainer: Callable[..., Run]) -> None:
    silent = run("train", text, *TINY, "--out", tmp_path / "out", "--quiet")
    assert (silent.code, silent.out, silent.err) == (0, "", "")
    assert "crystalline generate" in trainer().done.err


def test_force_replaces_a_run(trainer: Callable[..., Run], text: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("train", text, *TINY, "--out", out, "--seed", "1").code == 0
    assert run("train", text, *TINY, "--out", out).code == 2
    assert run("train", text, *TINY, "--out", out, "--force", "--json").json()["weights_sha256"] == weights(
        trainer()
    )


def test_so_many_checkpoints_are_kept(trainer: Callable[..., Run]) -> None:
    often = trainer("--save-every", "1")
    assert len(often.checkpoints) == 2
    assert len(trainer("--save-every", "1", "--keep", "1").checkpoints) == 1
    assert len(trainer("--save-every", "1", "--keep", "1000").checkpoints) == often.report["steps"]


def test_a_time_between_checkpoints_is_as_good_as_steps(trainer: Callable[..., Run]) -> None:
    assert trainer("--save-every", "0.000001s").checkpoints == trainer("--save-every", "1").checkpoints
    assert trainer("--save-every", "0").checkpoints == trainer("--save-every", "2h").checkpoints


def test_resume_goes_on_with_settings_and_text_of_the_run(
    trainer: Callable[..., Run], text: Path, tmp_path: Path
) -> None:
    whole = trainer("--seed", "3", "--spheres", "1", "--save-every", "1", "--keep", "1000")
    half = whole.checkpoints[len(whole.checkpoints) // 2 - 1]
    shutil.copytree(whole.out, tmp_path / "out", symlinks=True)
    checkpoint = tmp_path / "out" / "checkpoints" / half
    done = run("train", "--resume", checkpoint, "--spheres", "4", "--json")
    assert done.json()["weights_sha256"] == weights(whole)
    assert (done.json()["model"], done.json()["spheres"]) == (str(tmp_path / "out"), 4)
    steps = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    taken = [record["step"] for record in steps if record["kind"] == "step"]
    assert taken == list(range(1, whole.report["steps"] + 1)), "no gap, and none twice"
    refused = run("train", text, "--resume", tmp_path / "out", "--lr", "0.5")
    assert (refused.code, "lr was 0.003 and is 0.5" in refused.err) == (2, True)
    assert run("train", "--resume", tmp_path / "out", "--force").code == 2
    text_of_another = tmp_path / "other.txt"
    text_of_another.write_text(text.read_text() + "and more")
    refused = run("train", text_of_another, "--resume", tmp_path / "out")
    assert (refused.code, "the text is another one" in refused.err) == (2, True)


def test_on_loss_decides_what_a_lost_sphere_ends(
    trainer: Callable[..., Run], text: Path, tmp_path: Path
) -> None:
    words: list[str | Path] = ["train", text, *TINY, "--spheres", "3", "--json", "--out"]
    ended = run_program("broken_sphere.py", *words, tmp_path / "fail")
    assert (ended.code, "/root/sphere-1 could not do its part" in ended.err) == (1, True)
    others = run_program("broken_sphere.py", *words, tmp_path / "others", "--on-loss", "redistribute")
    assert others.json()["weights_sha256"] == weights(trainer())
    assert "/root/sphere-1 is lost, the others do its part from now on" in others.err


def test_on_nonfinite_decides_what_a_number_that_is_none_ends(
    trainer: Callable[..., Run], text: Path, tmp_path: Path
) -> None:
    words: list[str | Path] = ["train", text, *TINY, "--json", "--out"]
    ended = run_program("broken_number.py", *words, tmp_path / "fail")
    assert (ended.code, "step 2: the loss of shard 0 is nan" in ended.err) == (1, True)
    skipping = run_program("broken_number.py", *words, tmp_path / "skip", "--on-nonfinite", "skip")
    assert skipping.json()["steps"] == trainer().report["steps"]
    assert "1 steps were skipped" in skipping.err
    lines = (tmp_path / "skip" / "metrics.jsonl").read_text().splitlines()
    skipped = [record["step"] for record in map(json.loads, lines) if record.get("skipped")]
    assert skipped == [2]


def test_recompute_takes_less_memory_and_changes_no_weight(trainer: Callable[..., Run]) -> None:
    keeping, recomputing = trainer("--layers", "6"), trainer("--layers", "6", "--recompute")
    assert weights(recomputing) == weights(keeping)
    assert recomputing.report["planned_bytes"] < keeping.report["planned_bytes"]


def test_tensorboard_writes_event_files_that_go_on_after_a_resume(
    trainer: Callable[..., Run], tmp_path: Path
) -> None:
    whole, board = trainer("--save-every", "1", "--keep", "1000"), tmp_path / "board"
    trainer("--save-every", "1", "--keep", "1000", "--tensorboard", str(board))
    losses = [(step, round(loss, 5)) for step, loss in shown(board)["step/loss"]]
    assert [step for step, _ in losses] == list(range(1, whole.report["steps"] + 1))
    shutil.copytree(whole.out, tmp_path / "out", symlinks=True)
    half = tmp_path / "out" / "checkpoints" / whole.checkpoints[0]
    run("train", "--resume", half, "--tensorboard", board, "--json").json()
    assert [(step, round(loss, 5)) for step, loss in shown(board)["step/loss"]] == losses


def test_the_dump_signal_is_the_one_that_is_heard(text: Path, tmp_path: Path) -> None:
    # Before there are actors to tell of, it harms nobody; test_signal_dump.py has what it tells later.
    words: list[str | Path] = ["train", text, *TINY, "--json", "--dump-signal", "USR2", "--out"]
    signalled = run_program("signalled_early.py", *words, tmp_path / "out")
    assert signalled.json()["steps"] > 0
    assert "no actors are at work now: nothing to tell of" in signalled.err


def test_the_log_is_written_as_asked(text: Path, tmp_path: Path) -> None:
    words: list[str | Path] = ["train", text, *TINY, "--spheres", "3", "--on-loss", "redistribute", "--out"]
    done = run_program("broken_sphere.py", *words, tmp_path / "json", "--log-format", "json", "--quiet")
    lines = [json.loads(line) for line in done.err.splitlines()]
    (lost,) = [line for line in lines if "is lost, the others do its part" in line["message"]]
    assert (done.code, lost["level"], lost["logger"], lost["actor"]) == (0, "WARNING", "crystalline", "/root")
    assert lost["msg_id"] > 0
    silent = run_program("broken_sphere.py", *words, tmp_path / "none", "--log-level", "error", "--quiet")
    assert (silent.code, "is lost" in silent.err) == (0, False)
