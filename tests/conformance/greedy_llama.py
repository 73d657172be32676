"""Ids of a text, and the likeliest continuation, from a GGUF file in llama.cpp. For `check_models.py`.

    echo '{"path": "model.gguf", "prompts": ["Once"], "tokens": 9}' | python tests/conformance/greedy_llama.py

Needs llama-cpp-python. Prints one JSON object: for each prompt its ids and those of the continuation.
"""

from __future__ import annotations

import json
import sys
from itertools import islice

from llama_cpp import GGML_TYPE_F32, Llama


def main() -> int:
    wanted = json.load(sys.stdin)
    longest = max(len(prompt.encode()) for prompt in wanted["prompts"]) + wanted["tokens"] + 2
    model = Llama(
        wanted["path"],
        n_ctx=longest,
        n_threads=wanted.get("threads", 1),
        type_k=GGML_TYPE_F32,  # float16 unless one says otherwise
        type_v=GGML_TYPE_F32,
        verbose=False,
    )
    answers = []
    for prompt in wanted["prompts"]:
        ids = model.tokenize(prompt.encode(), add_bos=True, special=False)
        model.reset()
        drawn = list(islice(model.generate(ids, temp=0.0, repeat_penalty=1.0), wanted["tokens"]))
        answers.append({"prompt": ids, "drawn": drawn})
    print(json.dumps({"answers": answers, "begin": model.token_bos(), "end": model.token_eos()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
