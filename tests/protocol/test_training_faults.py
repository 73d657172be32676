"""Training goes on, or ends with its story, whatever breaks; and what breaks changes no bit of the result."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import re
import threading
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from actors import ending
from crystalline.errors import NonFiniteError, OutputError, TrainingError
from crystalline.optim import clip as clip_module
from crystalline.training import Saved, StepDone, Trainer, load_checkpoint
from crystalline.training import work as work_module
from crystalline.training.root import Root
from crystalline.training.trainer import SHUTDOWN_S
from tests.helpers.faults import Fault, Stuck, raising
from tests.helpers.plain_training import PlainRun, train_plainly
from tests.helpers.training import CORPUS, MODEL, events_of, restarts_of, settings, trainer_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPHERES = (1, 2, 4, 13, 25)
SLICE = 300
LIMIT_S = 30.0


@pytest.fixture(autouse=True)
def _surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own, and slices so small that every sphere has some of the update."""
    monkeypatch.setenv("CRYSTALLINE_CACHE", str(tmp_path / "cache"))
    for module in (clip_module, work_module):
        monkeypatch.setattr(module, "SLICE", SLICE)


@cache
def undisturbed() -> PlainRun:
    return train_plainly(MODEL, settings(), CORPUS)


@contextlib.contextmanager
def letting_go(stuck: Stuck) -> Iterator[None]:
    """No thread stays behind a test."""
    try:
        yield
    finally:
        stuck.let_go()
        assert not stuck.entered.is_set() or stuck.left.wait(LIMIT_S)


def names_in(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


async def hash_and_restarts(**changes: Any) -> tuple[str, dict[str, int]]:
    async with asyncio.timeout(LIMIT_S), trainer_of(settings(**changes)) as trainer:
        report = await trainer.fit()
        return report.weights_sha256, restarts_of(trainer)


# A sphere is lost and comes back


@pytest.mark.parametrize("spheres", SPHERES)
@pytest.mark.parametrize("job", ["compute", "evaluate", "reduce", "apply"])
async def test_a_sphere_lost_in_a_step_changes_no_bit(
    job: str, spheres: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never again: workers left when they saw "done"; nobody started them again."""
    fault = Fault(monkeypatch, job, raising(ValueError("a kernel broke")), calls=frozenset({2}))
    sha256, restarts = await hash_and_restarts(spheres=spheres)
    assert fault.happened == 1
    assert sha256 == undisturbed().hashes[-1]
    assert sum(restarts.values()) == 1


@pytest.mark.parametrize("spheres", [13, 25])
async def test_a_control_sphere_lost_in_a_step_changes_no_bit(
    spheres: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = Fault(monkeypatch, "combine", raising(ValueError("a sum broke")), calls=frozenset({2}))
    sha256, restarts = await hash_and_restarts(spheres=spheres)
    assert fault.happened == 1
    assert sha256 == undisturbed().hashes[-1]
    assert list(restarts.values()) == [1]


@pytest.mark.parametrize("job", ["reduce", "apply"])
async def test_a_child_lost_in_the_update_does_not_take_its_parent_along(
    job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lost child may still write to the target, so the whole attempt is void and Root makes another."""
    broken: list[int] = []

    def break_below(_target: object, *others: Any) -> None:
        request = others[-1]
        if request.lo == 0 and request.step == 2 and not broken:  # the first slices are those of sphere-12
            broken.append(request.attempt)
            raise ValueError("a slice broke")

    Fault(monkeypatch, job, break_below, calls=None)
    sha256, restarts = await hash_and_restarts(spheres=13)
    assert sha256 == undisturbed().hashes[-1]
    assert broken == [1]
    assert restarts == {"/root/sphere-0/sphere-12": 1}


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), MemoryError(), StopIteration()])
@pytest.mark.parametrize("spheres", [1, 13])
async def test_no_kind_of_error_in_a_job_ends_more_than_its_sphere(
    error: BaseException, spheres: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    Fault(monkeypatch, "compute", raising(error), calls=frozenset({5}))
    sha256, restarts = await hash_and_restarts(spheres=spheres)
    assert sha256 == undisturbed().hashes[-1]
    assert list(restarts.values()) == [1]


@pytest.mark.parametrize("spheres", SPHERES)
async def test_several_spheres_lost_in_several_places_change_no_bit(
    spheres: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = raising(RuntimeError("again"))
    faults = [Fault(monkeypatch, "compute", error, calls=frozenset({2, 6}))]
    faults += [Fault(monkeypatch, job, error, calls=frozenset({4})) for job in ("reduce", "apply")]
    if spheres == 1:  # four failures of one sphere are one too many
        with pytest.raises(TrainingError, match="again"):
            await hash_and_restarts(spheres=1)
    else:
        sha256, _ = await hash_and_restarts(spheres=spheres)
        assert sha256 == undisturbed().hashes[-1]
    assert sum(fault.happened for fault in faults) == 4


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spheres", SPHERES[1:])
async def test_spheres_killed_from_outside_at_any_moment_change_no_bit(spheres: int, seed: int) -> None:
    rng = random.Random(seed * 100 + spheres)
    moments = rng.sample(range(1, len(undisturbed().losses)), 3)
    async with asyncio.timeout(LIMIT_S), trainer_of(settings(spheres=spheres)) as trainer:
        fitting = asyncio.ensure_future(trainer.fit())
        kills = 0
        async for event in trainer.events():
            if isinstance(event, StepDone) and event.step in moments:
                for _ in range(rng.randrange(60)):
                    await asyncio.sleep(0)
                cells = trainer.system._known().cells
                ending.abandon(cells[rng.choice(sorted(path for path in cells if path != "/root"))], "killed")
                kills += 1
        report = await fitting
        assert kills == 3
        assert report.weights_sha256 == undisturbed().hashes[-1]


# A job is stuck


@pytest.mark.parametrize("spheres", [1, 2, 13])
@pytest.mark.parametrize("job", ["compute", "apply"])
async def test_a_stuck_job_is_left_behind_and_its_sphere_restarted(
    job: str, spheres: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never again: a barrier that counted a thread which never arrived."""
    stuck = Stuck()
    Fault(monkeypatch, job, stuck, calls=frozenset({3}))
    with letting_go(stuck):
        sha256, restarts = await hash_and_restarts(spheres=spheres, job_timeout_s=0.6)
        assert stuck.entered.is_set()
        assert not stuck.left.is_set()
    assert sha256 == undisturbed().hashes[-1]
    assert sum(restarts.values()) >= 1


@pytest.mark.parametrize("job", ["reduce", "apply"])
async def test_what_a_job_left_behind_writes_later_is_never_seen(
    job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never again: raw pointers in messages; the sender cleared the buffer while the root read it."""

    def spoil(target: Any, *_: object) -> None:
        for array in (*target.buffers, target.gradient):
            array.fill(np.nan)

    stuck = Stuck(spoil)
    Fault(monkeypatch, job, stuck, calls=frozenset({2}))
    changes = settings(spheres=2, job_timeout_s=0.6)
    with letting_go(stuck):
        async with asyncio.timeout(LIMIT_S), trainer_of(changes) as trainer:
            async for event in trainer.events():
                if isinstance(event, StepDone) and event.step == 3:
                    assert stuck.entered.is_set()
                    assert not stuck.left.is_set()
                    stuck.let_go()
                    assert await asyncio.to_thread(stuck.left.wait, LIMIT_S)
            assert trainer.weights_sha256() == undisturbed().hashes[-1]


async def test_a_text_that_is_slow_to_read_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of a sphere's work on a step does not hold for reading the next batch."""
    cut, slow = Root._cut, threading.Event()

    def cut_slowly(self: Root, token: Any, indices: Any) -> Any:
        slow.wait(1.0)  # twice the limit; never set
        return cut(self, token, indices)

    monkeypatch.setattr(Root, "_cut", cut_slowly)
    sha256, restarts = await hash_and_restarts(spheres=2, job_timeout_s=0.5, steps=2, epochs=1)
    monkeypatch.setattr(Root, "_cut", cut)
    assert (sha256, restarts) == await hash_and_restarts(spheres=2, steps=2, epochs=1)
    assert not sum(restarts.values())


# A sphere is lost for good


@pytest.mark.parametrize("job", ["compute", "reduce", "apply", "evaluate"])
@pytest.mark.parametrize("spheres", [1, 2, 13])
async def test_when_restarts_are_exhausted_the_training_ends_with_the_story(
    job: str, spheres: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fault = Fault(monkeypatch, job, raising(ValueError("the disk of sums is worn out")), calls=None)
    changes = settings(spheres=spheres)
    async with asyncio.timeout(LIMIT_S), trainer_of(changes, out=tmp_path / "out") as trainer:
        with pytest.raises(TrainingError, match=r"sphere-\d+.* worn out") as caught:
            await trainer.fit()
    assert "\n" not in str(caught.value)
    assert fault.happened >= 4
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("job", ["compute", "reduce"])
async def test_the_error_of_a_lost_sphere_has_the_chain_of_waits_down_to_its_job(
    job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = Stuck()
    Fault(monkeypatch, job, stuck, calls=None)
    with letting_go(stuck):
        changes = settings(spheres=2, job_timeout_s=0.05)
        async with asyncio.timeout(LIMIT_S), trainer_of(changes) as trainer:
            with pytest.raises(TrainingError) as caught:
                await trainer.fit()
    notes = "\n".join(caught.value.__notes__)
    assert re.search(r"/root/sphere-\S+ \(Sphere\) ended in life \d", notes)
    assert re.search(rf"sphere-\S+ waits for job ShardWork.{job} \(its result\) for", notes)
    assert re.search(rf"job ShardWork.{job}: after \S+ s; at faults.py:\d+", notes)


async def test_the_last_checkpoint_is_intact_when_training_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    steps = undisturbed()

    def wear_out(_weights: object, request: Any) -> None:
        if request.step == 5:
            raise ValueError("worn out")

    Fault(monkeypatch, "compute", wear_out, calls=None)
    changes = settings(save_every=2)
    async with asyncio.timeout(LIMIT_S), trainer_of(changes, out=tmp_path / "out") as trainer:
        with pytest.raises(TrainingError, match="worn out"):
            await trainer.fit()
        assert trainer.weights_sha256() == steps.hashes[4]
    checkpoint = load_checkpoint(tmp_path / "out")
    assert checkpoint.progress.step == 4
    assert checkpoint.record["weights_sha256"] == steps.hashes[4]


async def test_a_training_that_failed_fails_again_when_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Fault(monkeypatch, "compute", raising(ValueError("worn out")), calls=None)
    async with asyncio.timeout(LIMIT_S), trainer_of(settings()) as trainer:
        for _ in range(2):
            with pytest.raises(TrainingError, match="worn out"):
                await trainer.fit()
        with pytest.raises(TrainingError, match="worn out"):
            await events_of(trainer)


async def test_an_epoch_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never again: it hung in three different ways."""
    stuck = Stuck()
    Fault(monkeypatch, "compute", stuck, calls=frozenset({3}))
    with letting_go(stuck):
        async with asyncio.timeout(LIMIT_S), trainer_of(settings(epoch_timeout_s=0.5)) as trainer:
            with pytest.raises(TrainingError, match=r"epoch 1 was not done within 0\.5 s"):
                await trainer.fit()
            done = trainer.weights_sha256()
            left_s = time.monotonic()
        assert time.monotonic() - left_s < 2 * SHUTDOWN_S
        assert done in undisturbed().hashes


async def test_a_root_that_is_lost_is_an_error_and_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = Stuck()
    Fault(monkeypatch, "compute", stuck, calls=frozenset({3}))
    with letting_go(stuck):
        async with asyncio.timeout(LIMIT_S), trainer_of(settings()) as trainer:
            fitting = asyncio.ensure_future(trainer.fit())
            await asyncio.to_thread(stuck.entered.wait, LIMIT_S)
            ending.abandon(trainer.system._known().cells["/root"], "killed")
            with pytest.raises(TrainingError, match=r"epoch 1 was not done.*killed"):
                await fitting


# Numbers that are none


async def test_a_loss_that_is_not_finite_is_refused_before_it_touches_the_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compute = work_module.ShardWork.compute

    def spoilt(self: Any, token: Any, weights: Any, request: Any) -> Any:
        sums = compute(self, token, weights, request)
        if request.step == 4 and request.lo <= 7 < request.run[1]:
            sums.losses[7 - request.lo] = np.inf
        return sums

    monkeypatch.setattr(work_module.ShardWork, "compute", spoilt)
    for spheres in (1, 2, 13):
        async with trainer_of(settings(spheres=spheres)) as trainer:
            with pytest.raises(NonFiniteError, match=r"step 4: the loss of shard 7 is inf"):
                await trainer.fit()
            assert trainer.weights_sha256() == undisturbed().hashes[3]


async def test_a_gradient_that_is_not_finite_is_refused_and_its_tensor_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tensor = "model.layers.0.mlp.up_proj.weight"
    compute = work_module.ShardWork.compute

    def spoilt(self: Any, token: Any, weights: Any, request: Any) -> Any:
        sums = compute(self, token, weights, request)
        if request.step == 3:
            sums.nodes[-1][1].views[tensor][3, 4] = np.nan
        return sums

    monkeypatch.setattr(work_module.ShardWork, "compute", spoilt)
    for spheres in (1, 2, 13):
        async with trainer_of(settings(spheres=spheres)) as trainer:
            with pytest.raises(NonFiniteError, match=f"step 3: the gradient of {tensor} is not finite"):
                await trainer.fit()
            assert trainer.weights_sha256() == undisturbed().hashes[2]


@pytest.mark.parametrize("lr", [1e10, 1e20, 1e38, 1e60])
@pytest.mark.parametrize("spheres", [1, 13])
async def test_a_huge_learning_rate_is_refused_when_its_numbers_are_none(
    lr: float, spheres: int, tmp_path: Path
) -> None:
    changes = settings(lr=lr, warmup=0, spheres=spheres, save_every=1)
    async with trainer_of(changes, out=tmp_path / "out") as trainer:
        with pytest.raises(NonFiniteError, match=r"step \d+: the .*lower learning rate") as caught:
            await trainer.fit()
        kept = trainer.weights_sha256()
    refused = int(str(caught.value).split()[1].rstrip(":"))
    if refused > 1:
        checkpoint = load_checkpoint(tmp_path / "out")
        assert checkpoint.progress.step == refused - 1
        assert checkpoint.record["weights_sha256"] == kept
    assert (refused > 1) == (lr < 1e37), "the first step is refused only if it overflows by itself"


async def test_a_held_out_loss_that_is_not_finite_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    evaluate = work_module.ShardWork.evaluate

    def spoilt(*args: Any) -> Any:
        return np.full_like(evaluate(*args), np.nan)

    monkeypatch.setattr(work_module.ShardWork, "evaluate", spoilt)
    async with trainer_of(settings(spheres=1), out=tmp_path / "out") as trainer:
        with pytest.raises(NonFiniteError, match="epoch 1: the loss on the held-out text"):
            await trainer.fit()
    assert not (tmp_path / "out").exists()


# A checkpoint cannot be written


async def test_a_full_disk_is_an_error_and_leaves_the_last_checkpoint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    full = threading.Event()
    sync = os.fsync

    def fsync(handle: int) -> None:
        if full.is_set():
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)

    async def fill_the_disk(trainer: Trainer) -> None:
        async for event in trainer.events():
            if isinstance(event, Saved):
                full.set()

    async with trainer_of(settings(save_every=2), out=tmp_path / "out") as trainer:
        with pytest.raises(
            OutputError, match=r"No space left on device.*What was saved there before is as it was"
        ):
            await fill_the_disk(trainer)
    assert load_checkpoint(tmp_path / "out").record["weights_sha256"] in undisturbed().hashes
    assert names_in(tmp_path) == {"out", "cache"}, "nothing is left lying about"
