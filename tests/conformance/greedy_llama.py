"""What llama.cpp reads in a GGUF file: ids of a text, and the likeliest continuation. For `check_models.py`.

    echo '{"path": "model.gguf", "prompts": ["Once"], "tokens": 20}' | python tests/conformance/greedy_llama.py

Needs llama-cpp-python. Prints one JSON object: for each prompt its ids and those of the continuation.
"""

from __future__ import annotations

import json
import sys
from itertools import islice

from llama_cpp import Llama


def main() -> int:
    wanted = json.load(sys.stdin)
    longest = max(len(prompt.encode()) for prompt in wanted["prompts"]) + wanted["tokens"] + 2
    model = Llama(wanted["path"], n_ctx=longest, n_threads=wanted.get("threads", 2), verbose=False)
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
