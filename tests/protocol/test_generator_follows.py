"""A generator beside a training: newer weights for new requests, when they are whole."""

from __future__ import annotations

import asyncio
import logging
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from crystalline.errors import SettingError
from crystalline.inference import Generator, TextModel, complete
from crystalline.model import MANIFEST, MODEL_FILES, save_model, write_manifest
from tests.helpers.generators import CONFIG, tiny_model
from tests.helpers.texts import words
from tests.helpers.tokenizers import small_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIMIT_S = 20.0
WEIGHTS = "model.safetensors"


def publish(run: Path, step: int, model: TextModel, *, latest: bool = True) -> Path:
    """Make a checkpoint with the files that matter here, and point to it as a training does."""
    folder = run / "checkpoints" / f"step-{step:08d}"
    (folder / MANIFEST).parent.mkdir(parents=True)
    save_model(folder, model.config, model.parameters.flat, model.tokenizer.to_str())
    write_manifest(folder, MODEL_FILES)
    if latest:
        point(run, folder)
    return folder


def point(run: Path, folder: Path) -> None:
    fresh = run / ".latest"
    fresh.symlink_to(folder.relative_to(run))
    fresh.replace(run / "latest")
    for name in MODEL_FILES:
        if not (run / name).is_symlink():
            (run / name).symlink_to(f"latest/{name}")


def following(run: Path, **options: Any) -> Generator:
    made = {"backend": "numpy", "threads": 1, "follow": run, "follow_s": 0.01, **options}
    return Generator(tiny_model(0), **made)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while True:
            if holds():
                return
            await asyncio.sleep(0.005)


def text_of(seed: int) -> str:
    return complete(tiny_model(seed), "Ka", tokens=20, seed=1).text


async def test_every_checkpoint_is_taken_up_as_it_comes(tmp_path: Path) -> None:
    run = tmp_path / "run"
    async with following(run) as generator:  # there is nothing yet
        first = await generator.complete("Ka", tokens=20, seed=1)
        assert (first.text, first.weights) == (text_of(0), "")
        for step in (1, 2, 3):
            publish(run, step, tiny_model(step))
            await until(lambda name=f"step-{step:08d}": generator.weights == name)  # type: ignore[misc]  # it is
            answer = await generator.complete("Ka", tokens=20, seed=1)
            assert (answer.text, answer.weights) == (text_of(step), f"step-{step:08d}")
        assert generator.statistics().ended.keys() <= {"length", "stop"}


async def test_a_damaged_checkpoint_is_skipped_and_tried_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "crystalline")
    run = tmp_path / "run"
    publish(run, 1, tiny_model(1))
    async with following(run) as generator:
        await until(lambda: generator.weights == "step-00000001")
        second = publish(run, 2, tiny_model(2), latest=False)
        whole = (second / WEIGHTS).read_bytes()
        (second / WEIGHTS).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        point(run, second)
        await until(lambda: "damaged" in caplog.text)
        assert (await generator.complete("Ka", tokens=20, seed=1)).text == text_of(1)
        (second / WEIGHTS).write_bytes(whole)
        await until(lambda: generator.weights == "step-00000002")
        warned = [record for record in caplog.records if record.levelno == logging.WARNING]
        assert len(warned) == 1, "the same trouble is told once"
        assert f"newer weights are not used yet: {second}" in warned[0].getMessage()


async def test_a_checkpoint_that_vanishes_leaves_the_weights_as_they_are(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    folder = publish(run, 1, tiny_model(1))
    async with following(run) as generator:
        await until(lambda: generator.weights == "step-00000001")
        shutil.rmtree(folder)
        await until(lambda: "is not a whole model folder" in caplog.text)
        assert (await generator.complete("Ka", tokens=20, seed=1)).text == text_of(1)
        publish(run, 2, tiny_model(2))
        await until(lambda: generator.weights == "step-00000002")


async def test_another_model_is_not_taken_for_newer_weights(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    other = small_tokenizer(words(4_000, seed=9), CONFIG.vocab_size)
    publish(run, 1, TextModel(CONFIG, tiny_model(1).parameters, other))
    async with following(run) as generator:
        await until(lambda: "holds another model than the one in use" in caplog.text)
        assert (await generator.complete("Ka", tokens=20, seed=1)).text == text_of(0)
        assert generator.weights == ""


async def test_a_run_that_replaces_another_is_seen_though_steps_are_called_the_same(
    tmp_path: Path,
) -> None:
    run = tmp_path / "run"
    publish(run, 1, tiny_model(1))
    async with following(run) as generator:
        await until(lambda: generator.weights == "step-00000001")
        publish(tmp_path / "again", 1, tiny_model(5))
        run.rename(tmp_path / "before")
        (tmp_path / "again").rename(run)

        async def text() -> str:
            return (await generator.complete("Ka", tokens=20, seed=1)).text

        async with asyncio.timeout(LIMIT_S):
            found = await text()
            while found != text_of(5):
                assert found == text_of(1)
                found = await text()


async def test_looking_needs_a_pause(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="follow_s is 0"):
        following(tmp_path, follow_s=0.0)
