from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crystalline.model import (
    ModelConfig,
    Parameters,
    RopeScaling,
    Workspace,
    logits,
    loss,
    loss_and_gradient,
    next_logits,
)
from crystalline.model import workspace as workspace_module
from tests.helpers.kernel_check import assert_like_torch, fixture, garbage
from tests.helpers.models import GROUPED, TIED, random_batch, random_parameters

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

BOTH = pytest.mark.parametrize("config", [TIED, GROUPED], ids=["tied", "grouped-untied"])


def run(
    parameters: Parameters,
    tokens: Array,
    targets: Array,
    *,
    scale: float = 1.0,
    workspace: Workspace | None = None,
) -> tuple[float, Array]:
    """Loss and flat gradient; the gradient's buffer and a fresh workspace are full of garbage."""
    dtype = parameters.flat.dtype
    if workspace is None:
        workspace = Workspace(parameters.config, len(tokens), tokens.shape[1], dtype=dtype)
    workspace._flat[:] = np.nan
    gradient = Parameters(parameters.config, garbage(parameters.layout.size, dtype=dtype))
    total = loss_and_gradient(parameters, gradient, tokens, targets, workspace, loss_scale=scale)
    return total, gradient.flat


def moved(parameters: Parameters, along: Array, step: float) -> Parameters:
    return Parameters(parameters.config, parameters.flat + step * along)


@BOTH
def test_the_gradient_matches_finite_differences_along_random_directions(config: ModelConfig) -> None:
    parameters, (tokens, targets) = random_parameters(config, 0), random_batch(config, 1, 3, 9)
    targets[1, 5:] = -1
    _, gradient = run(parameters, tokens, targets, scale=0.5)
    workspace, rng, eps = (
        Workspace(config, 3, dtype=np.float64, training=False),
        np.random.default_rng(2),
        1e-5,
    )
    for _ in range(3):
        along = rng.standard_normal(parameters.flat.shape)
        up, down = (loss(moved(parameters, along, step), tokens, targets, workspace) for step in (eps, -eps))
        numeric, analytic = 0.5 * (up - down) / (2 * eps), float(along @ gradient)
        assert abs(numeric - analytic) <= 1e-6 * (abs(numeric) + abs(analytic))


@BOTH
def test_the_gradient_of_every_tensor_matches_finite_differences(config: ModelConfig) -> None:
    parameters, (tokens, targets) = random_parameters(config, 3), random_batch(config, 4, 2, 7)
    _, gradient = run(parameters, tokens, targets)
    workspace, rng, eps = (
        Workspace(config, 2, dtype=np.float64, training=False),
        np.random.default_rng(5),
        1e-5,
    )
    for name, view in Parameters(config, gradient).views.items():
        along = Parameters(config, np.zeros_like(gradient))
        along.views[name][:] = rng.standard_normal(view.shape)
        up, down = (loss(moved(parameters, along.flat, s), tokens, targets, workspace) for s in (eps, -eps))
        numeric, analytic = (up - down) / (2 * eps), float(along.flat @ gradient)
        assert abs(numeric - analytic) <= 1e-6 * (abs(numeric) + abs(analytic)), name


@pytest.mark.parametrize("name", ["model_tied", "model_grouped"])
def test_agrees_with_torch(name: str) -> None:
    torch = fixture(name)
    sizes = (
        "vocab_size",
        "dim",
        "layers",
        "heads",
        "kv_heads",
        "ffn_dim",
        "seq_len",
        "rope_theta",
        "norm_eps",
    )
    config = ModelConfig(**{key: torch[key].item() for key in sizes}, tied=bool(torch["tied"]))
    parameters = random_parameters(config, 0, np.float32)
    for tensor, weight in fixture(name, "weights/").items():
        parameters.views[tensor][...] = weight
    tokens, targets = torch["tokens"], torch["targets"]
    total, gradient = run(parameters, tokens, targets, scale=float(torch["loss_scale"]))
    assert total == pytest.approx(float(torch["loss"]), rel=1e-6)
    workspace = Workspace(config, *tokens.shape, training=False)
    assert_like_torch(logits(parameters, tokens, workspace), torch["logits"])
    theirs = fixture(name, "gradients/")
    ours = Parameters(config, gradient).views
    assert ours.keys() == theirs.keys()
    for tensor in theirs:
        assert_like_torch(ours[tensor], theirs[tensor])


@BOTH
def test_the_same_input_gives_the_same_bits_whatever_the_workspace_held(config: ModelConfig) -> None:
    parameters, (tokens, targets) = random_parameters(config, 0, np.float32), random_batch(config, 1, 3, 12)
    workspace = Workspace(config, 3)
    first = run(parameters, tokens, targets, workspace=workspace)
    loss_and_gradient(
        random_parameters(config, 9, np.float32),
        Parameters(config, garbage(parameters.layout.size, dtype=np.float32)),
        *random_batch(config, 8, 3, 12),
        workspace,
        loss_scale=3.0,
    )
    gradient = Parameters(config, np.full(parameters.layout.size, 7, dtype=np.float32))
    again = loss_and_gradient(parameters, gradient, tokens, targets, workspace, loss_scale=1.0)
    assert again == first[0]
    assert np.array_equal(gradient.flat, first[1])


@pytest.mark.parametrize("entries", [1, 3, 16])
def test_where_in_memory_the_buffers_begin_does_not_change_a_bit(entries: int) -> None:
    aligned, batch = random_parameters(GROUPED, 0, np.float32), random_batch(GROUPED, 1, 3, 12)
    total, gradient = run(aligned, *batch)
    size = aligned.layout.size
    moved_weights, moved_gradient = (np.zeros(size + entries, dtype=np.float32)[entries:] for _ in range(2))
    moved_weights[:] = aligned.flat
    again = loss_and_gradient(
        Parameters(GROUPED, moved_weights),
        Parameters(GROUPED, moved_gradient),
        *batch,
        Workspace(GROUPED, 3),
        loss_scale=1.0,
    )
    assert again == total
    assert np.array_equal(moved_gradient, gradient)


@BOTH
def test_a_smaller_batch_in_a_larger_workspace_gives_the_same_bits(config: ModelConfig) -> None:
    parameters, (tokens, targets) = random_parameters(config, 0, np.float32), random_batch(config, 1, 2, 5)
    fitting = run(parameters, tokens, targets)
    roomy = run(parameters, tokens, targets, workspace=Workspace(config, 4))
    assert fitting[0] == roomy[0]
    assert np.array_equal(fitting[1], roomy[1])


@BOTH
def test_recomputed_activations_give_the_same_bits(config: ModelConfig) -> None:
    parameters, (tokens, targets) = random_parameters(config, 0, np.float32), random_batch(config, 1, 3, 12)
    kept, recomputed = (
        run(parameters, tokens, targets, workspace=Workspace(config, 3, recompute=recompute))
        for recompute in (False, True)
    )
    assert kept[0] == recomputed[0]
    assert np.array_equal(kept[1], recomputed[1])


@pytest.mark.parametrize("recompute", [False, True])
def test_a_pass_allocates_no_array_as_large_as_an_activation(*, recompute: bool) -> None:
    """After the first pass the views of the buffers are all that is made: however large the batch is."""
    config = ModelConfig(vocab_size=3000, dim=128, layers=2, heads=4, seq_len=128)
    parameters, (tokens, targets) = random_parameters(config, 0, np.float32), random_batch(config, 1, 6, 128)
    gradient = Parameters(config, garbage(parameters.layout.size, dtype=np.float32))
    workspace = Workspace(config, len(tokens), recompute=recompute)

    def one_pass() -> None:
        loss_and_gradient(parameters, gradient, tokens, targets, workspace, loss_scale=1.0)

    one_pass()
    tracemalloc.start()
    try:
        one_pass()
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    activation_bytes = tokens.size * config.dim * 4
    assert peak_bytes < activation_bytes / 2


@BOTH
def test_padding_is_masked(config: ModelConfig) -> None:
    parameters, (tokens, targets) = random_parameters(config, 0), random_batch(config, 1, 3, 8)
    targets[0, 5:], targets[2, :] = -1, -1
    before = run(parameters, tokens, targets)
    tokens = tokens.copy()
    tokens[0, 5:], tokens[2, :] = 0, 1
    after = run(parameters, tokens, targets)
    assert before[0] == after[0]
    assert np.array_equal(before[1], after[1])
    full = run(parameters, tokens[:2], targets[:2])
    assert full[0] == pytest.approx(after[0], rel=1e-12)
    np.testing.assert_allclose(full[1], after[1], rtol=1e-9, atol=1e-12)


@BOTH
def test_a_batch_of_padding_alone_has_neither_loss_nor_gradient(config: ModelConfig) -> None:
    tokens, targets = random_batch(config, 1, 2, 4)
    total, gradient = run(random_parameters(config, 0), tokens, np.full_like(targets, -1))
    assert total == 0.0
    assert not gradient.any()


@BOTH
def test_the_scale_multiplies_the_gradient_and_not_the_loss(config: ModelConfig) -> None:
    parameters, batch = random_parameters(config, 0), random_batch(config, 1, 2, 6)
    plain, scaled = run(parameters, *batch), run(parameters, *batch, scale=0.25)
    assert plain[0] == scaled[0]
    np.testing.assert_allclose(scaled[1], 0.25 * plain[1], rtol=1e-12)


@BOTH
def test_the_gradient_of_a_batch_is_the_sum_over_its_sequences(config: ModelConfig) -> None:
    parameters, (tokens, targets) = random_parameters(config, 0), random_batch(config, 1, 3, 6)
    total, gradient = run(parameters, tokens, targets)
    alone = [run(parameters, tokens[i : i + 1], targets[i : i + 1]) for i in range(3)]
    assert total == pytest.approx(sum(part for part, _ in alone), rel=1e-12)
    np.testing.assert_allclose(gradient, sum(part for _, part in alone), rtol=1e-9, atol=1e-11)


@BOTH
def test_training_and_inference_run_the_same_network(config: ModelConfig) -> None:
    parameters, (tokens, targets) = random_parameters(config, 0, np.float32), random_batch(config, 1, 3, 12)
    inference = Workspace(config, 3, training=False)
    trained, _ = run(parameters, tokens, targets)
    assert loss(parameters, tokens, targets, inference) == trained
    every = logits(parameters, tokens, inference).astype(np.float64)
    log_total = np.log(np.exp(every).sum(-1))
    at_target = np.take_along_axis(every, targets[..., None], -1)[..., 0]
    assert float((log_total - at_target).sum()) == pytest.approx(trained, rel=1e-6)
    np.testing.assert_allclose(next_logits(parameters, tokens, inference), every[:, -1], rtol=0, atol=1e-5)


@settings(max_examples=25, deadline=None)
@given(
    kv_heads=st.integers(1, 2),
    group=st.integers(1, 3),
    half=st.integers(1, 3),
    of_its_own=st.booleans(),
    tied=st.booleans(),
    B=st.integers(1, 3),
    T=st.integers(1, 6),
)
def test_any_sizes_give_a_gradient_that_finite_differences_confirm(
    *, kv_heads: int, group: int, half: int, of_its_own: bool, tied: bool, B: int, T: int
) -> None:
    config = ModelConfig(
        vocab_size=11,
        dim=7 if of_its_own else 2 * half * kv_heads * group,
        head_dim=2 * half,
        rope_scaling=RopeScaling(kind="linear", factor=3.0) if of_its_own else None,
        layers=1,
        heads=kv_heads * group,
        kv_heads=kv_heads,
        ffn_dim=5,
        seq_len=6,
        tied=tied,
    )
    parameters, (tokens, targets) = random_parameters(config, 0), random_batch(config, T, B, T)
    workspace = Workspace(config, 3, dtype=np.float64)
    _, gradient = run(parameters, tokens, targets, workspace=workspace)
    along, eps = np.random.default_rng(1).standard_normal(gradient.shape), 1e-5
    up, down = (loss(moved(parameters, along, step), tokens, targets, workspace) for step in (eps, -eps))
    numeric, analytic = (up - down) / (2 * eps), float(along @ gradient)
    # Along one direction the gradient may all but vanish; its length then says what is small.
    assert abs(numeric - analytic) <= 1e-6 * (abs(numeric) + abs(analytic) + float(np.linalg.norm(gradient)))
    every = logits(parameters, tokens, workspace)
    np.testing.assert_allclose(
        next_logits(parameters, tokens, workspace), every[:, -1], rtol=1e-10, atol=1e-12
    )


def test_logits_are_the_callers_own() -> None:
    parameters, (tokens, _) = random_parameters(TIED, 0, np.float32), random_batch(TIED, 1, 2, 5)
    workspace = Workspace(TIED, 2, training=False)
    kept = logits(parameters, tokens, workspace)
    copy = kept.copy()
    logits(parameters, (tokens + 1) % TIED.vocab_size, workspace)
    assert np.array_equal(kept, copy)


def test_later_tokens_have_no_influence() -> None:
    parameters, (tokens, _) = random_parameters(GROUPED, 0), random_batch(GROUPED, 1, 2, 8)
    workspace = Workspace(GROUPED, 2, dtype=np.float64, training=False)
    before = logits(parameters, tokens, workspace)
    changed = tokens.copy()
    changed[:, 5:] = (changed[:, 5:] + 1) % GROUPED.vocab_size
    after = logits(parameters, changed, workspace)
    assert np.array_equal(before[:, :5], after[:, :5])
    assert not np.allclose(before[:, 5:], after[:, 5:])


@BOTH
def test_a_head_in_several_blocks_of_tokens_computes_the_same(
    config: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    parameters, (tokens, targets) = random_parameters(config, 0), random_batch(config, 1, 2, 7)
    whole = run(parameters, tokens, targets)
    monkeypatch.setattr(workspace_module, "_LOGITS_MAX", 4 * config.vocab_size)
    workspace = Workspace(config, 2, 7, dtype=np.float64)
    assert workspace.buffers(2, 7).logits.shape == (4, config.vocab_size)
    blocked = run(parameters, tokens, targets, workspace=workspace)
    assert blocked[0] == pytest.approx(whole[0], rel=1e-12)
    np.testing.assert_allclose(blocked[1], whole[1], rtol=1e-9, atol=1e-12)
    assert loss(parameters, tokens, targets, workspace) == blocked[0]


class Abandoned(Exception):
    """Raised by a checkpoint."""


def test_a_checkpoint_is_called_between_layers_both_ways_and_may_end_the_work() -> None:
    parameters, batch, workspace = (
        random_parameters(TIED, 0),
        random_batch(TIED, 1, 2, 6),
        Workspace(TIED, 2, dtype=np.float64),
    )
    gradient = Parameters(TIED, np.zeros(parameters.layout.size))
    calls: list[int] = []
    loss_and_gradient(
        parameters, gradient, *batch, workspace, loss_scale=1.0, checkpoint=lambda: calls.append(1)
    )
    assert len(calls) >= 2 * TIED.layers

    def give_up() -> None:
        raise Abandoned

    with pytest.raises(Abandoned):
        loss_and_gradient(parameters, gradient, *batch, workspace, loss_scale=1.0, checkpoint=give_up)
    with pytest.raises(Abandoned):
        loss(parameters, *batch, workspace, checkpoint=give_up)


def test_read_only_weights_and_batches_will_do() -> None:
    parameters, (tokens, targets) = random_parameters(TIED, 0), random_batch(TIED, 1, 2, 6)
    parameters.flat.flags.writeable = tokens.flags.writeable = targets.flags.writeable = False
    frozen = Parameters(TIED, parameters.flat)
    assert run(frozen, tokens, targets)[0] > 0


def test_what_does_not_fit_together_is_refused_with_both_sides() -> None:
    parameters, (tokens, targets) = random_parameters(TIED, 0), random_batch(TIED, 1, 2, 6)
    gradient = Parameters(TIED, np.zeros(parameters.layout.size))
    workspace = Workspace(TIED, 2, dtype=np.float64)

    def refused(message: str, **changed: Any) -> None:
        given: dict[str, Any] = {
            "parameters": parameters,
            "gradient": gradient,
            "tokens": tokens,
            "targets": targets,
            "workspace": workspace,
        } | changed
        with pytest.raises(ValueError, match=message):
            loss_and_gradient(**given, loss_scale=1.0)

    refused(r"shape \(B, T\).*\(6,\)", tokens=tokens[0])
    refused(r"at least one token, got \(2, 0\)", tokens=tokens[:, :0])
    refused(r"\(2, 5\) do not match .*\(2, 6\)", targets=targets[:, :5])
    refused(r"\[0, 23\), got ids from 3 to 23", tokens=np.array([[3, 23]], dtype=np.int32))
    refused(r"\[0, 23\), got ids from -1 to 3", tokens=np.array([[3, -1]], dtype=np.int32))
    refused("below 23, got 23", targets=np.full_like(targets, 23))
    refused("does not fit a workspace", workspace=Workspace(TIED, 1, dtype=np.float64))
    refused("training=True", workspace=Workspace(TIED, 2, dtype=np.float64, training=False))
    refused("float64, the workspace float32", workspace=Workspace(TIED, 2))
    refused("the workspace for", workspace=Workspace(GROUPED, 2, dtype=np.float64))
    refused("gradient and weights differ", gradient=random_parameters(GROUPED, 0))
    refused("gradient and weights differ", gradient=random_parameters(TIED, 0, np.float32))
