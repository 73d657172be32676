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
    sphere_waiting=[0.25, 0.125],
    sphere_idle=[0.25, 0.625],
    peak_rss_bytes=412_000_000,
    planned_bytes=330_000_000,
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
    assert not any("nats" in line for line in conclusion(unknown))
    assert whereabouts(unknown) == []


def test_resting_spheres_and_an_early_end_are_said() -> None:
    parts = [0.25] * 14
    many = replace(REPORT, spheres=14, sphere_busy=parts, sphere_waiting=parts, sphere_idle=parts)
    lines = conclusion(replace(many, resting=2, interrupted=True))
    assert lines[0].startswith("stopped early")
    assert any("2 of 14 spheres rested" in line for line in lines)


def test_a_few_spheres_have_a_line_each() -> None:
    lines = [line for line in conclusion(REPORT) if line.startswith("sphere-")]
    assert lines == [
        "sphere-0: busy 50%, waiting 25%, idle 25%",
        "sphere-1: busy 60%, waiting 12%, idle 62%",
    ]


def test_many_spheres_are_summed_up_without_those_that_pass_work_on() -> None:
    # Of 14 spheres the first two have a child each.
    busy = [0.0, 0.0, *[0.5] * 11, 0.25]
    waiting = [0.9, 0.9, *[0.1] * 11, 0.2]
    many = replace(
        REPORT, spheres=14, sphere_busy=busy, sphere_waiting=waiting, sphere_idle=[0.1, 0.1, *[0.4] * 12]
    )
    lines = conclusion(many)
    assert "14 spheres, of which 12 have none below them and compute:" in lines
    assert "  busy     25% to  50%, mean  48%" in lines
    assert "  waiting  10% to  20%, mean  11%" in lines
    assert "  idle     40% to  40%, mean  40%" in lines


def test_memory_stands_beside_what_the_buffers_take() -> None:
    assert "peak memory: 412 MB; the buffers of the training take 330 MB" in conclusion(REPORT)


def test_json_is_one_line() -> None:
    assert "\n" not in json_line(REPORT)
    assert json.loads(json_line(REPORT))["weights_sha256"] == "abc"
