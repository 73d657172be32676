"""The models folder while several processes use it, and some of them are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from crystalline.model.export_hf import write_hf
from crystalline.models import Store, damages, import_model, summarise
from tests.helpers.command import environment, run, start
from tests.helpers.small_models import listing, small_model

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.e2e

PROGRAM = Path(__file__).parent / "programs" / "model_traffic.py"
LIMIT_S = 50.0
KILLS = 12


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of some megabytes, so that writing it takes a while."""
    folder = tmp_path_factory.mktemp("source") / "m"
    write_hf(folder, small_model(dim=256, ffn_dim=2048, layers=2))
    return folder


@pytest.fixture
def traffic() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that are ended with the test."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate(timeout=LIMIT_S)


def begin(*words: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, PROGRAM, *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def stopped(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Ask a program to stop; what it printed."""
    return process.communicate("\n", timeout=LIMIT_S)


def hidden(models: Path) -> list[str]:
    """What is in the folder besides names, and besides what they stand for."""
    store = Store(models)
    named = {store.place(name).name for name in store.names()}
    inside = [name for name in listing(models / ".store") if name not in named]
    return [name for name in listing(models) if name not in {".store", *store.names()}] + inside


def test_an_import_that_is_killed_leaves_nothing_to_see(source: Path, tmp_path: Path) -> None:
    """SIGKILL at moments spread over the time from the first trace of the import in the folder to its end."""
    models, rng = tmp_path / "models", Random(0)
    store, left, whole = Store(models), 0, 0
    import_model(store, source, "before")
    wanted = summarise(store, "before").record.weights_sha256
    for number in range(KILLS):
        process = begin("import", models, source, f"m{number}")
        assert process.stdout is not None
        for _ in range(rng.randrange(6)):  # it says when it reads, hashes, writes and checks
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=LIMIT_S)
        left += bool(hidden(models))
        for name in store.names():
            with store.reading(name) as place:
                assert damages(place) == []
        whole += f"m{number}" in store.names()
        assert "before" in store.names()
    assert left, "no kill came while something was being written"
    store.rename("before", "after")
    assert hidden(models) == []
    assert {summarise(store, name).record.weights_sha256 for name in store.names()} == {wanted}
    assert len(store.names()) == 1 + whole < 1 + KILLS


def test_readers_see_whole_models_or_none(
    source: Path, tmp_path: Path, traffic: list[subprocess.Popen[str]]
) -> None:
    """Two processes read a name while others import under it, rename and remove it.

    The two models that take turns have the same sizes, so that a mixture of their files could be opened.
    """
    models, other = tmp_path / "models", tmp_path / "other"
    write_hf(other, small_model(dim=256, ffn_dim=2048, layers=2, seed=1))
    store = Store(models)
    import_model(store, source, "a")
    traffic += [begin("read", models, "a"), begin("open", models, "a")]
    traffic.append(begin("change", models, source, other, "a"))
    for process in traffic:
        assert process.stdout is not None
        assert process.stdout.readline() == "at it\n"
    for _ in range(4):  # while they are at it: commands from outside
        assert run("models", "list", "--models", models, "--json").code in {0, 2}
    printed = [stopped(process) for process in traffic]
    for (_, errors), process in zip(printed, traffic, strict=True):
        assert (process.returncode, errors) == (0, "")
    (seen_by_reading, _), (seen_by_opening, _), (changes, _) = printed
    assert int(changes) >= 4
    for seen in (seen_by_reading, seen_by_opening):
        whole, missing, mixed = map(int, seen.split())
        assert whole > 0
        assert missing >= 0
        assert mixed == 0
    import_model(store, source, "last")
    assert hidden(models) == []


def test_imports_at_once_all_arrive(source: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    processes = [start("models", "import", source, "--name", f"m{n}", "--models", models) for n in range(4)]
    for process in processes:
        _, errors = process.communicate(timeout=LIMIT_S)
        assert (process.returncode, errors) == (0, "")
    assert Store(models).names() == ["m0", "m1", "m2", "m3"]
    assert run("models", "verify", "--models", models).code == 0
    assert hidden(models) == []


def test_of_imports_under_one_name_one_arrives(source: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    processes = [start("models", "import", source, "--name", "m", "--models", models) for _ in range(4)]
    ends = [(process.communicate(timeout=LIMIT_S)[1], process.returncode) for process in processes]
    assert sorted(code for _, code in ends) == [0, 2, 2, 2]
    assert all("exists" in errors for errors, code in ends if code)
    assert run("models", "verify", "--models", models).code == 0
    assert hidden(models) == []
