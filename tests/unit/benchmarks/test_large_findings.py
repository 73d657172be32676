"""What the large run concludes, and what it keeps: a goal that cannot be missed would be worth nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from crystalline.data import Corpus, prepare_tokens
from crystalline.model import ModelConfig
from crystalline.training import TrainConfig, Trainer
from tests.benchmarks.large.child import Task, held_out_loss, laid_out
from tests.benchmarks.large.findings import PREPARING, epoch_part, findings, step_part
from tests.benchmarks.large.record import Record, RecordError
from tests.benchmarks.large.tables import markdown, plain_tables
from tests.helpers.texts import words

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST: dict[str, Any] = {
    "bytes": 2_000_000,
    "sources": [{"file": "a", "bytes": 2_000_000, "sha256": "ab"}],
}


def epoch_of(tokens_per_s: float, **changes: Any) -> dict[str, Any]:
    return {
        "steps": 10,
        "tokens": 1000,
        "training_s": 1000 / tokens_per_s,
        "tokens_per_s": tokens_per_s,
        "train_loss": 5.0,
        "val_loss": 4.0,
        "unigram_loss": 6.0,
        "weights_sha256": "cd" * 32,
        "spheres": [{"busy_s": 8.0, "waiting_s": 1.0, "idle_s": 1.0}],
        "memory_settled_mib": None,
        "memory_mib": {"now": 10, "peak": 20},
        **changes,
    }


def steps_of(*seconds: float) -> dict[str, Any]:
    return {"step_s": list(seconds), "tokens_per_step": 100}


def parts() -> dict[str, Any]:
    preparing = {
        "tokens": 1300,
        "vocab_size": 300,
        "parameters": 7,
        "training_windows": 99,
        "validation_windows": 1,
        "read_s": 0.1,
        "tokenise_s": 2.0,
        "was_cached": False,
        "from_cache_s": None,
        "memory_mib": None,
        "initial_val_loss": 8.0,
    }
    found = {PREPARING: preparing, epoch_part("many"): epoch_of(190.0), epoch_part("one"): epoch_of(100.0)}
    for round_, (many, plain) in enumerate([(1.0, 4.0), (2.0, 6.0), (1.0, 9.0)]):
        found[step_part("many", round_)] = steps_of(many / 2, many, many * 5)
        found[step_part("plain", round_)] = steps_of(plain)
    return found


def conclude(found: dict[str, Any], least_bytes: int = 1_000_000) -> dict[str, Any]:
    return findings(found, MANIFEST, rounds=3, batch_size=10, least_bytes=least_bytes)


def test_all_goals_are_reached() -> None:
    found = conclude(parts())
    assert found["goal_reached"]
    assert len(found["goals"]) == 6
    assert found["times_one"] == 1.9
    assert found["same_weights"] is True


@pytest.mark.parametrize(
    ("part", "change", "goal"),
    [
        ("many", {"steps": 9}, "one whole epoch"),
        ("one", {"val_loss": 8.0}, "the loss on held-out text falls"),
        ("one", {"weights_sha256": "ce" * 32}, "the same weights"),
    ],
)
def test_a_goal_is_missed(part: str, change: dict[str, Any], goal: str) -> None:
    measured = parts()
    measured[epoch_part(part)] |= change
    found = conclude(measured)
    assert not found["goal_reached"]
    assert [goal in name for name, held in found["goals"].items() if not held] == [True]
    assert "MISSED" in plain_tables(found)


def test_a_text_that_is_too_small_misses_its_goal() -> None:
    assert conclude(parts())["goals"]["at least 1 MB of text"]
    assert not conclude(parts(), least_bytes=3_000_000)["goals"]["at least 3 MB of text"]


def test_factors_are_medians_of_ratios_within_a_round() -> None:
    steps = conclude(parts())["steps"]
    assert steps["many"] == {
        "tokens_per_s_median": 100,
        "tokens_per_s_best": 100,
        "ours_times": 1.0,
        "ours_times_of_bests": 1.0,
        "rounds": 3,
    }
    assert (steps["plain"]["ours_times"], steps["plain"]["ours_times_of_bests"]) == (4.0, 4.0)


def test_a_way_whose_rounds_are_not_complete_has_no_factor() -> None:
    measured = parts()
    del measured[step_part("plain", 1)]
    steps = conclude(measured)["steps"]
    assert (steps["plain"]["rounds"], steps["plain"]["ours_times"]) == (2, None)


def test_tables_say_what_was_measured_and_nothing_else() -> None:
    whole = conclude(parts())
    for shown in (plain_tables(whole), markdown(whole)):
        assert "80.0 %" in shown
        assert 'claim "30 to 40 times faster": ours N = 2 is 4.00 × plain numpy.' in shown
    assert markdown(whole).count("| --- |") == 4
    nothing = plain_tables(conclude({}))
    assert "tokens" not in nothing
    assert nothing.count(": reached") == 1
    assert nothing.count(": not measured") == 5


@pytest.mark.parametrize("missing", [PREPARING, epoch_part("many"), epoch_part("one")])
def test_a_goal_that_was_not_measured_is_neither_reached_nor_missed(missing: str) -> None:
    measured = parts()
    del measured[missing]
    found = conclude(measured)
    assert len(found["goals"]) == 6
    assert {True, None} == set(found["goals"].values())
    assert not found["goal_reached"]
    assert "not measured" in plain_tables(found)
    assert "MISSED" not in plain_tables(found)


def test_without_held_out_text_nothing_is_said_of_its_loss() -> None:
    measured = parts()
    measured[PREPARING]["initial_val_loss"] = None
    for way in ("many", "one"):
        measured[epoch_part(way)]["val_loss"] = None
    found = conclude(measured)
    assert [held for goal, held in found["goals"].items() if "falls" in goal] == [None, None]
    assert not found["goal_reached"]


def test_what_computed_and_what_was_taken_out_is_told_of_all_parts() -> None:
    measured = parts()
    assert (conclude(measured)["arithmetic"], conclude(measured)["taken_out"]) == ([], {})
    measured[PREPARING] |= {"arithmetic": "numpy 1", "taken_out": {}}
    measured[step_part("many", 0)] |= {"arithmetic": "numpy 2", "taken_out": {"A": "1"}}
    found = conclude(measured)
    assert (found["arithmetic"], found["taken_out"]) == (["numpy 1", "numpy 2"], {"A": "1"})


def test_a_part_is_measured_once_and_known_again(tmp_path: Path) -> None:
    path, count = tmp_path / "record.json", []

    def measure() -> int:
        count.append(1)
        return len(count)

    for _ in range(2):
        record = Record({"sizes": (1, 2)}, path)
        assert record.part("a", measure) == 1
    assert json.loads(path.read_text())["parts"] == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["record.json"]


def test_a_record_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    Record({"sizes": 1, "text": 1}, path)
    with pytest.raises(RecordError, match="is of another sizes, text: choose another file, or remove it"):
        Record({"sizes": 2, "text": 2}, path)
    path.write_text("[]")
    with pytest.raises(RecordError, match="no record of this benchmark"):
        Record({"sizes": 1}, path)
    with pytest.raises(RecordError, match="cannot be written"):
        Record({}, tmp_path / "missing" / "record.json")


async def test_the_loss_before_is_that_of_a_training_that_learns_nothing() -> None:
    model = ModelConfig(vocab_size=290, dim=16, layers=1, heads=2, ffn_dim=32, seq_len=16)
    train = TrainConfig(spheres=1, epochs=1, steps=1, lr=0.0, val_fraction=0.1, seed=3)
    corpus = Corpus.from_text(words(3_000))
    async with Trainer(model, train, corpus) as trainer:
        report = await trainer.fit()
    config, windows = laid_out(Task("prepare", (), model, train), prepare_tokens(corpus, 290, None))
    assert report.val_loss is not None
    assert held_out_loss(config, train.seed, windows) == pytest.approx(report.val_loss, rel=1e-6)
    assert held_out_loss(config, train.seed + 1, windows) != pytest.approx(report.val_loss, rel=1e-6)
