"""Whole small models, with tokenizer and settings about texts, and everything that a model may have."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from crystalline.model import LoadedModel, ModelConfig, RopeScaling, TextSettings, initialise, layout_of
from tests.helpers.texts import words
from tests.helpers.tokenizers import END_OF_TEXT, small_tokenizer

if TYPE_CHECKING:
    from pathlib import Path

BEGIN, END, UNKNOWN = "<|im_start|>", "<|im_end|>", "<unk>"
FIRST, LAST = "<s>", "</s>"
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
LLAMA3_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
    r"\s+(?!\S)|\s+"
)
TEXT = words(3000) + " Don't, 12 345\n\n we'll see -- naïve 数学 🙂  x\ty"
SCALED = RopeScaling(
    kind="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_seq_len=32
)


def byte_tokenizer(vocab_size: int = 400) -> Tokenizer:
    """As our own training makes it."""
    return small_tokenizer(TEXT, vocab_size)


def chat_tokenizer() -> Tokenizer:
    """With tokens for conversations, and single digits."""
    tokenizer = small_tokenizer(TEXT, 360)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.add_special_tokens([AddedToken(each, special=True) for each in (BEGIN, END)])
    tokenizer.add_tokens(["<tool>"])
    return tokenizer


def llama3_tokenizer() -> Tokenizer:
    """Cut as Llama 3 does; what is a token as it stands is taken without merging."""
    tokenizer = small_tokenizer(TEXT, 380)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA3_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    content: dict[str, Any] = json.loads(tokenizer.to_str())
    content["model"]["ignore_merges"] = True
    return Tokenizer.from_str(json.dumps(content))


def sentencepiece_tokenizer() -> Tokenizer:
    """As Llama 2 has it: spaces are written out, bytes stand in for unknown characters."""
    tokens = [UNKNOWN, FIRST, LAST, *(f"<0x{byte:02X}>" for byte in range(256))]
    letters = ["\u2581", *"abcdefghijklmnopqrstuvwxyzDKS,.'"]
    merges = [("\u2581", "k"), ("a", "n"), ("\u2581k", "a"), ("d", "u"), ("m", "i"), ("du", "mi"), ("s", "o")]
    vocabulary = [*tokens, *(first + second for first, second in merges), *letters]
    tokenizer = Tokenizer(
        models.BPE(
            {token: number for number, token in enumerate(vocabulary)},
            merges,
            unk_token=UNKNOWN,
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.add_special_tokens([AddedToken(each, special=True) for each in tokens[:3]])
    return tokenizer


def small_model(
    tokenizer: Tokenizer | None = None, *, seed: int = 0, text: TextSettings | None = None, **sizes: Any
) -> LoadedModel:
    """A model whose weights are large enough that its logits differ from each other.

    Args:
        tokenizer: whose ids it knows; that of our own training if None.
        seed: of its weights.
        text: what its files say about texts; that `<|endoftext|>` ends one if None.
        sizes: of the model, where they are to be others than here.
    """
    tokenizer = tokenizer or byte_tokenizer()
    usual = ModelConfig(
        vocab_size=tokenizer.get_vocab_size(), dim=32, layers=2, heads=4, kv_heads=2, ffn_dim=96, seq_len=64
    )
    config = replace(usual, **({"head_dim": None} | sizes))
    flat = initialise(config, seed)
    flat[: layout_of(config).decay_end] *= 8
    if text is None:
        text = TextSettings(end_ids=(_id(tokenizer, END_OF_TEXT),), end_token=END_OF_TEXT)
    return LoadedModel(config=config, flat=flat, tokenizer_json=tokenizer.to_str(), text=text)


def chat_model(**sizes: Any) -> LoadedModel:
    """With a chat template, a token before every text, and two that end one."""
    tokenizer = chat_tokenizer()
    begin, end, over = (_id(tokenizer, each) for each in (BEGIN, END, END_OF_TEXT))
    text = TextSettings(
        begin_id=begin,
        end_ids=(end, over),
        chat_template=TEMPLATE,
        begin_token=BEGIN,
        end_token=END,
    )
    return small_model(tokenizer, text=text, **sizes)


def sentencepiece_model(**sizes: Any) -> LoadedModel:
    """With a tokenizer as Llama 2 has it."""
    text = TextSettings(begin_id=1, end_ids=(2,), begin_token=FIRST, end_token=LAST)
    return small_model(sentencepiece_tokenizer(), text=text, **sizes)


def listing(folder: Path) -> list[str]:
    """What is in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())


def _id(tokenizer: Tokenizer, token: str) -> int:
    found = tokenizer.token_to_id(token)
    assert found is not None
    return found
