"""Open a model folder in transformers and here, offline, and compare token ids and logits on real text.

    python tests/conformance/check_transformers.py [FOLDER] [--text FILE]

Without FOLDER, models are made in a temporary folder first: random ones, grouped-query, tied and untied, one
of them with another base of the rotary angles and another epsilon in the norms, and one that the installed
command has trained for a few steps. Others are written by transformers, in bfloat16 and in shards, with
scaled rotary frequencies and heads of a width of their own; opened here, they are saved for transformers.
Needs torch and transformers. Prints one line of figures for each folder. Exit code 0 if every token id is
the same and no logit differs by more than 1e-4, else 1.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from pydoc_data.topics import topics

# Nothing here may ask a network. transformers reads these when it is imported.
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer

from crystalline.model import (
    ModelConfig,
    Parameters,
    Workspace,
    initialise,
    layout_of,
    load_model,
    load_tokenizer_json,
    logits,
    next_logits,
    save_model,
)
from crystalline.model.opening import open_model
from tests.helpers.tokenizers import small_tokenizer

LOGITS_ATOL = 1e-4
SEQUENCES = 4


def random_folders(root: Path, text: str) -> list[Path]:
    """Save random models, their weights large enough that the logits differ from each other."""
    tokenizer = small_tokenizer(text, 500)
    usual = ModelConfig(
        vocab_size=tokenizer.get_vocab_size(), dim=64, layers=3, heads=8, kv_heads=2, seq_len=64
    )
    configs = {
        "tied": usual,
        "untied": replace(usual, tied=False),
        "settings": replace(usual, seq_len=192, rope_theta=500.0, norm_eps=1e-3),
    }
    folders = []
    for name, config in configs.items():
        folder = root / name
        folder.mkdir()
        flat = initialise(config, 0)
        flat[: layout_of(config).decay_end] *= 8
        save_model(folder, config, flat, tokenizer.to_str())
        folders.append(folder)
    return folders


def trained_folder(root: Path, text: str) -> Path:
    """What `crystalline train` leaves behind."""
    source, folder = root / "text.txt", root / "trained"
    source.write_text(text, encoding="utf-8")
    command = Path(sys.executable).parent / "crystalline"
    options = "--steps 20 --dim 64 --layers 2 --heads 4 --kv-heads 2 --seq-len 64 --vocab-size 600 --quiet"
    subprocess.run([command, "train", source, "--out", folder, *options.split()], check=True, timeout=120)
    return folder


def folders_from_elsewhere(root: Path, text: str) -> list[Path]:
    """What transformers writes, and what is written here of it once it was opened."""
    tokenizer = small_tokenizer(text, 500)
    scalings: dict[str, dict[str, object]] = {
        "llama3": {
            "rope_type": "llama3",
            "rope_theta": 10_000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32,
        },
        "linear": {"rope_type": "linear", "rope_theta": 10_000.0, "factor": 4.0},
    }
    folders = []
    for name, scaling in scalings.items():
        torch.manual_seed(0)
        config = transformers.LlamaConfig(
            vocab_size=tokenizer.get_vocab_size() + 12,  # padded, as many are
            hidden_size=64,
            intermediate_size=96,
            num_hidden_layers=3,
            num_attention_heads=8,
            num_key_value_heads=2,
            head_dim=12,
            max_position_embeddings=128,
            rope_parameters=scaling,
            tie_word_embeddings=False,
            initializer_range=0.2,
        )
        theirs = root / f"theirs-{name}"
        model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
        model.save_pretrained(theirs, max_shard_size="50KB")
        transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer).save_pretrained(theirs)
        if not (theirs / "model.safetensors.index.json").is_file():
            raise SystemExit("transformers no longer writes shards: choose a smaller max_shard_size")
        opened, ours = open_model(theirs), root / f"ours-{name}"
        ours.mkdir()
        save_model(ours, opened.config, opened.flat, opened.tokenizer_json)
        folders += [theirs, ours]
    return folders


def compare(folder: Path, text: str) -> bool:
    """Print the figures of one folder; whether they are good enough."""
    config, flat = load_model(folder)
    theirs = transformers.LlamaForCausalLM.from_pretrained(
        folder, local_files_only=True, dtype=torch.float32
    ).eval()
    their_tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    ids = Tokenizer.from_str(load_tokenizer_json(folder)).encode(text).ids
    same_ids = (
        their_tokenizer(text, verbose=False)["input_ids"] == ids and their_tokenizer.decode(ids) == text
    )
    T = min(config.seq_len, len(ids))
    B = min(SEQUENCES, len(ids) // T)
    tokens = np.array(ids[: B * T], dtype=np.int32).reshape(B, T)
    parameters, workspace = Parameters(config, flat), Workspace(config, B, T, training=False)
    with torch.no_grad():
        expected = theirs(torch.tensor(tokens.astype(np.int64))).logits.numpy()
    worst = float(np.abs(logits(parameters, tokens, workspace) - expected).max())
    worst_next = float(np.abs(next_logits(parameters, tokens, workspace) - expected[:, -1]).max())
    good = same_ids and expected.dtype == np.float32 and max(worst, worst_next) <= LOGITS_ATOL
    print(
        f"{folder.name}: {len(ids)} token ids {'same' if same_ids else 'DIFFERENT'}; "
        f"logits of {B} x {T} tokens, spread {expected.std():.2f}: max abs difference {worst:.2e}, "
        f"at the last position {worst_next:.2e}; {'ok' if good else 'NOT OK'}"
    )
    return good


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", type=Path, help="a model folder; some are made if absent")
    parser.add_argument("--text", type=Path, help="a text file to compare on; Python's own help if absent")
    args = parser.parse_args()
    text = args.text.read_text(encoding="utf-8") if args.text else "\n".join(topics.values())[:20_000]
    # A special token, and characters of two to four bytes, must come through as well.
    text += " naïve 数学 🙂<|endoftext|>The end.\n"
    torch.set_num_threads(1)
    if args.folder:
        return 0 if compare(args.folder, text) else 1
    with tempfile.TemporaryDirectory() as root:
        folders = [
            *random_folders(Path(root), text),
            trained_folder(Path(root), text),
            *folders_from_elsewhere(Path(root), text),
        ]
        good = [compare(folder, text) for folder in folders]
        return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
