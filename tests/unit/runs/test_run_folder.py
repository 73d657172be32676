"""Which folders are runs, and what they say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from crystalline.errors import InputError, ModelFolderError, RunFolderError
from crystalline.runs import find_runs, open_run, summarise
from tests.helpers.run_folders import BEGIN_S, SHA256, make_run

if TYPE_CHECKING:
    from pathlib import Path


def test_runs_are_found_at_any_depth_and_in_order(tmp_path: Path) -> None:
    for name in ("b", "a/deep/one", "a/other"):
        make_run(tmp_path / name, [1.0])
    (tmp_path / "notes").mkdir()
    names = [str(path.relative_to(tmp_path)) for path in find_runs(tmp_path)]
    assert names == ["a/deep/one", "a/other", "b"]


def test_a_run_folder_is_found_by_itself(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [1.0])
    assert find_runs(run) == [run]


def test_without_a_checkpoint_or_without_metrics_it_is_a_run(tmp_path: Path) -> None:
    make_run(tmp_path / "begun", [1.0], checkpoint=False)
    make_run(tmp_path / "old", None)
    assert [path.name for path in find_runs(tmp_path)] == ["begun", "old"]


def test_a_run_that_is_being_written_and_what_is_linked_to_is_not_found(tmp_path: Path) -> None:
    make_run(tmp_path / "below" / ".mine.new-0123", [1.0])
    make_run(tmp_path / "elsewhere" / "run", [1.0])
    (tmp_path / "below" / "link").symlink_to(tmp_path / "elsewhere")
    assert find_runs(tmp_path / "below") == []


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="there is no folder"):
        find_runs(tmp_path / "nowhere")


def test_settings_of_training_and_model_are_read(tmp_path: Path) -> None:
    record = open_run(make_run(tmp_path / "run", [1.0])).record
    assert record is not None
    assert (record.step, record.epoch, record.weights_sha256) == (8, 2, SHA256)
    assert (record.data, record.data_fingerprint) == ("text.txt", "fe" * 32)
    assert record.settings["lr"] == 0.003
    assert (record.settings["dim"], record.settings["layers"], record.settings["seq_len"]) == (16, 1, 16)


def test_a_checkpoint_that_says_less_is_read_too(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", None)
    (run / "latest" / "training" / "progress.json").write_text('{"step": "eight", "settings": [], "data": 5}')
    (run / "latest" / "config.json").unlink()
    record = open_run(run).record
    assert record is not None
    assert (record.step, record.epoch, record.weights_sha256, record.data) == (None, None, None, None)
    assert record.settings == {}


def test_metrics_count_where_they_are_ahead_of_the_checkpoint(tmp_path: Path) -> None:
    summary = summarise(
        open_run(make_run(tmp_path / "run", [5.0, 4.0, 3.0, 2.0, 1.5, 1.25, 1.0, None, None]))
    )
    assert (summary.steps, summary.epoch) == (9, 3)
    assert summary.last_loss == 1.0, "of the last step that was not skipped"
    assert summary.best_val_loss == 2.25
    assert summary.tokens_per_s == 200.0
    assert (summary.spheres, summary.weights_sha256) == (2, SHA256)
    assert summary.time == BEGIN_S + 9


def test_without_metrics_the_checkpoint_counts(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", None)
    summary = summarise(open_run(run))
    assert (summary.steps, summary.epoch, summary.weights_sha256) == (8, 2, SHA256)
    assert summary.time == (run / "latest" / "training" / "progress.json").stat().st_mtime
    assert summary.to_json()["last_loss"] is None


def test_a_run_without_a_step_has_a_summary(tmp_path: Path) -> None:
    summary = summarise(open_run(make_run(tmp_path / "run", [], checkpoint=False)))
    assert set(summary.to_json().values()) == {str(tmp_path / "run"), None}
    json.dumps(summary.to_json(), allow_nan=False)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for name, complaint in [
        ("file", "is a file"),
        ("folder", "holds no training run"),
        ("nowhere", "does not exist"),
    ]:
        with pytest.raises(RunFolderError, match=complaint):
            open_run(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"not JSON", b"[]", b"\xff", b"[" * 100_000])
@pytest.mark.parametrize("name", ["training/progress.json", "config.json"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    run = make_run(tmp_path / "run", [1.0])
    (run / "latest" / name).write_bytes(content)
    with pytest.raises(InputError, match=name):
        open_run(run)


def test_a_model_of_another_kind_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", [1.0])
    (run / "latest" / "config.json").write_text('{"model_type": "gpt2"}')
    with pytest.raises(ModelFolderError, match=r"config\.json: model_type"):
        open_run(run)


def test_metrics_that_are_a_folder_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", None)
    (run / "metrics.jsonl").mkdir()
    with pytest.raises(RunFolderError, match="is no file"):
        open_run(run)
