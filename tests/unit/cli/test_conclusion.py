"""The last words of a training run."""

from __future__ import annotations

import json
from dataclasses import replace

from crystalline.cli.conclusion import conclusion, json_line, whereabouts
from crystalline.training import TrainReport

REPORT = TrainReport(
    epochs=3,
    steps=30,
    tokens=12_345,
    train_loss=3.0,
    val_loss=3.25,
    unigram_loss=5.5,
    tokens_per_s=1000.0,
    wall_s=12.5,
    spheres=2,
    shards=12,
    parameters=26_208,
    model="runs/my model",
    weights_sha256="abc",
    sphere_busy=[0.5, 0.6],
    resting=0,
    skipped=0,
    spikes=0,
    interrupted=False,
)


def test_it_tells_where_the_model_is_and_how_to_talk_to_it() -> None:
    assert conclusion(REPORT)[0] == "done: 26,208 parameters, 12,345 tokens in 30 steps, 12.5 s"
    assert whereabouts(REPORT) == [
        "model: runs/my model",
        "talk to it: crystalline generate 'runs/my model' --prompt 'The'",
    ]


def test_validation_stands_beside_its_yardstick() -> None:
    assert any("3.250" in line and "5.500" in line for line in conclusion(REPORT))


def test_losses_that_are_not_known_are_left_out() -> None:
    unknown = replace(REPORT, train_loss=None, val_loss=None, unigram_loss=None, model=None)
    assert len(conclusion(unknown)) == 1
    assert whereabouts(unknown) == []


def test_resting_spheres_and_an_early_end_are_said() -> None:
    lines = conclusion(replace(REPORT, resting=2, spheres=14, interrupted=True))
    assert lines[0].startswith("stopped early")
    assert any("2 of 14 spheres rested" in line for line in lines)


def test_json_is_one_line() -> None:
    assert "\n" not in json_line(REPORT)
    assert json.loads(json_line(REPORT))["weights_sha256"] == "abc"
