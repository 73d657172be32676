"""The peer of a training of ours: the same arithmetic in PyTorch, as somebody who knows it would write it.

usage: torch_llama.py [--mode eager|compile|ddp] [--threads N] [--steps N] [--warm N] [model sizes]

A Llama-style model with tied embeddings in fp32: one projection for queries, keys and values and one for gate
and up, scaled_dot_product_attention, clipping by the norm, fused AdamW that decays matrices alone, gradients
set to None. `compile` puts `torch.compile` around the model; `ddp` cuts each batch in two halves for two
processes, which add their gradients over gloo; the threads are shared out among them. Tokens are random, a
new batch each step, all made before the clock starts. A step is everything from its batch to the new weights.

Prints one JSON object. `--check` only says whether the mode would run. Exit code 2 when torch, or the C++
compiler that `torch.compile` needs, is not there. It imports nothing of the packages.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.benchmarks.speed.lifeline import end_with_parent

try:
    import torch
    from torch import distributed, nn
    from torch.nn import functional
    from torch.nn.parallel import DistributedDataParallel
except ModuleNotFoundError as missing:
    print(
        f"error: {missing.name} is not installed for {sys.executable}: install the extra with "
        "`pip install -e '.[peers]'`, or leave torch out",
        file=sys.stderr,
    )
    raise SystemExit(2) from None

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MODES: Final = ("eager", "compile", "ddp")
PROCESSES: Final = 2  # of ddp
MEETING_S: Final = 120.0  # a process of ddp waits so long for the other
NORM_EPS: Final = 1e-5
ROPE_THETA: Final = 10_000.0
INITIAL_STD: Final = 0.02


class Layer(nn.Module):
    """Attention and feed-forward, each behind a norm and added to what came in."""

    def __init__(self, dim: int, heads: int, ffn_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.RMSNorm(dim, eps=NORM_EPS)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.attention_out = nn.Linear(dim, dim, bias=False)
        self.ffn_norm = nn.RMSNorm(dim, eps=NORM_EPS)
        self.gate_up = nn.Linear(dim, 2 * ffn_dim, bias=False)
        self.ffn_out = nn.Linear(ffn_dim, dim, bias=False)

    def forward(self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """x (B, T, D), cos and sin (T, D/2H) -> (B, T, D)."""
        x = x + self.attention_out(self.attend(self.qkv(self.attention_norm(x)), cos, sin))
        gate, up = self.gate_up(self.ffn_norm(x)).chunk(2, dim=-1)
        out: torch.Tensor = x + self.ffn_out(functional.silu(gate) * up)
        return out

    def attend(self, qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        """qkv (B, T, 3 D) -> (B, T, D). Queries and keys are rotated in one go."""
        B, T, width = qkv.shape
        per_head = qkv.view(B, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # (3, B, H, T, D/H)
        x, y = per_head[:2].chunk(2, dim=-1)
        turned_x = torch.addcmul(x * cos, y, sin, value=-1)
        query, key = torch.cat((turned_x, torch.addcmul(y * cos, x, sin)), dim=-1).unbind()
        mixed = functional.scaled_dot_product_attention(query, key, per_head[2], is_causal=True)
        out: torch.Tensor = mixed.transpose(1, 2).reshape(B, T, width // 3)
        return out


class Llama(nn.Module):
    """The whole model, its loss included."""

    def __init__(self, sizes: argparse.Namespace) -> None:
        super().__init__()
        self.embedding = nn.Embedding(sizes.vocab_size, sizes.dim)
        layers = [Layer(sizes.dim, sizes.heads, sizes.ffn_dim) for _ in range(sizes.layers)]
        self.layers = nn.ModuleList(layers)
        self.norm = nn.RMSNorm(sizes.dim, eps=NORM_EPS)
        head_dim = sizes.dim // sizes.heads
        rates = ROPE_THETA ** (-torch.arange(0, head_dim, 2) / head_dim)
        angles = torch.outer(torch.arange(sizes.seq_len).float(), rates)  # (T, D/2H)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        for weights in self.parameters():
            if weights.ndim > 1:
                nn.init.normal_(weights, std=INITIAL_STD)

    def forward(self, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy; inputs and targets (B, T)."""
        x = self.embedding(inputs)
        for layer in self.layers:
            x = layer(x, self.cos, self.sin)
        logits = functional.linear(self.norm(x), self.embedding.weight)  # (B, T, V)
        loss: torch.Tensor = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        return loss


def optimizer_of(model: nn.Module) -> torch.optim.Optimizer:
    """AdamW in one kernel; norm gains are not decayed."""
    matrices = [weights for weights in model.parameters() if weights.ndim > 1]
    gains = [weights for weights in model.parameters() if weights.ndim == 1]
    groups = [{"params": matrices}, {"params": gains, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=1e-3, weight_decay=0.1, fused=True)


def batches(options: argparse.Namespace, rows: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Inputs and targets (rows, T) of every step."""
    shape = (options.warm + options.steps, rows, options.seq_len + 1)
    for tokens in torch.randint(0, options.vocab_size, shape):
        yield tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def train(options: argparse.Namespace, rows: int, wrap: Callable[[nn.Module], Any]) -> dict[str, Any]:
    """Time the steps behind those of warm-up, each on `rows` sequences in this process."""
    model = Llama(options)
    run, optimizer = wrap(model), optimizer_of(model)
    seconds, losses = [], []
    for inputs, targets in list(batches(options, rows)):
        begun_s = time.perf_counter()
        loss = run(inputs, targets)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        seconds.append(time.perf_counter() - begun_s)
    return {
        "way": options.mode,
        "torch": torch.__version__,
        "threads": options.threads,
        "vocab_size": options.vocab_size,
        "parameters": sum(weights.numel() for weights in model.parameters()),
        "tokens_per_step": options.batch_size * options.seq_len,
        "step_s": seconds[options.warm :],
        "losses": [losses[options.warm], losses[-1]],
    }


def train_in_two(options: argparse.Namespace) -> dict[str, Any]:
    """Be one process of `ddp`, and the first one: start the other.

    Raises:
        SystemExit: the other failed.
    """
    with ExitStack() as stack:
        other = None
        if options.rank == 0:
            options.meeting = Path(stack.enter_context(tempfile.TemporaryDirectory()), "meeting")
            words = [*sys.argv, "--rank", "1", "--meeting", str(options.meeting), "--with-parent"]
            # Its input ends with this process, and so does it: nothing is written there.
            other = stack.enter_context(
                subprocess.Popen([sys.executable, *words], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
            )
        if sys.platform == "linux":
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        distributed.init_process_group(
            "gloo",
            init_method=f"file://{options.meeting}",
            rank=options.rank,
            world_size=PROCESSES,
            timeout=timedelta(seconds=MEETING_S),
        )
        torch.set_num_threads(max(1, options.threads // PROCESSES))
        torch.manual_seed(options.rank)

        def wrap(model: nn.Module) -> Any:
            return DistributedDataParallel(model, broadcast_buffers=False, gradient_as_bucket_view=True)

        found = train(options, options.batch_size // PROCESSES, wrap)
        distributed.destroy_process_group()
        if other is not None and other.wait(MEETING_S):
            raise SystemExit("error: the other process of ddp failed")
        return found


def options_of() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mode", choices=MODES, default="eager")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=8, help="steps that count")
    parser.add_argument("--warm", type=int, default=2, help="steps before them")
    sizes = {"vocab-size": 10_000, "dim": 256, "layers": 6, "heads": 8, "ffn-dim": 688, "seq-len": 128}
    for name, size in {**sizes, "batch-size": 36}.items():
        parser.add_argument(f"--{name}", type=int, default=size)
    parser.add_argument("--check", action="store_true", help="do not train")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input ends")
    parser.add_argument("--rank", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--meeting", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def refuse(text: str) -> NoReturn:
    """End with one line.

    Raises:
        SystemExit: always.
    """
    print(f"error: {text}", file=sys.stderr)
    raise SystemExit(2)


def main() -> None:
    options = options_of()
    if options.with_parent:
        end_with_parent()
    compiler = os.environ.get("CXX", "g++")
    if options.mode == "compile" and shutil.which(compiler) is None:
        refuse(f"torch.compile needs a C++ compiler, and there is no {compiler}: install it, or set CXX")
    if options.mode == "ddp" and options.batch_size % PROCESSES:
        refuse(f"{options.batch_size} sequences cannot be shared evenly between {PROCESSES} processes")
    if options.check:
        print(json.dumps({"way": options.mode, "torch": torch.__version__}))
        return
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    if options.mode == "ddp":
        found = train_in_two(options)
    else:
        found = train(
            options, options.batch_size, torch.compile if options.mode == "compile" else lambda model: model
        )
    print(json.dumps(found))


if __name__ == "__main__":
    main()
