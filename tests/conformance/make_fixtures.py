"""Write the torch results under tests/fixtures that our kernels, model and optimiser are held to.

    python tests/conformance/make_fixtures.py            write the files
    python tests/conformance/make_fixtures.py --check    recompute, compare, exit 1 if different

Needs torch and numpy only. The formulas stand here in plain torch, with autograd for every gradient, and
share no code with the package. Everything is float32.

Keys of kernels.npz: `<kernel>.<array>`, gradients as `d_<array>`; heads are laid out (B, heads, T, d).
Keys of model_tied.npz and model_grouped.npz: sizes as scalars (`vocab_size`, `dim`, ...), `tokens` and
`targets` (B, T) with -1 for padding, `loss_scale`, `loss` (unscaled sum), `logits` (B, T, V),
`weights/<name>` and `gradients/<name>` with the Hugging Face tensor names; the gradients are those of
loss_scale * loss.
Keys of adamw.npz: `initial` (n,), `grads` (20, n), `lrs` (20,), `after` (20, n), and the scalars `beta1`,
`beta2`, `eps`, `weight_decay`; every entry is decayed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  the name that torch's own documentation uses

FIXTURES = Path(__file__).resolve().parent.parent / "fixtures"
ROPE_THETA = 10_000.0
NORM_EPS = 1e-5

Arrays = dict[str, np.ndarray]


def rms_norm(x: torch.Tensor, gain: torch.Tensor, eps: float = NORM_EPS) -> torch.Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * gain


def rotary(x: torch.Tensor, theta: float = ROPE_THETA) -> torch.Tensor:
    """x (B, heads, T, d)."""
    T, d = x.shape[-2:]
    frequencies = theta ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
    angles = torch.arange(T, dtype=torch.float64)[:, None] * frequencies
    cos = torch.cat([angles.cos()] * 2, dim=-1).to(x.dtype)
    sin = torch.cat([angles.sin()] * 2, dim=-1).to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], dim=-1) * sin


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """q (B, H, T, d), k and v (B, K, T, d) -> (B, H, T, d)."""
    T, d = q.shape[-2:]
    k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
    scores = q @ k.transpose(-1, -2) / d**0.5
    future = torch.ones(T, T, dtype=torch.bool).triu(1)
    return scores.masked_fill(future, float("-inf")).softmax(-1) @ v


def swiglu(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    return F.silu(gate) * up


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(logits, targets.long(), ignore_index=-1, reduction="sum")


def transformer(
    weights: dict[str, torch.Tensor],
    tokens: torch.Tensor,
    sizes: dict[str, int],
    theta: float,
    eps: float,
) -> torch.Tensor:
    """Logits (B, T, V)."""
    B, T = tokens.shape
    x = F.embedding(tokens.long(), weights["model.embed_tokens.weight"])
    for index in range(sizes["layers"]):
        attn, mlp = f"model.layers.{index}.self_attn", f"model.layers.{index}.mlp"
        h = rms_norm(x, weights[f"model.layers.{index}.input_layernorm.weight"], eps)
        q, k, v = (
            (h @ weights[f"{attn}.{part}_proj.weight"].T).view(B, T, heads, -1).transpose(1, 2)
            for part, heads in (("q", sizes["heads"]), ("k", sizes["kv_heads"]), ("v", sizes["kv_heads"]))
        )
        mixed = attention(rotary(q, theta), rotary(k, theta), v).transpose(1, 2).reshape(B, T, -1)
        x = x + mixed @ weights[f"{attn}.o_proj.weight"].T
        h = rms_norm(x, weights[f"model.layers.{index}.post_attention_layernorm.weight"], eps)
        gated = swiglu(h @ weights[f"{mlp}.gate_proj.weight"].T, h @ weights[f"{mlp}.up_proj.weight"].T)
        x = x + gated @ weights[f"{mlp}.down_proj.weight"].T
    head = weights.get("lm_head.weight", weights["model.embed_tokens.weight"])
    return rms_norm(x, weights["model.norm.weight"], eps) @ head.T


def make_kernels() -> Arrays:
    rng = np.random.default_rng(1)
    arrays: Arrays = {}

    def record(kernel: str, function, **inputs: np.ndarray) -> None:  # noqa: ANN001  any of the above
        leaves = {name: torch.tensor(value) for name, value in inputs.items()}
        for leaf in leaves.values():
            leaf.requires_grad_(leaf.is_floating_point())
        out = function(*leaves.values())
        d_out = torch.tensor(normal(*out.shape))
        out.backward(d_out)
        arrays.update({f"{kernel}.{name}": value for name, value in inputs.items()})
        arrays[f"{kernel}.out"], arrays[f"{kernel}.d_out"] = out.detach().numpy(), d_out.numpy()
        arrays.update({f"{kernel}.d_{n}": x.grad.numpy() for n, x in leaves.items() if x.grad is not None})

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, dtype=np.float32)

    record("linear", lambda x, weight: x @ weight.T, x=normal(6, 5), weight=normal(7, 5))
    record("rms_norm", rms_norm, x=normal(6, 8), gain=normal(8))
    record("rotary", rotary, x=normal(2, 3, 7, 6))
    record("attention", attention, q=normal(2, 4, 70, 4), k=normal(2, 2, 70, 4), v=normal(2, 2, 70, 4))
    record("swiglu", swiglu, gate=4 * normal(6, 9), up=normal(6, 9))
    ids = np.array([3, 0, 3, 4, 3, 0], dtype=np.int32)
    record("embedding", lambda ids, table: F.embedding(ids.long(), table), ids=ids, table=normal(6, 4))
    targets = np.array([2, -1, 10, 0, -1, 7], dtype=np.int32)
    record(
        "cross_entropy",
        cross_entropy,
        logits=3 * normal(6, 11),
        targets=targets,
    )
    return arrays


def make_model(
    sizes: dict[str, int],
    *,
    tied: bool,
    seed: int,
    theta: float = ROPE_THETA,
    eps: float = NORM_EPS,
) -> Arrays:
    rng = np.random.default_rng(seed)
    weights = {
        name: torch.tensor(value, requires_grad=True) for name, value in _weights(sizes, tied, rng).items()
    }
    tokens = rng.integers(0, sizes["vocab_size"], (3, 11), dtype=np.int32)
    targets = rng.integers(0, sizes["vocab_size"], (3, 11), dtype=np.int32)
    targets[1, 6:] = -1
    targets[2, :] = -1
    loss_scale = 0.125
    logits = transformer(weights, torch.tensor(tokens), sizes, theta, eps)
    loss = cross_entropy(logits.flatten(0, 1), torch.tensor(targets).flatten())
    (loss * loss_scale).backward()
    return {
        **{name: np.array(value) for name, value in sizes.items()},
        "tied": np.array(tied),
        "rope_theta": np.array(theta),
        "norm_eps": np.array(eps),
        "tokens": tokens,
        "targets": targets,
        "loss_scale": np.array(loss_scale),
        "loss": np.array(loss.item()),
        "logits": logits.detach().numpy(),
        **{f"weights/{name}": weight.detach().numpy() for name, weight in weights.items()},
        **{f"gradients/{name}": weight.grad.numpy() for name, weight in weights.items()},
    }


def _weights(sizes: dict[str, int], tied: bool, rng: np.random.Generator) -> Arrays:  # noqa: FBT001  private
    V, D, F_ = sizes["vocab_size"], sizes["dim"], sizes["ffn_dim"]
    keys = D // sizes["heads"] * sizes["kv_heads"]
    shapes = {"model.embed_tokens.weight": (V, D)} | ({} if tied else {"lm_head.weight": (V, D)})
    for index in range(sizes["layers"]):
        attn, mlp = f"model.layers.{index}.self_attn", f"model.layers.{index}.mlp"
        shapes |= {f"{attn}.q_proj.weight": (D, D), f"{attn}.k_proj.weight": (keys, D)}
        shapes |= {f"{attn}.v_proj.weight": (keys, D), f"{attn}.o_proj.weight": (D, D)}
        shapes |= {f"{mlp}.gate_proj.weight": (F_, D), f"{mlp}.up_proj.weight": (F_, D)}
        shapes |= {f"{mlp}.down_proj.weight": (D, F_)}
    weights = {name: 0.3 * rng.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}
    gains = ["model.norm.weight"]
    for index in range(sizes["layers"]):
        gains += [f"model.layers.{index}.{n}.weight" for n in ("input_layernorm", "post_attention_layernorm")]
    return weights | {name: rng.uniform(0.5, 1.5, D).astype(np.float32) for name in gains}


def make_adamw() -> Arrays:
    rng = np.random.default_rng(4)
    n, steps = 64, 20
    initial = rng.standard_normal(n, dtype=np.float32)
    # Gradients of very different sizes, among them exact zeros: eps and bias correction then matter.
    size = (10.0 ** rng.uniform(-6, 1, n)).astype(np.float32)
    grads = rng.standard_normal((steps, n), dtype=np.float32) * size
    grads[:, :4] = 0
    lrs = 1e-2 * np.minimum(np.arange(1, steps + 1) / 5, 1) * np.cos(np.linspace(0, 1.5, steps))
    settings = {"beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1}
    parameter = torch.nn.Parameter(torch.tensor(initial))
    optimizer = torch.optim.AdamW(
        [parameter],
        betas=(settings["beta1"], settings["beta2"]),
        eps=settings["eps"],
        weight_decay=settings["weight_decay"],
    )
    after = []
    for grad, lr in zip(grads, lrs, strict=True):
        optimizer.param_groups[0]["lr"] = float(lr)
        parameter.grad = torch.tensor(grad)
        optimizer.step()
        after.append(parameter.detach().numpy().copy())
    arrays = {"initial": initial, "grads": grads, "lrs": lrs, "after": np.stack(after)}
    return arrays | {name: np.array(value) for name, value in settings.items()}


def make_all() -> dict[str, Arrays]:
    tied = {"vocab_size": 37, "dim": 16, "layers": 2, "heads": 4, "kv_heads": 4, "ffn_dim": 24, "seq_len": 16}
    grouped = {
        "vocab_size": 29,
        "dim": 24,
        "layers": 2,
        "heads": 4,
        "kv_heads": 2,
        "ffn_dim": 20,
        "seq_len": 16,
    }
    return {
        "kernels": make_kernels(),
        "model_tied": make_model(tied, tied=True, seed=2),
        # Neither is a default: a model that ignores its settings differs.
        "model_grouped": make_model(grouped, tied=False, seed=3, theta=500.0, eps=1e-3),
        "adamw": make_adamw(),
    }


def differences(name: str, arrays: Arrays) -> list[str]:
    """What differs from the file by more than rounding on another machine explains."""
    with np.load(FIXTURES / f"{name}.npz") as kept:
        if set(kept) != set(arrays):
            return [f"{name}: keys differ: {sorted(set(kept) ^ set(arrays))}"]
        return [
            f"{name}: {key} differs"
            for key, value in arrays.items()
            if kept[key].shape != value.shape
            or not np.allclose(kept[key], value, rtol=0, atol=2e-6 * max(1e-30, float(np.abs(value).max())))
        ]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    check = parser.parse_args().check
    torch.set_num_threads(1)
    faults: list[str] = []
    for name, arrays in make_all().items():
        if check:
            faults += differences(name, arrays)
        else:
            FIXTURES.mkdir(exist_ok=True)
            np.savez_compressed(FIXTURES / f"{name}.npz", **arrays)
    print("\n".join(faults) or ("fixtures agree" if check else f"written to {FIXTURES.name}/"))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
