"""Ids of a text, and the likeliest continuation, from a folder in transformers. For `check_models.py`.

    echo '{"path": "m", "prompts": ["Once"], "tokens": 9}' | python tests/conformance/greedy_transformers.py

Needs torch and transformers. Prints one JSON object: for each prompt its ids and those of the continuation.
"""

from __future__ import annotations

import json
import os
import sys

# Nothing here may ask a network. transformers reads these when it is imported.
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}

import torch
import transformers


def main() -> int:
    wanted = json.load(sys.stdin)
    torch.set_num_threads(wanted.get("threads", 1))
    folder = wanted["path"]
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype="float32")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    settings = model.generation_config
    answers = []
    for prompt in wanted["prompts"]:
        ids = tokenizer(prompt, return_tensors="pt", split_special_tokens=True)["input_ids"]
        with torch.no_grad():
            found = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=wanted["tokens"],
                min_new_tokens=wanted["tokens"],
                do_sample=False,
                suppress_tokens=None,
                eos_token_id=-1,  # goes on behind the end of a text, as the others do here
                pad_token_id=0,
            )
        answers.append({"prompt": ids[0].tolist(), "drawn": found[0, ids.shape[1] :].tolist()})
    print(json.dumps({"answers": answers, "begin": settings.bos_token_id, "end": settings.eos_token_id}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
