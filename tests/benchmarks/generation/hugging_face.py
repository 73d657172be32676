"""One process of transformers that does the same work in PyTorch, in float32.

usage: python tests/benchmarks/generation/hugging_face.py FOLDER [--threads N] [work]

`LlamaForCausalLM` with its default cache and attention, in inference mode. Prints one JSON object. It imports
nothing of the packages. `--check` only says whether it could run; exit code 2 when it cannot.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.benchmarks.generation.work import Work, add_work, work_of
from tests.benchmarks.speed.lifeline import end_with_parent

try:
    import torch
    import transformers
except ModuleNotFoundError as missing:
    print(
        f"error: {missing.name} is not installed for {sys.executable}: install the extra with "
        "`pip install -e '.[generation-peers]'`, or leave transformers out",
        file=sys.stderr,
    )
    raise SystemExit(2) from None


def measure(model: Any, work: Work) -> dict[str, list[float]]:
    """Seconds of prefills and steps."""

    def step(ids: Any, past: Any) -> tuple[Any, float]:
        begun_s = time.perf_counter()
        out = model(ids, past_key_values=past, use_cache=True, logits_to_keep=1)
        return out.past_key_values, time.perf_counter() - begun_s

    prompt = torch.tensor([work.ids(work.prefill)])
    prefill_s = [step(prompt, None)[1] for _ in range(1 + work.prefills)][1:]
    found = {"prefill_s": prefill_s}
    for name, streams in (("one_s", 1), ("eight_s", work.streams)):
        past, _ = step(torch.tensor([work.ids(work.prompt)] * streams), None)
        seconds = []
        for token in work.ids(work.warm + work.steps):
            past, spent_s = step(torch.full((streams, 1), token), past)
            seconds.append(spent_s)
        found[name] = seconds[work.warm :]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, nargs="?")
    parser.add_argument("--check", action="store_true")
    add_work(parser)
    options = parser.parse_args()
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    if options.check:
        print(json.dumps(versions))
        return
    if options.with_parent:
        end_with_parent()
    torch.set_num_threads(options.threads)
    with torch.inference_mode():
        model = transformers.LlamaForCausalLM.from_pretrained(options.model, dtype=torch.float32).eval()
        print(json.dumps({**measure(model, work_of(options)), **versions}))


if __name__ == "__main__":
    main()
