"""Where the time of a step goes: the clocks see all of the arithmetic, and the account adds up."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from crystalline.bench import Bandwidth, Products, forward_flops, training_flops
from crystalline.model import ModelConfig, Parameters, Workspace, layout_of
from crystalline.training import StepDone, work
from tests.benchmarks.anatomy.account import AT_LIMIT, WAITING, Steps, kernel_rows, where_it_goes
from tests.benchmarks.anatomy.clocks import GRADIENT, JOBS, Clocks, Row, merged
from tests.benchmarks.anatomy.moved import bytes_moved
from tests.benchmarks.anatomy.turns import WARM, Schedule
from tests.benchmarks.kernels import Seen, clocked_steps, findings, fractions, spheres_for, weight_names
from tests.helpers.models import random_batch, random_parameters

# Whose weights all have different dimensions, and which has several blocks of queries.
CONFIG = ModelConfig(vocab_size=300, dim=32, layers=2, heads=4, ffn_dim=80, seq_len=96)
B, N = 2, 2 * 96


def patched() -> list[Any]:
    """Everything that clocks may exchange."""
    modules = [module for name, module in sorted(sys.modules.items()) if name.startswith("crystalline.")]
    return [[id(value) for value in vars(module).values()] for module in modules] + [
        [vars(work.ShardWork)[name] for name in JOBS]
    ]


def clocked_pass() -> dict[str, Row]:
    weights = random_parameters(CONFIG, 1, np.float32)
    gradient = Parameters(CONFIG, np.empty(layout_of(CONFIG).size, np.float32))
    clocks, before = Clocks(weight_names(CONFIG)), patched()
    clocks.put_on()
    try:
        tokens, targets = random_batch(CONFIG, 1, B, CONFIG.seq_len)
        getattr(work, GRADIENT)(weights, gradient, tokens, targets, Workspace(CONFIG, B), loss_scale=1.0)
    finally:
        clocks.take_off()
    assert patched() == before, "everything is as it was"
    rows = clocks.take()
    assert clocks.take() == {}
    return rows


def test_clocks_see_every_product_that_a_step_needs() -> None:
    rows = clocked_pass()
    needed, per_weight = forward_flops(CONFIG), {"forward": 1, "backward": 2}
    weights = {
        "qkv": CONFIG.layers * 2 * 3 * 32 * 32,
        "o_proj": CONFIG.layers * 2 * 32 * 32,
        "gate_up": CONFIG.layers * 2 * 2 * 80 * 32,
        "down_proj": CONFIG.layers * 2 * 80 * 32,
        "head": 2 * 300 * 32,
    }
    for direction, times in per_weight.items():
        for weight, flops in weights.items():
            assert rows[f"{weight} products, {direction}"].flops == times * N * flops
        assert rows[f"attention products, {direction}"].flops >= times * N * needed["attention"]
    assert rows[GRADIENT].calls == 1
    assert not any(name.startswith("other") for name in rows)


def test_clocks_see_the_kernels_and_their_time_is_within_the_pass() -> None:
    rows = clocked_pass()
    kernels = {name for name in rows if " products, " not in name} - {GRADIENT}
    both = {
        f"{name}{end}" for name in ("rms_norm", "rotary", "swiglu", "attention") for end in ("", "_backward")
    }
    assert both | {"embedding", "embedding_backward", "cross_entropy_backward"} <= kernels
    assert 0 < sum(rows[name].seconds for name in kernels) <= rows[GRADIENT].seconds
    assert all(rows[name].inner_s <= rows[name].seconds for name in kernels)
    assert rows["attention"].inner_s > 0 == rows["swiglu"].inner_s


def test_rows_of_the_same_name_are_added() -> None:
    table = {"a": Row(1, 2.0, 1.0, 3.0, 4.0)}
    assert merged([table, table, {"b": Row(1)}]) == {"a": Row(2, 4.0, 2.0, 6.0, 8.0), "b": Row(1)}


def test_bytes_are_those_that_must_move() -> None:
    x, gain = np.zeros((6, 4), np.float32), np.zeros(4, np.float32)
    arguments = {"x": x, "gain": gain, "eps": 1e-5, "out": x, "scratch": x}
    assert bytes_moved("rms_norm", arguments) == 2 * 96 + 16
    assert bytes_moved("rotary", {"x": x, "cos": gain, "rotary_scratch": x}) == 2 * 96 + 16
    table = np.zeros((1000, 4), np.float32)
    ids = np.zeros(6, np.int32)
    assert bytes_moved("embedding", {"ids": ids, "table": table, "out": x}) == 24 + 2 * 96
    assert bytes_moved("embedding_backward", {"d_out": x, "ids": ids, "d_table": table}) == 24 + 3 * 96
    q = np.zeros((2, 1, 3, 8, 4), np.float32)
    assert bytes_moved("attention", {"q": q}) == 2 * (2 * 3 * 10) * 4


STEPS = Steps(
    spheres=2,
    seconds=5.0,
    shards=12,
    flops=5e9,
    attention_flops=1e9,
    sgemm_gflops=2.0,
    gb_per_s=4.0,
)
ROWS = {
    "head products, forward": Row(1, 4.5, 0.0, 4e9),
    "attention products, forward": Row(1, 2.0, 0.0, 1.5e9),
    "linear": Row(1, 4.6, 4.5),
    "attention": Row(1, 2.25, 2.0, 0.0, 1e8),
    "swiglu": Row(1, 0.5, 0.0, 0.0, 1e9),
    GRADIENT: Row(1, 7.5),
    "compute": Row(1, 8.25),
    "tree additions": Row(1, 0.25),
    "reduce": Row(1, 0.25),
    "AdamW": Row(1, 0.5),
}


def test_the_account_of_a_step_adds_up() -> None:
    parts = where_it_goes(ROWS, STEPS)
    assert parts == pytest.approx(
        {
            AT_LIMIT: 0.5,
            "attention: products under the mask, or done twice": 0.05,
            "attention: products below the limit": 0.05,
            "other products below the limit": 0.05,
            "element-wise: swiglu": 0.05,
            "element-wise: attention": 0.025,
            "python around the kernels": 0.025,
            "tree additions": 0.025,
            "buffers, around the passes": 0.05,
            "reduce": 0.025,
            "AdamW": 0.05,
            WAITING: 0.1,
        }
    )
    assert sum(parts.values()) == pytest.approx(1.0)


def test_products_that_are_not_needed_are_told_apart() -> None:
    parts = where_it_goes({**ROWS, "head products, forward": Row(1, 4.5, 0.0, 4.25e9)}, STEPS)
    assert parts["other products that are not needed"] == pytest.approx(0.025)
    assert parts["other products below the limit"] == pytest.approx(0.025)
    assert sum(parts.values()) == pytest.approx(1.0)


def test_kernels_are_held_to_one_threads_part_of_the_limit() -> None:
    rows = kernel_rows(ROWS, STEPS)
    head = rows["head products, forward"]
    assert (head["gflops"], head["of_limit"]) == pytest.approx((4 / 4.5, 4 / 4.5))
    swiglu = rows["swiglu"]
    assert (swiglu["gb_per_s"], swiglu["of_limit"]) == pytest.approx((2.0, 1.0))
    assert (swiglu["ms_per_shard"], swiglu["share"]) == pytest.approx((500 / 12, 0.5 / 7.5))
    assert rows["attention"]["ms_per_shard"] == pytest.approx(250 / 12)
    assert "gb_per_s" not in rows["linear"]
    assert rows["AdamW"]["share"] == pytest.approx(0.05)


def test_blocks_stand_between_gates() -> None:
    schedule = Schedule(rounds=1, steps=2)
    steps = range(1, schedule.total + 1)
    assert [schedule.gate(step) for step in steps] == [None, None, 0, None, None, 1, None, None, 2]
    assert [schedule.block(step) for step in steps] == [None, None, None, 0, 0, None, 1, 1, None]
    assert [step for step in steps if schedule.start(step)] == [4, 7]
    assert [schedule.clocked(block) for block in range(3)] == [False, True, False]
    assert WARM == 2


def seen(seconds: float) -> Seen:
    """One round: plain steps of so many seconds, clocked ones of twice that; limits of 2, 1 and 4."""
    config = ModelConfig(vocab_size=300, dim=32, layers=1, heads=2, seq_len=16)
    schedule = Schedule(rounds=1, steps=2)
    tokens = round(1e9 / training_flops(config))
    step = StepDone(
        epoch=1,
        epochs=1,
        step=1,
        steps=schedule.total,
        loss=1.0,
        grad_norm=1.0,
        learning_rate=0.1,
        tokens=tokens,
        seconds=99.0,
        busy=(),
        waiting=(),
    )
    times = {4: seconds, 5: seconds, 7: 2 * seconds, 8: 2 * seconds}
    steps = [replace(step, step=at, seconds=times.get(at, 99.0)) for at in range(1, schedule.total + 1)]
    gates = [Products(rate, 1.0) for rate in (2.0, 1.0, 4.0)]
    return Seen(schedule, 2, config, steps, gates, [Bandwidth(1.0, 1.0)] * 3, ROWS)


@pytest.mark.parametrize(("seconds", "reached"), [(0.7, True), (0.72, False)])
def test_the_fraction_is_of_the_higher_limit_around_the_plain_block(seconds: float, *, reached: bool) -> None:
    shown = seen(seconds)
    assert fractions(shown) == pytest.approx([1 / seconds / 2.0], rel=1e-3)
    found = findings(shown)
    assert found["fraction_of_limit"]["reached"] is reached
    assert found["fraction_of_limit"]["of_bests"] == pytest.approx(1 / seconds / 4.0, rel=1e-2)
    assert found["step_with_clocks_ms"] == pytest.approx(2 * found["step_ms"])


def test_the_table_is_of_the_higher_limit_around_the_block_with_clocks() -> None:
    shown = seen(0.7)
    assert clocked_steps(shown).sgemm_gflops == 4.0
    assert findings(shown)["where_it_goes"][AT_LIMIT] == pytest.approx(1 / 1.4 / 4.0, abs=1e-3)


def test_a_step_takes_from_the_end_of_the_one_before_to_its_own() -> None:
    heard = seen(0.7)
    events, heard.steps, heard.ended_s = heard.steps, [], 10.0
    for at_s, event in zip((12.0, 12.5, 16.0), events, strict=False):
        heard.hear(event, at_s)
    assert [step.seconds for step in heard.steps] == [2.0, 0.5, 3.5]
    assert [step.step for step in heard.steps] == [1, 2, 3]


@pytest.mark.parametrize(("cores", "choices"), [(1, [1]), (2, [1, 2]), (64, [1, 2, 3, 4])])
def test_no_more_spheres_than_cores_can_be_asked_for(cores: int, choices: list[int]) -> None:
    assert list(spheres_for(cores)) == choices
