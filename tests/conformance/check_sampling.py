"""Compare the distributions that tokens are drawn from with those of transformers, offline.

    python tests/conformance/check_sampling.py [--cases N]

A small random Llama of transformers generates with many combinations of temperature, top-k, top-p, min-p and
repetition penalty, and tells the logits before and after its processors. Ours, from the same logits and ids,
must keep the same tokens with the same probabilities, which checks the order of the settings as well.
Then the same is done with mistakes put in on purpose, which must be found.
Needs torch and transformers. Exit code 0 if no probability differs by more than 1e-5, and every mistake does,
else 1.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Nothing here may ask a network. transformers reads these when it is imported.
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import numpy as np
import torch
import transformers

from crystalline.inference import SamplingOptions, probabilities

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Case = tuple[SamplingOptions, np.ndarray, np.ndarray, np.ndarray]
    Way = Callable[[np.ndarray, SamplingOptions, np.ndarray], np.ndarray]

ATOL = 1e-5
VOCAB = 2000
STEPS = 3


def peer() -> Any:
    """A random model whose logits spread as those of a trained one do."""
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=VOCAB,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=0,
    )
    model = transformers.LlamaForCausalLM(config).eval()
    with torch.no_grad():
        model.lm_head.weight *= 30
    return model


def some_options(rng: np.random.Generator) -> SamplingOptions:
    """Each setting is at work in half of the cases."""

    def perhaps(value: float, off: float) -> float:
        return value if rng.random() < 0.5 else off

    return SamplingOptions(
        temperature=perhaps(rng.uniform(0.3, 2.0), 1.0),
        top_k=int(perhaps(rng.integers(1, 300), 0)),
        top_p=perhaps(rng.uniform(0.05, 0.99), 1.0),
        min_p=perhaps(rng.uniform(0.001, 0.5), 0.0),
        repetition_penalty=perhaps(rng.uniform(0.7, 2.0), 1.0),
    )


def cases(count: int) -> Iterator[Case]:
    """Options, the logits of the model, the ids before them, and the probabilities of transformers."""
    model, rng = peer(), np.random.default_rng(0)
    for _ in range(count):
        options = some_options(rng)
        prompt = torch.tensor(rng.integers(0, VOCAB, (1, 12)))
        with torch.no_grad():
            done = model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                do_sample=True,
                max_new_tokens=STEPS,
                temperature=options.temperature,
                top_k=options.top_k,
                top_p=options.top_p,
                min_p=options.min_p or None,
                repetition_penalty=options.repetition_penalty,
                return_dict_in_generate=True,
                output_scores=True,
                output_logits=True,
            )
        for step, (logits, scores) in enumerate(zip(done.logits, done.scores, strict=True)):
            seen = np.unique(done.sequences[0, : prompt.shape[1] + step].numpy())
            yield options, logits[0].numpy(), seen, scores[0].double().softmax(-1).numpy()


def right(logits: np.ndarray, options: SamplingOptions, seen: np.ndarray) -> np.ndarray:
    return probabilities(logits, options, seen=seen)


def changed(change: Callable[[SamplingOptions], SamplingOptions]) -> Way:
    return lambda logits, options, seen: right(logits, change(options), seen)


def top_k_off_by_one(options: SamplingOptions) -> SamplingOptions:
    return replace(options, top_k=options.top_k + 1 if options.top_k else 0)


def only(logits: np.ndarray, kept: np.ndarray) -> np.ndarray:
    return np.where(kept > 0, logits, np.float32(-1e9))


def temperature_last(logits: np.ndarray, options: SamplingOptions, seen: np.ndarray) -> np.ndarray:
    kept = right(logits, replace(options, temperature=1.0), seen)
    rest = replace(options, top_k=0, top_p=1.0, min_p=0.0)
    return right(only(logits, kept), rest, seen[kept[seen] > 0])


def min_p_before_top_p(logits: np.ndarray, options: SamplingOptions, seen: np.ndarray) -> np.ndarray:
    kept = right(logits, replace(options, top_p=1.0), seen)
    return right(only(logits, kept), options, seen[kept[seen] > 0])


MISTAKES: dict[str, Way] = {
    "top-k off by one": changed(top_k_off_by_one),
    "temperature twice": changed(lambda options: replace(options, temperature=options.temperature**2)),
    "top-p forgotten": changed(lambda options: replace(options, top_p=1.0)),
    "min-p forgotten": changed(lambda options: replace(options, min_p=0.0)),
    "penalty forgotten": changed(lambda options: replace(options, repetition_penalty=1.0)),
    "temperature last": temperature_last,
    "min-p before top-p": min_p_before_top_p,
}


def worst_of(all_cases: list[Case], way: Way) -> float:
    """The largest difference of a probability."""
    return max(
        float(np.abs(way(logits, options, seen) - expected).max())
        for options, logits, seen, expected in all_cases
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=150, help="combinations of settings")
    args = parser.parse_args()
    torch.set_num_threads(1)
    all_cases = list(cases(args.cases))
    kept = [int(np.count_nonzero(expected)) for *_, expected in all_cases]
    worst = worst_of(all_cases, right)
    print(
        f"sampling: {len(all_cases)} distributions, {min(kept)} to {max(kept)} tokens kept: "
        f"max abs difference of a probability {worst:.1e}; {'ok' if worst <= ATOL else 'NOT OK'}"
    )
    missed = [name for name, way in MISTAKES.items() if worst_of(all_cases, way) <= ATOL]
    print(f"planted mistakes: {len(MISTAKES)}, not found: {', '.join(missed) or 'none'}")
    return 0 if worst <= ATOL and not missed else 1


if __name__ == "__main__":
    sys.exit(main())
