"""Checkpoints are whole or absent, whatever breaks on the way; what is damaged is found and named."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from actors import JobAbandoned, JobToken
from crystalline.errors import ModelFolderError, OutputError
from crystalline.model import layout_of, load_model, weights_sha256
from crystalline.optim import AdamWBuffers
from crystalline.training import Checkpoint, Progress, TrainConfig, load_checkpoint
from crystalline.training.checkpoint import Snapshot
from crystalline.training.run_folder import RunFolder, RunIdentity
from tests.helpers.faults import WAIT_S, Stuck
from tests.helpers.models import TIED
from tests.helpers.tokenizers import small_tokenizer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TOKENIZER_JSON = small_tokenizer("the cat sat on the mat", 258).to_str()
TRAIN = TrainConfig(seed=7, lr=0.125)
FILES = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}


def snapshot(step: int, seed: int = 0) -> Snapshot:
    rng = np.random.default_rng([seed, step])
    weights, first, second = (rng.standard_normal(layout_of(TIED).size, np.float32) for _ in range(3))
    buffers = AdamWBuffers(weights, first, np.abs(second))
    progress = Progress(epoch=2, step=step, step_in_epoch=step - 1, recent_losses=(2.5, 0.1 + step))
    return Snapshot(TIED, buffers, progress, weights_sha256(buffers.weights))


IDENTITY = RunIdentity(
    train=TRAIN,
    tokenizer_json=TOKENIZER_JSON,
    data_fingerprint="f00d",
    data="a text",
    data_paths=("/a/text",),
    vocab_size=300,
    arithmetic="numpy 2, abacus 1",
)


def run_folder(path: Path, *, force: bool = False, resumed: Checkpoint | None = None) -> RunFolder:
    return RunFolder(path, IDENTITY, force=force, resumed=resumed)


def earlier_run(path: Path, step: int, seed: int = 0) -> None:
    """A run that has ended."""
    with closing(run_folder(path)) as folder:
        save(folder, step, seed)


def save(folder: RunFolder, step: int, seed: int = 0) -> Path:
    return folder.save(JobToken(60.0), snapshot(step, seed))


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def assert_whole(out: Path) -> int:
    """Hold a run folder to its contract: every checkpoint in it is complete. Returns the latest step."""
    assert names(out) == FILES | {"training", "latest", "checkpoints", "metrics.jsonl"}
    for checkpoint in (out / "checkpoints").iterdir():
        loaded = load_checkpoint(checkpoint)
        assert checkpoint.name == f"step-{loaded.progress.step:08d}"
        assert loaded.record["weights_sha256"] == weights_sha256(loaded.buffers.weights)
    load_model(out)
    return load_checkpoint(out).progress.step


class Disk:
    """A disk whose n-th operation fails. Removing is left to work, as on a full disk."""

    OPERATIONS = (
        (Path, ("mkdir", "write_bytes", "write_text", "rename", "replace", "symlink_to", "iterdir")),
        (os, ("open", "fsync")),
    )

    def __init__(self) -> None:
        self.fails_at = -1
        self.done = 0

    @contextmanager
    def failing_at(self, operation: int) -> Iterator[None]:
        self.fails_at, self.done = operation, 0
        try:
            yield
        finally:
            self.fails_at = -1

    @property
    def failed(self) -> bool:
        return 0 <= self.fails_at < self.done

    def count(self) -> None:
        self.done += 1
        if self.done - 1 == self.fails_at:
            raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    disk = Disk()
    monkeypatch.setattr(os, "fsync", lambda _handle: None)  # a test needs no durability
    for owner, operations in Disk.OPERATIONS:
        for name in operations:
            monkeypatch.setattr(owner, name, _counted(disk, getattr(owner, name)))
    original_rmtree = shutil.rmtree

    def rmtree(*args: Any, **kwargs: Any) -> None:
        fails_at, disk.fails_at = disk.fails_at, -1
        done = disk.done
        original_rmtree(*args, **kwargs)
        disk.fails_at, disk.done = fails_at, done

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    return disk


def _counted(disk: Disk, operation: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*args: Any, **kwargs: Any) -> Any:
        disk.count()
        return operation(*args, **kwargs)

    return counted


# What is saved


def test_a_checkpoint_holds_the_model_and_where_the_training_stood(tmp_path: Path) -> None:
    """Never again: every checkpoint was called step 0; no vocabulary, optimizer state or checksum inside."""
    folder, made = run_folder(tmp_path / "out"), snapshot(120)
    checkpoint = folder.save(JobToken(60.0), made)
    assert checkpoint == tmp_path / "out" / "checkpoints" / "step-00000120"
    assert names(checkpoint) == FILES | {"training"}
    assert names(checkpoint / "training") == {"progress.json", "optimizer.safetensors", "manifest.json"}
    loaded = load_checkpoint(checkpoint)
    assert [b.tobytes() for b in loaded.buffers] == [b.tobytes() for b in made.buffers]
    assert (loaded.config, loaded.progress) == (TIED, made.progress)


def test_progress_records_what_the_run_was(tmp_path: Path) -> None:
    save(run_folder(tmp_path / "out"), 5)
    record = json.loads((tmp_path / "out" / "training" / "progress.json").read_bytes())
    assert record == {
        **snapshot(5).progress.to_json(),
        "recent_losses": [2.5, 5.1],
        "weights_sha256": weights_sha256(snapshot(5).buffers.weights),
        "settings": asdict(TRAIN),
        "vocab_size": 300,
        "data": "a text",
        "data_paths": ["/a/text"],
        "data_fingerprint": "f00d",
        "arithmetic": "numpy 2, abacus 1",
    }
    assert load_checkpoint(tmp_path / "out").record == record


def test_the_run_folder_is_itself_a_model_folder(tmp_path: Path) -> None:
    """Never again: `return 0` on every path, so the model was never saved."""
    save(run_folder(tmp_path / "out"), 1)
    config, weights = load_model(tmp_path / "out")
    assert config == TIED
    assert weights.tobytes() == snapshot(1).buffers.weights.tobytes()
    assert (tmp_path / "out" / "tokenizer.json").read_text(encoding="utf-8") == TOKENIZER_JSON
    assert (tmp_path / "out" / "latest").readlink() == Path("checkpoints/step-00000001")
    assert (tmp_path / "out" / "config.json").readlink() == Path("latest/config.json")


def test_a_run_folder_can_be_moved(tmp_path: Path) -> None:
    save(run_folder(tmp_path / "out"), 1)
    (tmp_path / "out").rename(tmp_path / "elsewhere")
    assert assert_whole(tmp_path / "elsewhere") == 1


def test_the_latest_and_the_one_before_it_are_kept(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "out")
    for step in (1, 2, 9, 10, 11):
        save(folder, step)
        assert assert_whole(tmp_path / "out") == step
    assert names(tmp_path / "out" / "checkpoints") == {"step-00000010", "step-00000011"}


def test_the_same_step_is_saved_once(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "out")
    first = save(folder, 3)
    inode = first.stat().st_ino
    assert save(folder, 3) == first
    assert first.stat().st_ino == inode


def test_nothing_is_there_before_the_first_checkpoint(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "deep" / "out")
    assert names(tmp_path) == set()
    save(folder, 1)
    assert names(tmp_path / "deep") == {"out"}


def test_a_model_can_be_read_by_those_whom_the_umask_allows(tmp_path: Path) -> None:
    usual = tmp_path / "usual"
    usual.mkdir()
    save(run_folder(tmp_path / "out"), 1)
    for folder in (tmp_path / "out", tmp_path / "out" / "latest" / "training"):
        assert folder.stat().st_mode == usual.stat().st_mode


# Where it may be saved


def test_what_exists_is_refused(tmp_path: Path) -> None:
    save(run_folder(tmp_path / "out"), 1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("out", "empty", "dangling"):
        with pytest.raises(OutputError, match=f"{name} exists: choose another --out, or --force"):
            run_folder(tmp_path / name)
    assert assert_whole(tmp_path / "out") == 1


def test_force_replaces_an_earlier_run_when_the_first_checkpoint_is_complete(tmp_path: Path) -> None:
    earlier_run(tmp_path / "out", 50, seed=1)
    folder = run_folder(tmp_path / "out", force=True)
    assert assert_whole(tmp_path / "out") == 50
    save(folder, 2)
    assert assert_whole(tmp_path / "out") == 2
    assert names(tmp_path / "out" / "checkpoints") == {"step-00000002"}
    assert names(tmp_path) == {"out"}


def test_force_replaces_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    save(run_folder(tmp_path / "out", force=True), 2)
    assert assert_whole(tmp_path / "out") == 2


@pytest.mark.parametrize("kind", ["file", "folder", "link to a run", "foreign latest"])
def test_force_deletes_nothing_that_is_not_a_run(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    if kind == "file":
        out.write_text("mine", encoding="utf-8")
    elif kind == "folder":
        (out / "photos").mkdir(parents=True)
    elif kind == "foreign latest":
        out.mkdir()
        (out / "latest").symlink_to("release-7")
    else:
        earlier_run(tmp_path / "run", 1)
        out.symlink_to("run")
    with pytest.raises(OutputError, match="not made by a training run"):
        run_folder(out, force=True)
    assert out.exists() or (out / "latest").is_symlink()


@pytest.mark.parametrize("name", ["a file/out", "a file/deep/out", "x" * 300, "nul\0l"])
def test_a_place_that_cannot_be_is_refused_at_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "a file").write_text("mine", encoding="utf-8")
    for force in (False, True):
        with pytest.raises(OutputError, match="cannot write to"):
            run_folder(tmp_path / name, force=force)
    assert names(tmp_path) == {"a file"}


# When it breaks on the way


def test_a_first_checkpoint_is_there_as_a_whole_or_not_at_all(tmp_path: Path, disk: Disk) -> None:
    for operation in range(1000):
        out = tmp_path / f"{operation}" / "out"
        out.parent.mkdir()
        folder = run_folder(out)
        with disk.failing_at(operation):
            try:
                save(folder, 1)
            except OutputError as error:
                assert f"step 1 under {out}: No space left on device" in str(error)  # noqa: PT017 - it is one of many
            failed = disk.failed
        assert names(out.parent) <= {"out"}, "nothing is left lying beside it"
        if out.exists():
            assert assert_whole(out) == 1
        save(folder, 2)
        assert assert_whole(out) == 2
        if not failed:
            assert operation > 20
            return
    pytest.fail("saving never ended")


@pytest.mark.parametrize("steps", [(1,), (1, 2)])
def test_a_later_checkpoint_that_breaks_leaves_the_earlier_ones(
    tmp_path: Path, disk: Disk, steps: tuple[int, ...]
) -> None:
    newest = steps[-1] + 1
    for operation in range(1000):
        out = tmp_path / f"{operation}" / "out"
        folder = run_folder(out)
        for step in steps:
            save(folder, step)
        with disk.failing_at(operation):
            try:
                save(folder, newest)
            except OutputError as error:
                assert "What was saved there before is as it was" in str(error)  # noqa: PT017 - it is one of many
            failed = disk.failed
        assert names(out.parent) == {"out"}
        assert assert_whole(out) in {steps[-1], newest}
        save(folder, newest)
        assert assert_whole(out) == newest
        if not failed:
            assert operation > 15
            return
    pytest.fail("saving never ended")


def test_an_earlier_run_is_replaced_as_a_whole_or_not_at_all(tmp_path: Path, disk: Disk) -> None:
    for operation in range(1000):
        out = tmp_path / f"{operation}" / "out"
        earlier_run(out, 77, seed=1)
        folder = run_folder(out, force=True)
        with disk.failing_at(operation):
            try:
                save(folder, 1)
            except OutputError as error:
                assert "No space left" in str(error)  # noqa: PT017 - it is one of many
            failed = disk.failed
        assert names(out.parent) == {"out"}
        assert assert_whole(out) in {77, 1}
        if not failed:
            assert assert_whole(out) == 1
            return
    pytest.fail("saving never ended")


def test_a_save_that_nobody_waits_for_leaves_everything_as_it_was(tmp_path: Path) -> None:
    folder, token = run_folder(tmp_path / "out"), JobToken(60.0)
    save(folder, 1)
    token.cancel()
    with pytest.raises(JobAbandoned):
        folder.save(token, snapshot(2))
    assert assert_whole(tmp_path / "out") == 1
    assert names(tmp_path / "out" / "checkpoints") == {"step-00000001"}


def test_a_save_left_behind_in_its_thread_keeps_others_waiting_only_while_they_want_to(
    tmp_path: Path,
) -> None:
    folder, token = run_folder(tmp_path / "out"), JobToken(60.0)
    token.cancel()
    with folder._saving, pytest.raises(JobAbandoned):
        folder.save(token, snapshot(1))
    assert names(tmp_path) == set()


# What is on the disk before it has its name


@pytest.fixture
def journal(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Path]]:
    """What was synced, and what was moved away from its name, in order."""
    entries: list[tuple[str, Path]] = []
    fsync, rename = os.fsync, Path.rename

    def noted_fsync(handle: int) -> None:
        path = Path(f"/proc/self/fd/{handle}").readlink()
        entries.append(("lines" if path.name == "metrics.jsonl" else "sync", path))
        fsync(handle)

    def noted_rename(path: Path, target: Path) -> Path:
        entries.extend([("rename", path), ("to", target)])
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "rename", noted_rename)
    return entries


def assert_durable(journal: list[tuple[str, Path]], checkpoint: Path) -> None:
    """All of a checkpoint was synced once, then it was renamed, then the folder around it synced."""
    at = next(i for i, (what, path) in enumerate(journal) if (what, path.name) == ("to", checkpoint.name))
    fresh = journal[at - 1][1]
    inside = [path.relative_to(fresh) for what, path in journal[:at] if what == "sync"]
    everything = [entry.relative_to(checkpoint) for entry in [checkpoint, *checkpoint.rglob("*")]]
    assert len(everything) == 7 + 2
    assert sorted(inside) == sorted(everything)
    assert journal[at + 1] == ("sync", journal[at][1].parent)


def test_a_checkpoint_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, journal: list[tuple[str, Path]]
) -> None:
    out = tmp_path / "out"
    folder = run_folder(out)
    journal.clear()
    first = save(folder, 1)
    assert [place for place, (what, _) in enumerate(journal) if what == "lines"][-1] < journal.index(
        ("to", out)
    )
    journal[:] = [entry for entry in journal if entry[0] != "lines"]
    assert_durable(journal, first)
    # The run folder around it has no name yet either.
    fresh = journal[-4][1]
    assert journal[-4:] == [("sync", fresh), ("rename", fresh), ("to", out), ("sync", tmp_path)]
    journal.clear()
    second = save(folder, 2)
    assert journal.pop(0) == ("lines", out / "metrics.jsonl"), "a checkpoint vouches for the lines up to it"
    assert_durable(journal, second)
    assert journal[-1] == ("sync", out), "the link to the latest"


class CountedToken(JobToken):
    """Tells how often its job looked whether somebody still waits."""

    def __init__(self) -> None:
        super().__init__(60.0)
        self.checks = 0

    def check(self) -> None:
        self.checks += 1
        super().check()


def test_a_save_does_not_begin_before_the_one_that_is_stuck_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, second = Stuck(), CountedToken()
    begun: list[int] = []
    folder, original = run_folder(tmp_path / "out"), RunFolder._save

    def slow(folder: RunFolder, token: JobToken, made: Snapshot) -> Path:
        begun.append(made.progress.step)
        if made.progress.step == 1:
            stuck()
        return original(folder, token, made)

    monkeypatch.setattr(RunFolder, "_save", slow)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(save, folder, 1)
        assert stuck.entered.wait(WAIT_S)
        then = pool.submit(folder.save, second, snapshot(2))
        while second.checks < 2 and not then.done():
            time.sleep(0.01)
        assert begun == [1]
        stuck.let_go()
        first.result(WAIT_S)
        then.result(WAIT_S)
    assert begun == [1, 2]
    assert assert_whole(tmp_path / "out") == 2
    assert names(tmp_path / "out" / "checkpoints") == {"step-00000001", "step-00000002"}


# When it is damaged later


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(run_folder(tmp_path_factory.mktemp("damaged") / "out"), 3)


def files_of(checkpoint: Path) -> list[Path]:
    return sorted(file for file in checkpoint.rglob("*") if file.is_file())


@contextmanager
def damaged(file: Path, content: bytes | None) -> Iterator[None]:
    whole = file.read_bytes()
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    try:
        yield
    finally:
        file.write_bytes(whole)


def assert_named(checkpoint: Path, file: Path) -> None:
    with pytest.raises(ModelFolderError) as caught:
        load_checkpoint(checkpoint)
    text = str(caught.value)
    # A damaged manifest may accuse another file; everything else is named itself.
    assert str(checkpoint if file.name == "manifest.json" else file) in text
    assert "\n" not in text
    assert "train again" in text


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.integers(0, 6), st.floats(0, 1, exclude_max=True), st.integers(1, 255))
def test_a_changed_byte_is_found(checkpoint: Path, which: int, place: float, flip: int) -> None:
    file = files_of(checkpoint)[which]
    content = bytearray(file.read_bytes())
    content[int(place * len(content))] ^= flip
    with damaged(file, bytes(content)):
        assert_named(checkpoint, file)


def test_no_byte_of_the_manifest_can_change(checkpoint: Path) -> None:
    file = checkpoint / "training" / "manifest.json"
    rng = np.random.default_rng(0)
    whole = file.read_bytes()
    for place in range(len(whole)):
        content = bytearray(whole)
        content[place] ^= int(rng.integers(1, 256))
        with damaged(file, bytes(content)):
            assert_named(checkpoint, file)


@pytest.mark.parametrize("which", range(7))
@pytest.mark.parametrize("part", [None, 0.0, 0.5, 1.0])
def test_a_missing_or_shortened_file_is_found(checkpoint: Path, which: int, part: float | None) -> None:
    file = files_of(checkpoint)[which]
    content = file.read_bytes()
    with damaged(file, None if part is None else content[: int(part * (len(content) - 1))]):
        assert_named(checkpoint, file)


def test_a_file_grown_or_replaced_by_a_folder_is_found(checkpoint: Path) -> None:
    for file in files_of(checkpoint):
        with damaged(file, file.read_bytes() + b" "):
            assert_named(checkpoint, file)
        with damaged(file, None):
            file.mkdir()
            try:
                assert_named(checkpoint, file)
            finally:
                file.rmdir()


def test_what_was_restored_loads_again(checkpoint: Path) -> None:
    assert load_checkpoint(checkpoint).progress.step == 3
    assert len(files_of(checkpoint)) == 7


def test_a_model_without_training_state_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match=r"manifest\.json"):
        load_checkpoint(tmp_path)
