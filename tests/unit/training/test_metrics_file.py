"""metrics.jsonl: no line twice, none missing, whatever happened to the run before."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from crystalline.training.metrics import Metrics

if TYPE_CHECKING:
    from pathlib import Path


def steps_in(path: Path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text(encoding="utf-8").splitlines()]


def filled(*steps: int) -> Metrics:
    metrics = Metrics()
    for step in steps:
        metrics.append({"step": step})
    return metrics


def test_lines_are_kept_until_there_is_a_file_and_then_written_at_once(tmp_path: Path) -> None:
    metrics, path = filled(1, 2), tmp_path / "metrics.jsonl"
    with metrics.settle(path):
        metrics.append({"step": 3})
    metrics.append({"step": 4})
    assert steps_in(path) == [1, 2, 3, 4]
    assert metrics.size == path.stat().st_size
    metrics.sync()
    metrics.close()
    metrics.close()


def test_a_file_that_follows_its_folder_is_still_the_file(tmp_path: Path) -> None:
    metrics = filled(1)
    (tmp_path / "fresh").mkdir()
    with metrics.settle(tmp_path / "fresh" / "metrics.jsonl"):
        (tmp_path / "fresh").rename(tmp_path / "out")
    metrics.append({"step": 2})
    assert steps_in(tmp_path / "out" / "metrics.jsonl") == [1, 2]
    metrics.close()


def test_a_settlement_that_fails_loses_no_line(tmp_path: Path) -> None:
    def fail() -> None:
        with metrics.settle(tmp_path / "first"):
            metrics.append({"step": 2})
            (tmp_path / "first").unlink()
            raise OSError(errno.ENOSPC, "full")

    metrics = filled(1)
    with pytest.raises(OSError, match="full"):
        fail()
    metrics.append({"step": 3})
    with metrics.settle(tmp_path / "second"):
        pass
    assert steps_in(tmp_path / "second") == [1, 2, 3]
    metrics.close()


def test_a_file_that_cannot_be_made_leaves_the_lines_in_memory(tmp_path: Path) -> None:
    metrics = filled(1)
    with pytest.raises(FileNotFoundError), metrics.settle(tmp_path / "nowhere" / "metrics"):
        pytest.fail("the block must not run")
    with metrics.settle(tmp_path / "metrics"):
        pass
    assert steps_in(tmp_path / "metrics") == [1]
    metrics.close()


@pytest.mark.parametrize("bytes_lost", [0, 3])
def test_going_on_cuts_the_file_to_the_checkpoint(tmp_path: Path, bytes_lost: int) -> None:
    path, before = tmp_path / "metrics.jsonl", filled(1, 2, 3)
    size = before.size
    with before.settle(path):
        before.append({"step": 4})
    before.close()
    os.truncate(path, path.stat().st_size - bytes_lost)  # as the machine may leave it when it dies
    after = Metrics.resumed(path, size)
    assert after.size == size
    after.append({"step": 4})
    after.append({"step": 5})
    assert steps_in(path) == [1, 2, 3, 4, 5]
    after.close()


@pytest.mark.parametrize("left", [b"", b'{"step": 1}\n{"st'])
def test_a_file_that_is_too_short_goes_on_with_its_whole_lines(
    tmp_path: Path, left: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "metrics.jsonl"
    if left:
        path.write_bytes(left)
    with caplog.at_level("WARNING", "crystalline"):
        metrics = Metrics.resumed(path, 1000)
    assert "has lost lines" in caplog.text
    metrics.append({"step": 9})
    assert steps_in(path) == ([1, 9] if left else [9])
    metrics.close()


def test_another_folder_begins_with_a_copy_and_the_first_stays_as_it_is(tmp_path: Path) -> None:
    before = filled(1, 2)
    with before.settle(tmp_path / "a"):
        before.append({"step": 3})
    before.close()
    copied = Metrics.copied(tmp_path / "a", filled(1, 2).size)
    with copied.settle(tmp_path / "b"):
        copied.append({"step": 3})
    assert steps_in(tmp_path / "b") == [1, 2, 3]
    assert steps_in(tmp_path / "a") == [1, 2, 3]
    copied.close()


def test_a_line_is_written_whole_even_if_the_system_takes_it_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def by_threes(handle: int, content: Any) -> int:
        return write(handle, bytes(content[:3]))

    metrics = filled(1)
    monkeypatch.setattr(os, "write", by_threes)
    with metrics.settle(tmp_path / "metrics"):
        metrics.append({"step": 22222})
    assert steps_in(tmp_path / "metrics") == [1, 22222]
    metrics.close()
