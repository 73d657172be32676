"""Spheres that are lost for good, numbers that are none, losses that stand out, saves beside the training."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import time
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from crystalline.errors import NonFiniteError, OutputError, TrainingError
from crystalline.model import transformer
from crystalline.optim import clip as clip_module
from crystalline.training import Saved, StepDone, load_checkpoint
from crystalline.training import root as root_module
from crystalline.training import run_folder as run_folder_module
from crystalline.training import work as work_module
from crystalline.training.checkpoint import write_checkpoint
from crystalline.training.sphere import ControlSphere, Sphere
from tests.helpers.faults import Stuck
from tests.helpers.plain_training import PlainRun, train_plainly
from tests.helpers.training import CORPUS, MODEL, events_of, settings, trainer_of

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_S = 30.0


@pytest.fixture(autouse=True)
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, and slices so small that every sphere has some of the update."""
    monkeypatch.setenv("CRYSTALLINE_CACHE", str(tmp_path / "cache"))
    for module in (clip_module, work_module):
        monkeypatch.setattr(module, "SLICE", 300)


@cache
def undisturbed() -> PlainRun:
    return train_plainly(MODEL, settings(), CORPUS)


def break_down(monkeypatch: pytest.MonkeyPatch, *indices: int, within: str) -> None:
    """From now on these spheres fail whenever they are asked for one kind of work, and are lost for good."""
    for kind in (Sphere, ControlSphere):
        handler = getattr(kind, within)

        async def broken(sphere: Any, msg: Any, ctx: Any, handler: Any = handler) -> Any:
            if sphere._index in indices:
                raise ValueError("burnt out")
            return await handler(sphere, msg, ctx)

        monkeypatch.setattr(kind, within, broken)


# A sphere is lost for good


@pytest.mark.parametrize("within", ["compute", "reduce", "apply"])
@pytest.mark.parametrize(
    ("spheres", "lost"), [(2, (1,)), (4, (0, 3)), (13, (12,)), (14, (0,)), (25, (12, 2)), (25, (0,))]
)
async def test_the_others_do_what_a_lost_sphere_should_have_done(
    within: str, spheres: int, lost: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    break_down(monkeypatch, *lost, within=within)
    changes = settings(spheres=spheres, on_loss="redistribute")
    async with asyncio.timeout(LIMIT_S), trainer_of(changes) as trainer:
        report = await trainer.fit()
        left = {node.path for root in trainer.system.tree() for node in root.children}
    assert report.weights_sha256 == undisturbed().hashes[-1]
    assert report.val_loss == pytest.approx(undisturbed().val_losses[-1])
    assert not {f"/root/sphere-{index}" for index in lost if index < 12} & left


async def test_by_default_a_lost_sphere_ends_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    break_down(monkeypatch, 1, within="compute")
    async with asyncio.timeout(LIMIT_S), trainer_of(settings()) as trainer:
        with pytest.raises(TrainingError, match=r"/root/sphere-1 could not do its part.*burnt out"):
            await trainer.fit()
        assert trainer.weights_sha256() == undisturbed().hashes[0]


async def test_when_the_last_one_is_lost_the_training_ends(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    break_down(monkeypatch, 0, 1, 2, within="compute")
    with caplog.at_level(logging.WARNING, "crystalline"):
        async with (
            asyncio.timeout(LIMIT_S),
            trainer_of(settings(spheres=3, on_loss="redistribute")) as trainer,
        ):
            with pytest.raises(TrainingError, match="was the last one left"):
                await trainer.fit()
    assert sum("the others do its part" in record.getMessage() for record in caplog.records) == 2


# A number is none


def spoil(monkeypatch: pytest.MonkeyPatch, step: int, shard: int, tensor: str | None) -> None:
    """In one step, the loss of a shard or an entry of its gradient is not a number."""
    compute = work_module.ShardWork.compute
    loss_and_gradient = transformer.loss_and_gradient
    spoilt_inputs: list[Any] = []

    def noting(self: Any, token: Any, weights: Any, request: Any) -> Any:
        if request.step == step and request.lo <= shard < request.run[1]:
            spoilt_inputs.append(list(request.shards)[shard - request.lo][0])
        return compute(self, token, weights, request)

    def spoiling(weights: Any, gradient: Any, inputs: Any, *others: Any, **options: Any) -> float:
        loss: float = loss_and_gradient(weights, gradient, inputs, *others, **options)
        if any(np.shares_memory(inputs, spoilt) for spoilt in spoilt_inputs):
            if tensor is None:
                return float("nan")
            gradient.views[tensor].flat[3] = np.nan
        return loss

    monkeypatch.setattr(work_module.ShardWork, "compute", noting)
    monkeypatch.setattr(work_module, "loss_and_gradient", spoiling)


NORM = "model.norm.weight"


@pytest.mark.parametrize("spheres", [1, 3, 14])
async def test_the_error_names_step_shard_and_tensor(spheres: int, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, 3, 5, NORM)
    async with asyncio.timeout(LIMIT_S), trainer_of(settings(spheres=spheres)) as trainer:
        with pytest.raises(
            NonFiniteError, match=rf"step 3: the gradient of {NORM} .*, first in shard 5 \({NORM}\)"
        ):
            await trainer.fit()
        assert trainer.weights_sha256() == undisturbed().hashes[2]


@pytest.mark.parametrize("tensor", [None, NORM])
async def test_a_step_is_skipped_the_same_for_any_number_of_spheres(
    tensor: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spoil(monkeypatch, 4, 5, tensor)
    found = set()
    for spheres in (1, 3, 14):
        changes = settings(spheres=spheres, on_nonfinite="skip")
        async with asyncio.timeout(LIMIT_S), trainer_of(changes, out=tmp_path / str(spheres)) as trainer:
            events = await events_of(trainer)
            report = await trainer.fit()
        skipped = [event for event in events if isinstance(event, StepDone) and event.skipped]
        assert [event.step for event in skipped] == [4]
        assert "shard 5" in skipped[0].skipped
        assert (report.skipped, report.steps) == (1, 10)
        progress = load_checkpoint(tmp_path / str(spheres)).progress
        assert (progress.step, progress.updates) == (10, 9)
        found.add(report.weights_sha256)
    assert len(found) == 1
    assert not found & set(undisturbed().hashes)


async def test_steps_are_not_skipped_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(root_module, "_SKIPPED_MAX", 3)
    compute = work_module.ShardWork.compute

    def spoilt(self: Any, token: Any, weights: Any, request: Any) -> Any:
        sums = compute(self, token, weights, request)
        if request.step >= 5:
            sums.losses[0] = np.inf
        return sums

    monkeypatch.setattr(work_module.ShardWork, "compute", spoilt)
    async with asyncio.timeout(LIMIT_S), trainer_of(settings(epochs=4, on_nonfinite="skip")) as trainer:
        with pytest.raises(NonFiniteError, match="3 steps in a row were skipped; the last one: step 7"):
            await trainer.fit()
        assert trainer.weights_sha256() == train_plainly(MODEL, settings(epochs=4), CORPUS).hashes[4]


# A loss stands out


async def test_a_spike_is_told_counted_and_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    compute = work_module.ShardWork.compute

    def spoilt(self: Any, token: Any, weights: Any, request: Any) -> Any:
        sums = compute(self, token, weights, request)
        if request.step == 18:
            sums.losses[...] *= 10.0
        return sums

    monkeypatch.setattr(work_module.ShardWork, "compute", spoilt)
    out = tmp_path / "out"
    async with asyncio.timeout(LIMIT_S), trainer_of(settings(epochs=4), out=out) as trainer:
        events = await events_of(trainer)
        report = await trainer.fit()
    assert [event.step for event in events if isinstance(event, StepDone) and event.spike] == [18]
    assert report.spikes == 1
    lines = map(json.loads, (out / "metrics.jsonl").read_text().splitlines())
    assert [line["step"] for line in lines if line.get("spike")] == [18]


# A checkpoint is written while training goes on


async def test_training_goes_on_while_a_checkpoint_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """And the next one waits for it: there is one copy."""
    stuck, write = Stuck(), write_checkpoint

    def slow(*args: Any) -> None:
        stuck()
        write(*args)

    monkeypatch.setattr(run_folder_module, "write_checkpoint", slow)
    steps, saved = [], []
    changes = settings(save_every=2)
    async with asyncio.timeout(LIMIT_S), trainer_of(changes, out=tmp_path / "out") as trainer:
        async for event in trainer.events():
            if isinstance(event, StepDone):
                steps.append(event.step)
                if event.step == 4:  # the save of step 2 is still at it
                    assert stuck.entered.is_set()
                    assert not stuck.left.is_set()
                    stuck.let_go()
            elif isinstance(event, Saved):
                saved.append(event)
    assert steps == list(range(1, 11))
    assert [event.step for event in saved] == [2, 4, 5, 6, 8, 10]
    assert [event.weights_sha256 for event in saved] == [undisturbed().hashes[event.step] for event in saved]


async def test_a_save_that_fails_in_any_way_is_heard_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def broken(*_: Any) -> None:
        raise MemoryError("no room for a copy")

    monkeypatch.setattr(run_folder_module, "write_checkpoint", broken)
    async with asyncio.timeout(LIMIT_S), trainer_of(settings(), out=tmp_path / "out") as trainer:
        with pytest.raises(OutputError, match="the checkpoint of step 5: MemoryError"):
            await trainer.fit()
    assert not (tmp_path / "out").exists()


async def test_seconds_are_counted_from_one_save_to_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The clock is looked at once a step and once a save, and each look takes a second here."""
    looks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: float(next(looks)), perf_counter=time.perf_counter)
    monkeypatch.setattr(root_module, "time", clock)
    changes = settings(epochs=1, batch_size=4, save_every_s=3.0)
    async with asyncio.timeout(LIMIT_S), trainer_of(changes, out=tmp_path / "out") as trainer:
        events = await events_of(trainer)
        steps = trainer.steps
    saved = [event.step for event in events if isinstance(event, Saved)]
    assert saved == sorted({*range(3, steps, 3), steps})


async def test_the_optimizer_counts_the_steps_that_changed_the_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(monkeypatch, 4, 5, None)
    apply, updates = work_module.ShardWork.apply, set()

    def noting(self: Any, token: Any, target: Any, current: Any, request: Any) -> Any:
        updates.add((request.step, request.update))
        return apply(self, token, target, current, request)

    monkeypatch.setattr(work_module.ShardWork, "apply", noting)
    async with asyncio.timeout(LIMIT_S), trainer_of(settings(on_nonfinite="skip")) as trainer:
        await trainer.fit()
    assert sorted(updates) == [(step, step - (step > 4)) for step in range(1, 11) if step != 4]


# Metrics


async def test_metrics_say_what_the_events_say(tmp_path: Path) -> None:
    async with asyncio.timeout(LIMIT_S), trainer_of(settings(), out=tmp_path / "out") as trainer:
        events = await events_of(trainer)
    lines = [json.loads(line) for line in (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()]
    told = [event for event in events if isinstance(event, StepDone)]
    steps = [line for line in lines if line["kind"] == "step"]
    assert [
        (line["step"], line["loss"], line["grad_norm"], line["lr"], line["tokens"]) for line in steps
    ] == [(event.step, event.loss, event.grad_norm, event.learning_rate, event.tokens) for event in told]
    assert [line["kind"] for line in lines] == (["step"] * 5 + ["epoch"]) * 2
    assert [line["val_loss"] for line in lines if line["kind"] == "epoch"] == pytest.approx(
        undisturbed().val_losses
    )
    assert [line["train_loss"] for line in lines if line["kind"] == "epoch"] == pytest.approx(
        undisturbed().train_losses
    )
