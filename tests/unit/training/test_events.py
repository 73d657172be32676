"""What a run tells: the summary has the keys that scripts rely on."""

from __future__ import annotations

import json

from crystalline.training import StepDone, TrainReport

REPORT = TrainReport(
    epochs=3,
    steps=30,
    tokens=900,
    train_loss=2.5,
    val_loss=None,
    unigram_loss=3.5,
    tokens_per_s=45.0,
    wall_s=20.0,
    spheres=2,
    shards=12,
    parameters=1000,
    model="out",
    weights_sha256="ab",
    sphere_busy=[0.5, 0.25],
    sphere_waiting=[0.25, 0.125],
    sphere_idle=[0.25, 0.625],
    peak_rss_bytes=412_000_000,
    planned_bytes=330_000_000,
    resting=1,
    skipped=0,
    spikes=0,
    interrupted=True,
)


def test_the_summary_has_exactly_the_keys_that_were_promised() -> None:
    promised = (
        "epochs steps tokens train_loss val_loss tokens_per_s wall_s spheres shards parameters model "
        "weights_sha256 sphere_busy sphere_waiting sphere_idle peak_rss_bytes planned_bytes"
    )
    assert list(REPORT.to_json()) == promised.split()


def test_the_summary_holds_the_values_and_is_json() -> None:
    summary = json.loads(json.dumps(REPORT.to_json()))
    assert summary == {key: getattr(REPORT, key) for key in summary}


def test_what_is_neither_busy_nor_waiting_is_idle() -> None:
    step = StepDone(1, 1, 1, 1, 4.0, 1.0, 0.1, 10, 0.5, (0.5, 0.75), (0.25, 0.5))
    assert step.idle == (0.25, 0.0)  # two clocks were read: what adds up to more than all is no idleness
