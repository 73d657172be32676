"""What a run looks like while it lasts: in a terminal, in a file, and not at all."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from crystalline.cli import progress as progress_module
from crystalline.cli.pace import Pace
from crystalline.cli.progress import epoch_line, progress, step_line
from crystalline.training import EpochDone, Saved, StepDone

if TYPE_CHECKING:
    from crystalline.training.events import Event

STEP = StepDone(
    epoch=1,
    epochs=3,
    step=1,
    steps=10,
    loss=4.0,
    grad_norm=1.0,
    learning_rate=0.1,
    tokens=100,
    seconds=0.5,
    busy=(0.5, 1.0),
    waiting=(0.25, 0.0),
)
EPOCH = EpochDone(
    epoch=1, epochs=3, step=10, train_loss=3.5, val_loss=3.25, tokens=1000, seconds=5.0, spheres=()
)
EVENTS: list[Event] = [STEP, replace(STEP, step=2), EPOCH, Saved("out/step-2", 2, "00")]


def test_nothing_is_known_before_the_first_step() -> None:
    pace = Pace()
    assert (pace.tokens_per_s, pace.left_s, step_line(pace)) == (0.0, 0.0, "")
    assert (pace.busy, pace.waiting) == ([], [])


def test_figures_are_means_over_tokens_and_time() -> None:
    pace = Pace()
    pace.take(STEP)
    second = replace(STEP, step=2, loss=1.0, tokens=300, seconds=1.5, busy=(0.5, 0.0), waiting=(0.0, 0.5))
    pace.take(second)
    assert pace.epoch_loss == pytest.approx((100 * 4.0 + 300 * 1.0) / 400)
    assert pace.tokens_per_s == pytest.approx(400 / 2.0)
    assert pace.left_s == pytest.approx(8 * 1.0)
    assert pace.busy == pytest.approx([0.5, 0.5])
    assert pace.waiting == pytest.approx([0.125, 0.25])


def test_an_epoch_begins_its_own_mean() -> None:
    pace = Pace()
    pace.take(STEP)
    pace.take(replace(STEP, epoch=2, step=2, loss=2.0))
    assert pace.epoch_loss == 2.0


def test_only_the_last_steps_set_the_pace() -> None:
    pace = Pace()
    pace.take(replace(STEP, seconds=1e6))
    for step in range(2, 30):
        pace.take(replace(STEP, step=step, steps=40))
    assert pace.left_s == pytest.approx((40 - 29) * 0.5)


@given(losses=st.lists(st.tuples(st.floats(0, 20), st.integers(1, 5000)), min_size=1, max_size=50))
def test_the_epoch_loss_is_the_mean_over_all_tokens(losses: list[tuple[float, int]]) -> None:
    pace = Pace()
    for loss, tokens in losses:
        pace.take(replace(STEP, loss=loss, tokens=tokens))
    expected = sum(loss * tokens for loss, tokens in losses) / sum(tokens for _, tokens in losses)
    assert pace.epoch_loss == pytest.approx(expected)


def test_a_line_holds_what_people_ask_for() -> None:
    pace = Pace()
    pace.take(replace(STEP, steps=10_000))
    assert step_line(pace) == (
        "epoch 1/3  step 1/10000  loss 4.000  epoch loss 4.000  200 tokens/s  1:23:20 left"
    )
    assert epoch_line(EPOCH) == (
        "epoch 1/3 done: train 3.500, validation 3.250 nats per token, 10 steps, 200 tokens/s"
    )
    assert "validation" not in epoch_line(replace(EPOCH, val_loss=None))


def test_a_narrow_terminal_loses_fields_but_not_the_time_left() -> None:
    pace = Pace()
    pace.take(STEP)
    lines = [step_line(pace, width) for width in range(100, 0, -1)]
    assert lines[0] == step_line(pace)
    assert all("left" in line for line in lines)
    assert all(len(line) <= width for line, width in zip(lines, range(100, 9, -1), strict=False))
    assert step_line(pace, 50) == "epoch 1/3  step 1/10  loss 4.000  0:04 left"


def shown(console: Console) -> str:
    with progress(console, "preparing some text") as show:
        for event in EVENTS:
            show(event)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_file_gets_a_line_an_epoch() -> None:
    console = Console(file=io.StringIO(), width=40, soft_wrap=True)
    assert shown(console) == f"preparing some text\n{epoch_line(EPOCH)}\n"


def test_a_file_gets_a_line_when_one_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = iter(range(0, 1000, 3))
    monkeypatch.setattr(progress_module, "monotonic", lambda: float(next(now_s)))
    text = shown(Console(file=io.StringIO(), soft_wrap=True))
    assert "step 2/10" in text
    assert "step 1/10" not in text


def test_a_terminal_gets_a_display_that_shows_the_spheres() -> None:
    text = shown(Console(file=io.StringIO(), force_terminal=True, width=100, height=30, highlight=False))
    assert epoch_line(EPOCH) in text
    assert "sphere-1   busy 100%" in text
    assert "out/step-2" in text


def test_a_terminal_shows_that_preparing_goes_on() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=60)
    with progress(console, "preparing [some] text ..."):
        pass
    assert isinstance(console.file, io.StringIO)
    assert "preparing [some] text ... 0:00" in console.file.getvalue()


def test_a_quiet_console_gets_nothing() -> None:
    assert shown(Console(file=io.StringIO(), force_terminal=True, quiet=True)) == ""
