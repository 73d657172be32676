"""What was tried computes what the engine computes; otherwise the comparison would mean nothing."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from functools import partial
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from crystalline.kernels.attention import attention, attention_backward, attention_scratch_size
from crystalline.kernels.rms_norm import rms_norm, rms_norm_backward
from crystalline.kernels.swiglu import swiglu
from crystalline.optim import adamw
from tests.benchmarks import alternatives
from tests.benchmarks.alternatives import KEPT, TRIED, findings, sample, show
from tests.benchmarks.tried import pairs
from tests.benchmarks.tried.pairs import PAIRS, Pair
from tests.benchmarks.tried.passes import rms_norm_backward_by_reductions, swiglu_by_exponentials
from tests.benchmarks.tried.query_first import attention_by_query, attention_by_query_backward

RNG = np.random.default_rng(0)


def test_both_sigmoids_are_the_same() -> None:
    gate, up = RNG.standard_normal((7, 9)) * 10, RNG.standard_normal((7, 9))
    found = []
    for way in (swiglu, swiglu_by_exponentials):
        silu, out, sigmoid = gate.copy(), np.empty_like(gate), np.empty_like(gate)
        way(silu, up, out=out, sigmoid=sigmoid)
        found.append((silu, out, sigmoid))
    for ours, other in zip(*found, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-10, atol=1e-12)


def test_both_gradients_of_the_norm_are_the_same() -> None:
    x, d_out, gain = RNG.standard_normal((7, 8)), RNG.standard_normal((7, 8)), RNG.standard_normal(8)
    out, inv_rms = np.empty_like(x), np.empty(7)
    rms_norm(x, gain, eps=1e-5, out=out, inv_rms=inv_rms)
    found: list[tuple[Any, ...]] = []
    for way, scratch in (
        (rms_norm_backward, np.empty((7, 8))),
        (rms_norm_backward_by_reductions, np.empty((2, 7, 8))),
    ):
        d_x, d_gain = np.ones_like(x), np.empty(8)
        way(d_out, x, gain, inv_rms, d_x=d_x, d_gain=d_gain, scratch=scratch)
        found.append((d_x, d_gain))
    for ours, other in zip(*found, strict=True):
        np.testing.assert_allclose(ours, other, rtol=1e-10)


@pytest.mark.parametrize("T", [5, 70])
def test_both_attentions_are_the_same(T: int) -> None:
    B, H, d = 2, 3, 4
    q, k, v, d_out = (RNG.standard_normal((B, H, d, T)) for _ in range(4))
    ours, other = ([np.empty_like(q) for _ in range(4)] for _ in range(2))
    rows: dict[str, Any] = {name: np.empty((B, H, 1, T)) for name in ("maxima", "sums")}
    kept = np.empty(0)
    scratch = np.empty(attention_scratch_size(B, H, 1, d, T, 8))
    attention(q[:, :, None], k, v, out=ours[0][:, :, None], **rows, kept=kept, scratch=scratch)
    attention_backward(
        d_out[:, :, None],
        q[:, :, None],
        k,
        v,
        out=ours[0][:, :, None],
        **rows,
        kept=kept,
        d_q=ours[1][:, :, None],
        d_k=ours[2],
        d_v=ours[3],
        scratch=scratch,
    )
    probabilities = np.empty((B, H, T, T))
    attention_by_query(q, k, v, out=other[0], probabilities=probabilities)
    attention_by_query_backward(
        d_out,
        q,
        k,
        v,
        out=other[0],
        probabilities=probabilities,
        d_q=other[1],
        d_k=other[2],
        d_v=other[3],
        d_scores=np.empty((H, T, T)),
    )
    for mine, its in zip(ours, other, strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", PAIRS)
def test_every_pair_runs_and_is_reported(name: str) -> None:
    pair = PAIRS[name]()
    samples = sample(pair, 2)
    assert [len(samples[cell]) for cell in (KEPT, TRIED)] == [2, 2]
    found = findings(pair, samples)
    assert found["tried_over_kept"] > 0
    assert pair.tried_name in show({name: found})


def test_what_a_way_spoils_is_restored_before_each_sample() -> None:
    said: list[str] = []
    ways = (partial(said.append, word) for word in ("kept", "tried", "prepared"))
    kept, tried, prepare = ways
    sample(Pair("one", kept, "other", tried, prepare), 1)
    assert said == ["prepared", "tried", "prepared", "kept", "prepared", "kept", "prepared", "tried"]


def test_the_sigmoids_always_meet_the_same_gate() -> None:
    pair = PAIRS["sigmoid"]()
    assert isinstance(pair.kept, partial)
    gate = pair.kept.args[0]
    before = gate.copy()
    sample(pair, 3)
    swiglu(before, before.copy(), out=np.empty_like(before), sigmoid=np.empty_like(before))
    np.testing.assert_allclose(gate, before, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "threads"), [("slices", 2), ("slices-one-thread", 1)])
def test_short_slices_have_blocks_of_half_their_length(
    name: str, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, seen, workers = PAIRS[name](), list[tuple[int, int]](), set[int]()

    def update(_new: Any, _old: Any, gradient: np.ndarray[Any, Any], **_: Any) -> None:
        seen.append((len(gradient), adamw._BLOCK))
        workers.add(threading.get_ident())
        both.wait()

    both = threading.Barrier(threads, timeout=30.0)
    monkeypatch.setattr(pairs, "adamw_update", update)
    pair.tried()
    assert Counter(seen).most_common(1)[0][0] == (65_536, 32_768)
    assert len(workers) == threads
    seen.clear()
    pair.kept()
    assert Counter(seen).most_common(1)[0][0] == (262_144, 262_144)


def test_ctrl_c_ends_it_without_an_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(alternatives, "sample", Mock(side_effect=KeyboardInterrupt))
    monkeypatch.setattr(sys, "argv", ["alternatives.py", "--only", "row-sums"])
    with pytest.raises(SystemExit) as ended:
        alternatives.main()
    assert ended.value.code == 130
    assert capsys.readouterr() == ("", "interrupted\n")


def test_above_one_means_that_what_was_kept_is_faster() -> None:
    pair = Pair("one", list, "other", list)
    found = findings(pair, {KEPT: [1.0, 2.0, 1.0], TRIED: [2.0, 4.0, 3.0]})
    assert (found["tried_over_kept"], found["of_bests"]) == (2.0, 2.0)
