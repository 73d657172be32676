"""What training wrote is read back; what it did not write is refused by line."""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalline.errors import RunFolderError
from crystalline.runs import EpochRow, Metrics, StepRow, parse_metrics, read_metrics
from tests.helpers.run_folders import encoded, epoch_line, lines, step_line

if TYPE_CHECKING:
    from pathlib import Path


def test_every_field_is_read() -> None:
    content = [
        step_line(1, 5.1, spike=True),
        step_line(2, None, skipped="loss of shard 3 is not finite"),
        epoch_line(1, 2, 5.0),
    ]
    assert parse_metrics(encoded(content), "m").epochs == (
        EpochRow(epoch=1, step=2, train_loss=3.0, val_loss=5.0, tokens=400, seconds=2.0, time=1700000002.0),
    )
    first, second = parse_metrics(encoded(content), "m").steps
    assert first == StepRow(
        step=1,
        epoch=1,
        loss=5.1,
        grad_norm=1.5,
        lr=0.001,
        tokens=100,
        seconds=0.5,
        time=1700000001.0,
        spike=True,
        skipped=None,
    )
    assert (second.spike, second.skipped) == (False, "loss of shard 3 is not finite")
    assert math.isnan(second.loss)


def test_an_empty_file_is_a_run_that_has_not_begun() -> None:
    assert parse_metrics(b"", "m") == Metrics()


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_loss_is_read_to_the_last_bit(loss: float) -> None:
    (row,) = parse_metrics(encoded([step_line(1, loss)]), "m").steps
    assert row.loss.hex() == loss.hex()


def test_what_is_not_known_is_passed_over() -> None:
    content = [{"kind": "weather", "rain": True}, step_line(1, 2.0, mood="good"), {"no": "kind"}]
    assert [row.step for row in parse_metrics(encoded(content), "m").steps] == [1]


def test_what_was_not_recorded_is_nan() -> None:
    (row,) = parse_metrics(b'{"kind": "step", "step": 3}\n', "m").steps
    assert (row.step, row.epoch) == (3, 0)
    assert all(map(math.isnan, (row.loss, row.grad_norm, row.lr, row.tokens, row.seconds, row.time)))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "1" + "0" * 400])
def test_what_is_not_finite_is_nan(number: str) -> None:
    (row,) = parse_metrics(f'{{"kind": "step", "step": 3, "loss": {number}}}\n'.encode(), "m").steps
    assert not math.isfinite(row.loss)


def test_the_last_line_about_a_step_counts_and_steps_are_in_order() -> None:
    content = [step_line(1, 9.0), step_line(3, 8.0), step_line(2, 7.0), step_line(3, 6.0)]
    assert [(row.step, row.loss) for row in parse_metrics(encoded(content), "m").steps] == [
        (1, 9.0),
        (2, 7.0),
        (3, 6.0),
    ]


def test_wherever_the_file_of_a_killed_run_ends_its_whole_lines_are_read() -> None:
    content = encoded(lines([5.0, 4.0, 3.0, 2.0]))
    for end in range(len(content) + 1):
        whole = content[:end].count(b"\n")
        # A line that lacks nothing but its end is whole.
        whole += end < len(content) and content[end : end + 1] == b"\n"
        found = parse_metrics(content[:end], "m")
        assert len(found.steps) + len(found.epochs) == whole


@pytest.mark.parametrize(
    "line",
    [
        b"garbage",
        b"",
        b"[1, 2]",
        b"null",
        b"17",
        b'{"kind": "step", "st',
        b'{"kind": "step"}',
        b'{"kind": "step", "step": "one"}',
        b'{"kind": "step", "step": true}',
        b'{"kind": "step", "step": -1}',
        b'{"kind": "step", "step": 1.5}',
        b'{"kind": "step", "step": 1e400}',
        b'{"kind": "step", "step": 1' + b"0" * 30 + b"}",
        b'{"kind": "step", "step": 1, "loss": "low"}',
        b'{"kind": "step", "step": 1, "loss": true}',
        b'{"kind": "step", "step": 1, "skipped": 5}',
        b'{"kind": "epoch", "epoch": 1}',
        b"\x00\xff\xfe",
        b'{"kind": "st\xffep"}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_line_is_named(line: bytes) -> None:
    content = encoded([step_line(1, 5.0)]) + line + b"\n" + encoded([step_line(2, 4.0)])
    with pytest.raises(RunFolderError, match=r"^runs/mine/metrics\.jsonl: line 2\b"):
        parse_metrics(content, "runs/mine/metrics.jsonl")


@pytest.mark.parametrize("content", [b"garbage", b"garbage\n", b"\x89PNG\r\n\x1a\n", b"\x00" * 100])
def test_a_file_of_another_kind_is_damaged_at_its_first_line(content: bytes) -> None:
    with pytest.raises(RunFolderError, match="line 1 is not a JSON object"):
        parse_metrics(content, "m")


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    _read_or_refused(content)


_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.lists(st.none())


@given(
    st.lists(
        st.fixed_dictionaries(
            {"kind": st.sampled_from(["step", "epoch"])},
            optional=dict.fromkeys(
                ["step", "epoch", "loss", "time", "skipped", "val_loss", "tokens"], _VALUES
            ),
        )
    )
)
def test_any_objects_are_read_or_refused(content: list[dict[str, Any]]) -> None:
    _read_or_refused("".join(json.dumps(each) + "\n" for each in content).encode())


def _read_or_refused(content: bytes) -> None:
    try:
        found = parse_metrics(content, "m")
    except RunFolderError as error:
        assert str(error).startswith("m: line ")  # noqa: PT017  (both ends are allowed)
    else:
        numbers = [row.step for row in found.steps]
        assert numbers == sorted(set(numbers))


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "metrics.jsonl")
    with pytest.raises(RunFolderError, match="is no file"):
        read_metrics(tmp_path / "metrics.jsonl")
