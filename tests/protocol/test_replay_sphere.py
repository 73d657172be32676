"""A sphere of a recorded run computes the same gradients once more; another kernel is caught at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pytest

from actors import Replay, ReplayDiffers
from actors.tracing import Trace, TraceOptions, TraceQueryError, read_payload
from crystalline.errors import SettingError
from crystalline.model import loss_and_gradient
from crystalline.training import SavedRun, Trainer, replay_sphere, replaying, work
from crystalline.training.messages import ComputeShards, ReduceSlices
from tests.helpers.training import CORPUS, MODEL, SKEWED, settings

if TYPE_CHECKING:
    from pathlib import Path

    from actors.tracing.options import Payloads
    from crystalline.training import TrainConfig

STEPS: Final = 6
CHANGED_AT: Final = 4
TRAIN: Final = settings(spheres=3, epochs=2, steps=STEPS, save_every=2, keep=10)


class Recorded(NamedTuple):
    """A run with its trace."""

    trace: Trace
    run: Path


def record(
    folder: Path, payloads: Payloads, train: TrainConfig = TRAIN, resume: Path | None = None
) -> Recorded:
    run, trace = folder / "run", folder / "run.trace"

    async def fit() -> None:
        options = TraceOptions(trace, payloads=payloads)
        async with Trainer(MODEL, train, CORPUS, out=run, trace=options, resume=resume) as trainer:
            await trainer.fit()

    asyncio.run(fit())
    return Recorded(Trace.open(trace), run)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record(tmp_path_factory.mktemp("whole"), "whole")


@pytest.fixture(scope="module")
def hashes(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return record(tmp_path_factory.mktemp("hashes"), "hash")


def gradients_of(played: Replay) -> list[int]:
    """Arrays with the recorded hash, in each answer to `ComputeShards`: the losses, and gradients."""
    return [entry.arrays for entry in played.played if entry.tag == "crystalline.compute_shards"]


@pytest.mark.parametrize("sphere", [0, 1, 2])
@pytest.mark.parametrize("payloads", ["whole", "hashes"])
def test_all_gradients_have_the_recorded_hashes(
    payloads: str, sphere: int, request: pytest.FixtureRequest
) -> None:
    recorded: Recorded = request.getfixturevalue(payloads)
    played = replay_sphere(recorded.trace, recorded.run, sphere, corpus=CORPUS)
    assert played.difference is None, played.lines()
    assert played.messages == played.recorded
    answers = recorded.trace.select(actors={played.actor}, kinds={"reply"})
    sums = [read_payload(event.payload) for event in answers if event.type == "crystalline.shard_sums"]
    assert len(sums) == STEPS
    assert gradients_of(played) == [len(payload.arrays) - 1 for payload in sums], "all but the times"
    assert sum(gradients_of(played)) >= 2 * STEPS, "the losses of each step, and gradients"


def test_the_updates_are_played_again_too(whole: Recorded) -> None:
    tags = {
        entry.tag
        for sphere in (0, 1, 2)
        for entry in replay_sphere(whole.trace, whole.run, sphere, corpus=CORPUS).played
    }
    assert {"crystalline.reduce_slices", "crystalline.apply_slices", "crystalline.evaluate_shards"} <= tags


class Step:
    """Which step is being played."""

    def __init__(self) -> None:
        self.now = 0

    def note(self, _number: int, message: Any) -> None:
        if isinstance(message, ComputeShards):
            self.now = message.step


def change_a_kernel(monkeypatch: pytest.MonkeyPatch, step: Step) -> None:
    """From one step on, one entry of each shard's gradient is off by a thousandth."""
    true = loss_and_gradient

    def changed(weights: Any, gradient: Any, *args: Any, **kwargs: Any) -> float:
        loss = true(weights, gradient, *args, **kwargs)
        if step.now >= CHANGED_AT:
            gradient.flat[17] *= np.float32(1.001)
        return loss

    monkeypatch.setattr(work, "loss_and_gradient", changed)


@pytest.mark.parametrize("payloads", ["whole", "hashes"])
def test_a_changed_kernel_is_caught_at_the_first_step_that_it_changes(
    payloads: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded: Recorded = request.getfixturevalue(payloads)
    numbers: dict[int, int] = {}
    step = Step()

    def note(number: int, message: Any) -> None:
        step.note(number, message)
        if isinstance(message, ComputeShards):
            numbers[message.step] = number

    change_a_kernel(monkeypatch, step)
    played = replay_sphere(recorded.trace, recorded.run, 1, corpus=CORPUS, on_message=note)
    difference = played.difference
    assert difference is not None
    assert difference.message == numbers[CHANGED_AT]
    assert difference.handled == "crystalline.compute_shards"
    assert difference.field == "nodes[0].gradient"
    assert all(gradients_of(played)[: CHANGED_AT - 1])
    if payloads == "whole":
        assert difference.apart is not None
        assert difference.apart.at == (17,)
        assert "first at [17]" in difference.lines()[-1]
        assert "model.embed_tokens.weight" in difference.lines()[-1]
    with pytest.raises(ReplayDiffers):
        replay_sphere(recorded.trace, recorded.run, 1, corpus=CORPUS, on_message=note, strict=True)


def test_another_order_of_summation_is_caught_in_the_reduction(
    whole: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "sum_of_squares", lambda values, _scratch: float(np.sum(values * values)))
    (reducer,) = (
        sphere
        for sphere in (0, 1, 2)
        if any(
            entry.tag == "crystalline.reduce_slices"
            for entry in replay_sphere(whole.trace, whole.run, sphere, corpus=CORPUS).played
        )
    )
    steps: list[int] = []

    def note(_number: int, message: Any) -> None:
        if isinstance(message, ReduceSlices):
            steps.append(message.step)

    played = replay_sphere(whole.trace, whole.run, reducer, corpus=CORPUS, on_message=note)
    assert played.difference is not None
    assert (played.difference.handled, played.difference.field) == ("crystalline.reduce_slices", "squares")
    assert (
        played.difference.at == [entry.tag for entry in played.played].index("crystalline.reduce_slices") + 1
    )


def test_a_run_that_went_on_is_played_from_its_checkpoint(
    whole: Recorded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = whole.run / "checkpoints" / "step-00000004"
    resumed = record(tmp_path, "hash", resume=checkpoint)
    monkeypatch.setattr(replaying, "initialise", None)  # the first weights are not needed
    played = replay_sphere(resumed.trace, whole.run, 2, corpus=CORPUS)
    assert played.difference is None, played.lines()
    assert len(gradients_of(played)) == STEPS - 4


def test_a_run_without_files_is_played_from_its_settings(whole: Recorded, tmp_path: Path) -> None:
    run = SavedRun(MODEL, TRAIN, None, tmp_path)
    assert replay_sphere(whole.trace, run, 0, corpus=CORPUS).difference is None


def test_a_control_sphere_is_played_with_the_answers_of_those_below(tmp_path: Path) -> None:
    recorded = record(tmp_path, "whole", settings(spheres=14, epochs=1, steps=2))
    played = replay_sphere(recorded.trace, recorded.run, 0, corpus=CORPUS)
    assert played.difference is None, played.lines()
    assert all(entry.compared == 2 for entry in played.played), "the answer, and what the one below is asked"
    assert len(gradients_of(played)) == 2


def test_what_cannot_be_played_is_said(whole: Recorded) -> None:
    with pytest.raises(TraceQueryError, match="no sphere 9 in the trace, but spheres 0 to 2"):
        replay_sphere(whole.trace, whole.run, 9, corpus=CORPUS)
    with pytest.raises(SettingError, match="the text is another one"):
        replay_sphere(whole.trace, whole.run, 1, corpus=SKEWED)
