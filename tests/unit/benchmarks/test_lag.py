"""How late the event loop is: a blocked loop is late for everything that was due, and the ticker ends."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import pytest

from crystalline.data import Corpus
from crystalline.model import ModelConfig
from crystalline.training import EpochDone, Event, Trainer
from tests.benchmarks import lag
from tests.benchmarks.lag import measure, overdue, show
from tests.helpers.texts import words

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

MODEL = ModelConfig(vocab_size=290, dim=16, layers=1, heads=2, ffn_dim=32, seq_len=16)


def test_each_tick_that_was_due_while_the_loop_was_blocked_has_its_own_delay() -> None:
    late = overdue(5.0, 50.0, 5.0)
    assert late == [45.0, 40.0, 35.0, 30.0, 25.0, 20.0, 15.0, 10.0, 5.0, 0.0]


@pytest.mark.parametrize(
    ("now_s", "late"), [(0.0, []), (4.5, []), (5.0, [0.0]), (9.5, [4.5]), (10.0, [5.0, 0.0])]
)
def test_a_tick_counts_once_it_is_due(now_s: float, late: list[float]) -> None:
    assert overdue(5.0, now_s, 5.0) == late


async def test_a_text_with_fewer_steps_than_asked_ends_the_ticker_as_well() -> None:
    found = await measure(2, 100_000, 1e-4, model=MODEL, corpus=Corpus.from_text(words(30_000)), quiet_s=0.05)
    assert 3 < int(str(found["steps"])) < 100
    assert str(found["arithmetic"]).startswith("numpy ")
    assert [line.split()[0] for line in show(found).splitlines()] == ["the", "idle", "training"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize(("p99_ms", "code"), [(10.0, 0), (10.01, 1)])
def test_the_99th_percentile_is_judged(
    p99_ms: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    delays = {"ticks": 1, "p50_ms": 1.0, "p99_ms": p99_ms, "max_ms": 20.0}

    async def measured(*_: object) -> dict[str, object]:
        return {"idle": {**delays, "p99_ms": 0.0}, "training": delays}

    monkeypatch.setattr(lag, "measure", measured)
    monkeypatch.setattr(sys, "argv", ["lag.py"])
    with pytest.raises(SystemExit) as ended:
        lag.main()
    assert ended.value.code == code
    assert json.loads(capsys.readouterr().out)["goal_reached"] is (code == 0)


async def test_what_comes_after_the_last_step_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    async def tick(_period_s: float, delays_s: list[float]) -> None:
        delays_s.append(0.0)
        seen.append("ticking")
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("ended")

    class Heard(Trainer):
        async def events(self) -> AsyncIterator[Event]:
            async for event in super().events():
                if isinstance(event, EpochDone):
                    seen.append("epoch done")
                yield event

    monkeypatch.setattr(lag, "tick", tick)
    monkeypatch.setattr(lag, "Trainer", Heard)
    await measure(2, 100_000, 1.0, model=MODEL, corpus=Corpus.from_text(words(30_000)), quiet_s=0.01)
    assert seen == ["ticking", "ended", "ticking", "ended", "epoch done"]


async def test_a_measurement_that_is_cancelled_leaves_no_ticker_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, never = asyncio.Event(), asyncio.Event()

    async def tick(*_: object) -> None:
        begun.set()
        await never.wait()

    monkeypatch.setattr(lag, "tick", tick)
    corpus = Corpus.from_text(words(30_000))
    measuring = asyncio.create_task(measure(2, 3, 1e-4, model=MODEL, corpus=corpus, quiet_s=3600.0))
    await asyncio.wait_for(begun.wait(), 30.0)
    measuring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await measuring
    assert asyncio.all_tasks() == {asyncio.current_task()}
