"""The trainer inside somebody else's event loop: what it tells, how it ends, and what it leaves behind."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from actors.tracing import read_trace, usage
from crystalline.data import Corpus, Windows, batch_indices, epoch_order, prepare_tokens
from crystalline.errors import CorpusError, OutputError, SettingError, TrainingError
from crystalline.model import Parameters, Workspace, atomic, load_model, logits, weights_sha256
from crystalline.training import EpochDone, Saved, StepDone, Trainer, load_checkpoint
from crystalline.training import run_folder as run_folder_module
from crystalline.training.trainer import SHUTDOWN_S
from tests.helpers.faults import Fault, Stuck, raising
from tests.helpers.plain_training import PlainRun, train_plainly
from tests.helpers.training import CORPUS, MODEL, events_of, report_of, restarts_of, settings, trainer_of

if TYPE_CHECKING:
    from pathlib import Path


LIMIT_S = 30.0
LONG = settings(epochs=500)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRYSTALLINE_CACHE", str(tmp_path / "cache"))


@cache
def plain() -> PlainRun:
    return train_plainly(MODEL, settings(), CORPUS)


def blas_threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


async def assert_nothing_left(trainer: Trainer) -> None:
    """No task, wait, deadline or thread of a trainer that was left."""
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await asyncio.sleep(0)  # what is told by the end of a task is told an iteration later
    counts = trainer.system.statistics()
    for name in ("actors", "open_asks", "open_waits", "open_deadlines", "tasks", "stray_tasks"):
        assert counts[name] == 0, (name, counts)
    for thread in threading.enumerate():
        if thread.name.startswith("crystalline"):
            thread.join(LIMIT_S)
            assert not thread.is_alive(), thread.name


def names_in(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


async def until(trainer: Trainer, step: int) -> None:
    """Return when a step was taken; the training goes on."""
    async for event in trainer.events():
        if isinstance(event, StepDone) and event.step >= step:
            return


# What it tells


async def test_it_works_beside_other_tasks_of_a_running_loop() -> None:
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0)
            ticks += 1

    ticking = asyncio.create_task(tick())
    report = await report_of(settings())
    seen = ticks
    await asyncio.sleep(0)
    assert seen > report.steps, "the loop was never held for the length of a step"
    assert not ticking.done()
    ticking.cancel()
    assert report.weights_sha256 == plain().hashes[-1]


async def test_events_come_in_order_and_are_typed(tmp_path: Path) -> None:
    """Never again: root and sphere threads ran one epoch and returned; the second waited for ever."""
    async with trainer_of(settings(epochs=3), out=tmp_path / "out") as trainer:
        per_epoch = trainer.steps // 3
        events = await events_of(trainer)
    kinds = [type(event) for event in events if not isinstance(event, Saved)]
    assert kinds == ([StepDone] * per_epoch + [EpochDone]) * 3
    # Checkpoints are written while training goes on, so that is where they are told of.
    assert [event.step for event in events if isinstance(event, Saved)] == [per_epoch * n for n in (1, 2, 3)]
    steps = [event for event in events if isinstance(event, StepDone)]
    assert [event.step for event in steps] == list(range(1, trainer.steps + 1))
    assert {event.steps for event in steps} == {trainer.steps}
    assert [event.epoch for event in events if isinstance(event, EpochDone)] == [1, 2, 3]
    for event in events:
        if isinstance(event, EpochDone):
            assert [sphere.name for sphere in event.spheres] == ["sphere-0", "sphere-1"]
            assert all(s.busy_s > 0 and s.waiting_s >= 0 and s.idle_s >= 0 for s in event.spheres)


async def test_a_checkpoint_is_saved_as_often_as_was_asked(tmp_path: Path) -> None:
    async with trainer_of(settings(save_every=2), out=tmp_path / "out") as trainer:
        events = await events_of(trainer)
        steps = trainer.steps
    per_epoch = steps // 2
    expected = {*range(2, steps + 1, 2), per_epoch, steps}
    saved = [event for event in events if isinstance(event, Saved)]
    assert [event.step for event in saved] == sorted(expected)
    assert [event.weights_sha256 for event in saved] == [plain().hashes[step] for step in sorted(expected)]
    assert load_checkpoint(tmp_path / "out").progress.step == steps


async def test_a_run_without_a_folder_writes_none(tmp_path: Path) -> None:
    async with trainer_of(settings(save_every=1)) as trainer:
        events = await events_of(trainer)
        report = await trainer.fit()
    assert not any(isinstance(event, Saved) for event in events)
    assert report.model is None
    assert names_in(tmp_path) == {"cache"}


async def test_fit_and_events_belong_to_one_training() -> None:
    async with trainer_of(settings()) as trainer:
        events, report = await asyncio.gather(events_of(trainer), trainer.fit())
        assert await trainer.fit() is report
        assert await events_of(trainer) == []
    assert sum(isinstance(event, StepDone) for event in events) == report.steps


async def test_events_without_fit_train_to_the_end() -> None:
    async with trainer_of(settings()) as trainer:
        await events_of(trainer)
        assert trainer.weights_sha256() == plain().hashes[-1]
    await assert_nothing_left(trainer)


async def test_events_can_be_left_and_taken_up_again() -> None:
    async with trainer_of(settings()) as trainer:
        await until(trainer, 1)
        rest = await events_of(trainer)
        report = await trainer.fit()
    assert sum(isinstance(event, StepDone) for event in rest) == report.steps - 1


async def test_the_order_of_the_data_follows_from_seed_and_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Never again: the shuffle flag was ignored."""
    seen: dict[int, list[list[int]]] = {}

    def note(_weights: object, request: Any) -> None:
        rows = request.shards.inputs.tolist()
        seen.setdefault(request.step, []).extend(rows)

    Fault(monkeypatch, "compute", note, calls=None)
    tokens = prepare_tokens(CORPUS, MODEL.vocab_size, None).tokens
    windows = Windows(tokens, MODEL.seq_len, 0.1)
    orders = set()
    for seed in (0, 1):
        seen.clear()
        train = settings(seed=seed, spheres=3)
        steps = (await report_of(train)).steps
        assert seen.keys() == set(range(1, steps + 1))
        for step in range(1, steps + 1):
            epoch, at = divmod(step - 1, steps // 2)
            order = windows.train[epoch_order(len(windows.train), seed, epoch + 1)]
            expected, _ = windows.batch(batch_indices(order, at, train.batch_size))
            assert sorted(seen[step]) == sorted(expected.tolist())
            orders.add(str(sorted(seen[step])))
    assert len(orders) == 2 * steps, "every batch of every epoch and seed is another one"


# What it learns


def cross_entropy_of(out: Path, corpus: Corpus, fraction: float) -> float:
    """Mean cross-entropy of the saved model on held-out text, from its logits, in float64."""
    config, flat = load_model(out)
    tokens = prepare_tokens(corpus, MODEL.vocab_size, None).tokens
    windows = Windows(tokens, config.seq_len, fraction)
    total, count = 0.0, 0
    for window in windows.validation:
        inputs, targets = windows.batch(np.array([window]))
        found = logits(Parameters(config, flat), inputs, Workspace(config, 1))[0].astype(np.float64)
        shifted = found - found.max(axis=1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        for position, target in enumerate(targets[0]):
            if target >= 0:
                total -= float(log_p[position, target])
                count += 1
    return total / count


async def test_the_loss_on_held_out_text_is_that_of_the_saved_model(tmp_path: Path) -> None:
    """Never again: inference ran another network than training."""
    report = await report_of(settings(epochs=4), out=tmp_path / "out")
    assert report.val_loss == pytest.approx(cross_entropy_of(tmp_path / "out", CORPUS, 0.1), rel=1e-5)
    assert report.unigram_loss is not None
    assert report.val_loss is not None


async def test_what_is_loaded_gives_the_logits_of_what_was_trained(tmp_path: Path) -> None:
    async with trainer_of(settings(), out=tmp_path / "out") as trainer:
        report = await trainer.fit()
        memory = trainer._open().seat.memory
        ids = np.arange(16, dtype=np.int32)[None]
        trained = logits(memory.weights(memory.version), ids, Workspace(trainer.model_config, 1))
    config, flat = load_model(tmp_path / "out")
    loaded = logits(Parameters(config, flat), ids, Workspace(config, 1))
    assert loaded.tobytes() == trained.tobytes()
    assert weights_sha256(flat) == report.weights_sha256


async def test_a_small_text_is_learnt_by_heart() -> None:
    """Never again: its checkpoints were the same bytes at any learning rate, or its loss stayed at 18.9."""
    rng = np.random.default_rng(0)
    text = " ".join("".join(rng.choice(list("abcdefgh"), 4)) for _ in range(400))
    model = replace(MODEL, vocab_size=400, dim=64, layers=2, heads=4, ffn_dim=128, seq_len=64)
    train = settings(epochs=120, lr=1e-2, batch_size=8, weight_decay=0.0, val_fraction=0.0, warmup=10)
    report = await report_of(train, model=model, corpus=Corpus.from_text(text))
    assert len(text) == 1999
    assert report.train_loss is not None
    assert report.train_loss < 0.05


# How it ends


@pytest.mark.parametrize("spheres", [1, 2, 13])
@pytest.mark.parametrize("moment", [0, 1, 5, 20, 60, 150, 400])
async def test_cancelling_leaves_nothing_behind(spheres: int, moment: int) -> None:
    """Never again: double free after training; threads that never joined at shutdown."""
    begun_s = time.monotonic()
    async with trainer_of(replace(LONG, spheres=spheres)) as trainer:
        fitting = asyncio.create_task(trainer.fit())
        if moment > 20:
            await until(trainer, 2)
        for _ in range(moment):
            await asyncio.sleep(0)
        fitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fitting
        begun_s = time.monotonic()
    assert time.monotonic() - begun_s < 2 * SHUTDOWN_S
    await assert_nothing_left(trainer)


async def test_cancelling_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    async with trainer_of(replace(LONG, save_every=2), out=tmp_path / "out") as trainer:
        fitting = asyncio.create_task(trainer.fit())
        await until(trainer, 5)
        fitting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await fitting
    checkpoint = load_checkpoint(tmp_path / "out")
    assert checkpoint.progress.step >= 4
    assert checkpoint.record["weights_sha256"] == weights_sha256(checkpoint.buffers.weights)


async def test_a_cancelled_training_is_an_error_for_those_who_were_not_cancelled() -> None:
    async with trainer_of(LONG) as trainer:
        watching = asyncio.create_task(events_of(trainer))
        fitting = asyncio.create_task(trainer.fit())
        await asyncio.sleep(0)
        fitting.cancel()
        for waiting in (watching, asyncio.create_task(trainer.fit())):
            with pytest.raises(TrainingError, match="was cancelled before its end"):
                await waiting
    await assert_nothing_left(trainer)


async def test_a_time_limit_around_it_is_kept() -> None:
    trainer = trainer_of(LONG)

    async def fit() -> None:
        async with asyncio.timeout(None) as limit, trainer:
            limit.reschedule(asyncio.get_running_loop().time() + 0.05)
            await trainer.fit()

    with pytest.raises(TimeoutError):
        await fit()
    await assert_nothing_left(trainer)


@pytest.mark.parametrize("spheres", [1, 2, 13])
@pytest.mark.parametrize("step", [1, 4])
async def test_stopping_saves_where_it_stood(spheres: int, step: int, tmp_path: Path) -> None:
    async with trainer_of(settings(spheres=spheres), out=tmp_path / "out") as trainer:
        fitting = asyncio.create_task(trainer.fit())
        await until(trainer, step)
        await trainer.stop()
        async with asyncio.timeout(LIMIT_S):
            report = await fitting
        assert trainer.weights_sha256() == report.weights_sha256
    checkpoint = load_checkpoint(tmp_path / "out")
    assert step <= report.steps == checkpoint.progress.step
    assert report.weights_sha256 == plain().hashes[report.steps]
    assert weights_sha256(checkpoint.buffers.weights) == report.weights_sha256
    assert report.interrupted == (report.steps < len(plain().losses))
    await assert_nothing_left(trainer)


async def test_stopping_does_not_wait_for_a_job_that_is_stuck(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never again: flags polled with sleeps; a start flag and a done flag that raced."""
    stuck = Stuck()
    Fault(monkeypatch, "compute", stuck, calls=frozenset({5}))
    async with asyncio.timeout(LIMIT_S), trainer_of(settings(), out=tmp_path / "out") as trainer:
        fitting = asyncio.create_task(trainer.fit())
        assert await asyncio.to_thread(stuck.entered.wait, LIMIT_S)
        await trainer.stop()
        report = await fitting
        assert not stuck.left.is_set()
        stuck.let_go()
    assert report.interrupted
    assert report.weights_sha256 == plain().hashes[report.steps]
    assert load_checkpoint(tmp_path / "out").progress.step == report.steps
    await assert_nothing_left(trainer)


async def test_stopping_while_a_checkpoint_is_written_saves_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The save that was abandoned, and can no longer be left, and the one that `stop` asks for never meet."""
    stuck, point = Stuck(), atomic.point

    def slow(*args: Any) -> None:
        if not stuck.entered.is_set():
            stuck()
        point(*args)

    monkeypatch.setattr(run_folder_module, "point", slow)
    async with asyncio.timeout(LIMIT_S), trainer_of(settings(save_every=3), out=tmp_path / "out") as trainer:
        fitting = asyncio.create_task(trainer.fit())
        assert await asyncio.to_thread(stuck.entered.wait, LIMIT_S)
        await trainer.stop()
        done, _ = await asyncio.wait({fitting}, timeout=0.3)
        assert not done
        stuck.let_go()
        report = await fitting
    checkpoint = load_checkpoint(tmp_path / "out")
    assert report.interrupted
    assert 3 <= report.steps < 10
    assert checkpoint.progress.step == report.steps
    assert checkpoint.record["weights_sha256"] == plain().hashes[report.steps]
    assert names_in(tmp_path) == {"out", "cache"}
    await assert_nothing_left(trainer)


async def test_stopping_before_the_start_saves_the_initial_weights(tmp_path: Path) -> None:
    async with trainer_of(settings(), out=tmp_path / "out") as trainer:
        await trainer.stop()
        report = await trainer.fit()
    assert (report.steps, report.epochs, report.interrupted) == (0, 0, True)
    assert report.train_loss is None
    assert report.weights_sha256 == plain().hashes[0]
    assert load_checkpoint(tmp_path / "out").progress.step == 0


async def test_stopping_after_the_end_changes_nothing() -> None:
    async with trainer_of(settings()) as trainer:
        report = await trainer.fit()
        await trainer.stop()
        assert await trainer.fit() is report
    assert not report.interrupted


async def test_cancelling_after_stopping_cancels() -> None:
    for delay in range(12):
        async with trainer_of(LONG) as trainer:
            fitting = asyncio.create_task(trainer.fit())
            await until(trainer, 1)
            await trainer.stop()
            for _ in range(delay):
                await asyncio.sleep(0)
            if fitting.done():
                break
            fitting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await fitting
        await assert_nothing_left(trainer)


async def test_leaving_while_it_trains_ends_it() -> None:
    async with trainer_of(LONG) as trainer:
        watching = asyncio.create_task(events_of(trainer))
        await until_first_step(trainer)
        left_s = time.monotonic()
    assert time.monotonic() - left_s < 2 * SHUTDOWN_S
    with pytest.raises(TrainingError, match="cancelled"):
        await watching
    await assert_nothing_left(trainer)


async def until_first_step(trainer: Trainer) -> None:
    """Return when a step was taken, while another task reads the events."""
    initial = trainer.weights_sha256()
    async with asyncio.timeout(LIMIT_S):
        while trainer.weights_sha256() == initial:  # noqa: ASYNC110 - the trainer's one stream is being read
            await asyncio.sleep(0)


async def test_an_error_in_the_body_ends_it_and_comes_out() -> None:
    trainer = trainer_of(LONG)

    async def body() -> None:
        async with trainer:
            await until(trainer, 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await body()
    await assert_nothing_left(trainer)


async def test_cancelling_the_body_ends_it() -> None:
    trainer, opened = trainer_of(LONG), asyncio.Event()

    async def train() -> None:
        async with trainer:
            opened.set()
            await events_of(trainer)

    training = asyncio.create_task(train())
    async with asyncio.timeout(LIMIT_S):
        await opened.wait()
        await until_first_step(trainer)
    training.cancel()
    with pytest.raises(asyncio.CancelledError):
        await training
    await assert_nothing_left(trainer)


async def test_an_error_that_nobody_asked_for_does_not_disturb_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Fault(monkeypatch, "compute", raising(ValueError("worn out")), calls=None)
    async with trainer_of(settings()) as trainer:
        with pytest.raises(TrainingError, match="worn out"):
            await events_of(trainer)
    await assert_nothing_left(trainer)


# One after another, and side by side


async def test_trainers_follow_each_other_in_one_loop() -> None:
    for _ in range(3):
        async with trainer_of(settings()) as trainer:
            assert (await trainer.fit()).weights_sha256 == plain().hashes[-1]
            assert restarts_of(trainer) == {}
        await assert_nothing_left(trainer)
    gc.collect()


async def test_trainers_side_by_side_do_not_disturb_each_other() -> None:
    reports = await asyncio.gather(*(report_of(settings(spheres=spheres)) for spheres in (1, 2, 13)))
    assert {report.weights_sha256 for report in reports} == {plain().hashes[-1]}


async def test_blas_has_one_thread_while_a_trainer_is_open_and_then_what_it_had() -> None:
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        async with trainer_of(settings()):
            assert set(blas_threads()) == {1}
        assert blas_threads() == before
        with pytest.raises(ZeroDivisionError):
            async with trainer_of(settings()):
                raise ZeroDivisionError
        assert blas_threads() == before


async def test_blas_has_one_thread_until_the_last_trainer_is_left() -> None:
    with threadpool_limits(limits=2, user_api="blas"):
        before = blas_threads()
        first, second = trainer_of(settings()), trainer_of(settings())
        await first.__aenter__()
        await second.__aenter__()
        await first.__aexit__(None, None, None)
        assert set(blas_threads()) == {1}
        await second.__aexit__(None, None, None)
        assert blas_threads() == before


# How it is opened


async def test_a_trainer_is_for_one_run() -> None:
    trainer = trainer_of(settings())
    with pytest.raises(SettingError, match="not open"):
        await trainer.fit()
    async with trainer:
        report = await trainer.fit()
    assert await trainer.fit() is report
    with pytest.raises(SettingError, match="opened before"):
        await trainer.__aenter__()


async def test_a_trainer_that_was_left_unused_says_so() -> None:
    async with trainer_of(settings()) as trainer:
        pass
    with pytest.raises(TrainingError, match="epoch 1 was not done"):
        await trainer.fit()


@pytest.mark.parametrize("trouble", ["text too short", "folder exists", "vocabulary too small"])
async def test_what_cannot_be_used_is_refused_on_entering(trouble: str, tmp_path: Path) -> None:
    out, model, corpus = tmp_path / "out", MODEL, CORPUS
    error: type[Exception] = CorpusError
    if trouble == "text too short":
        corpus = Corpus.from_text("short")
    elif trouble == "folder exists":
        error = OutputError
        out.mkdir()
    else:
        error, model = SettingError, replace(MODEL, vocab_size=100)
    before = blas_threads()
    with pytest.raises(error) as caught:
        await trainer_of(settings(), model=model, corpus=corpus, out=out).__aenter__()
    assert "\n" not in str(caught.value)
    assert blas_threads() == before
    assert out.exists() == (trouble == "folder exists")
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_trace_tells_what_every_actor_did(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    async with trainer_of(settings(steps=1), trace=path) as trainer:
        await trainer.fit()
    done = {(event.actor, event.type) for event in read_trace(path) if event.kind == "done"}
    spheres = {"/root/sphere-0", "/root/sphere-1"}
    assert spheres == {actor for actor, type_ in done if type_ == "crystalline.compute_shards"}
    assert {"crystalline.reduce_slices", "crystalline.apply_slices"} <= {type_ for _, type_ in done}


@pytest.mark.parametrize("spheres", [2, 13])
async def test_a_trace_tells_how_every_sphere_has_spent_its_time(tmp_path: Path, spheres: int) -> None:
    path = tmp_path / "trace"
    async with trainer_of(settings(steps=4, spheres=spheres), trace=path) as trainer:
        report = await trainer.fit()
    training_s = report.tokens / report.tokens_per_s
    events = list(read_trace(path))
    found = {actor: used for actor, used in usage(events).items() if "/sphere-" in actor}
    assert len(found) == spheres
    for actor, used in found.items():
        (started,) = (each.time_s for each in events if each.actor == actor and each.kind == "start")
        (ended,) = (each.time_s for each in events if each.actor == actor and each.kind == "end")
        assert sum(used) == pytest.approx(ended - started, abs=1e-6)
        assert min(used) >= 0
        controls = any(other.startswith(f"{actor}/") for other in found)
        assert used.waiting_s > 0
        if not controls:
            in_steps_s = report.sphere_busy[int(actor.rpartition("-")[2])] * training_s
            assert 0 < in_steps_s <= used.busy_s + 1e-4, "the trace counts validation, too; it is rounded"
