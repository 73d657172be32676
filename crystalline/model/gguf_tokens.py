"""A tokenizer as the lists in which a GGUF file holds it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from gguf import TokenType

from crystalline.errors import OutputError
from crystalline.model.gguf_split import split_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["GgufTokens", "gguf_tokens"]

_BYTE: Final = re.compile(r"<0x[0-9A-F]{2}>")
_SPACE: Final = "\u2581"  # stands for a space in vocabularies of sentencepiece
_NEVER_MERGED: Final = -1e6


@dataclass(frozen=True, slots=True)
class GgufTokens:
    """A vocabulary with its rules.

    Attributes:
        model: "gpt2" for byte-level merges, "llama" for those of sentencepiece.
        pre: llama.cpp's name of the rules that cut a text; "default" for "llama".
        tokens: text of every id; ids that only fill up the model's vocabulary are called "[PAD7]".
        types: kind of every id, in the numbers of `gguf.TokenType`.
        merges: pairs in the order in which they are merged, parted by a space; "gpt2" only.
        scores: of every id, higher is merged first; "llama" only.
        space_prefix: whether a space is put before a text; "llama" only.
    """

    model: Literal["gpt2", "llama"]
    pre: str
    tokens: tuple[str, ...]
    types: tuple[int, ...]
    merges: tuple[str, ...]
    scores: tuple[float, ...]
    space_prefix: bool


def gguf_tokens(tokenizer_json: str, vocab_size: int) -> GgufTokens:
    """Take a tokenizer apart.

    Args:
        tokenizer_json: as the `tokenizers` library writes it.
        vocab_size: of the model; at least as many as the tokenizer has.

    Raises:
        OutputError: it is of a kind that llama.cpp does not have.
    """
    content: dict[str, Any] = json.loads(tokenizer_json)
    model = content["model"]
    if model.get("type") != "BPE":
        raise OutputError(
            f"a tokenizer of type {model.get('type')!r} cannot be written as GGUF, only BPE: export the "
            "model as hf"
        )
    added = {token["id"]: token for token in content.get("added_tokens", [])}
    texts = {number: text for text, number in model["vocab"].items()}
    texts |= {number: token["content"] for number, token in added.items()}
    tokens = tuple(texts.get(number) or _filler(number) for number in range(vocab_size))
    types = tuple(_type(number, texts, added, model.get("unk_token")) for number in range(vocab_size))
    if len(set(tokens)) < vocab_size:
        raise OutputError(
            "the tokenizer has one text for two ids, which llama.cpp refuses: export the model as hf"
        )
    merges = tuple(_pairs(model["merges"]))
    if not merges:
        raise OutputError("a tokenizer with no merges is refused by llama.cpp: export the model as hf")
    if not model.get("byte_fallback"):
        joined = tuple(f"{first} {second}" for first, second in merges)
        return GgufTokens("gpt2", split_name(content), tokens, types, joined, (), space_prefix=False)
    return GgufTokens(
        "llama", "default", tokens, types, (), _scores(tokens, merges), space_prefix=_space_prefix(content)
    )


def _filler(number: int) -> str:
    return f"[PAD{number}]"


def _type(
    number: int, texts: Mapping[int, str], added: Mapping[int, Mapping[str, Any]], unknown: str | None
) -> int:
    if texts.get(number, _filler(number)) == _filler(number):  # also where it was read from such a file
        return TokenType.UNUSED
    if unknown is not None and texts[number] == unknown:
        return TokenType.UNKNOWN
    if number in added:
        return TokenType.CONTROL if added[number]["special"] else TokenType.USER_DEFINED
    return TokenType.BYTE if _BYTE.fullmatch(texts[number]) else TokenType.NORMAL


def _pairs(merges: Iterable[str | list[str]]) -> Iterable[tuple[str, str]]:
    """Merges in both spellings: "a b", and ["a", "b"]."""
    for merge in merges:
        first, second = merge.split(" ") if isinstance(merge, str) else merge
        yield first, second


def _scores(tokens: tuple[str, ...], merges: Iterable[tuple[str, str]]) -> tuple[float, ...]:
    """Scores by which sentencepiece merges in the order of `merges`.

    It merges the neighbours whose union has the highest score, so that is minus the rank of the first pair
    that gives the union.
    """
    ranks: dict[str, int] = {}
    for rank, (first, second) in enumerate(merges):
        ranks.setdefault(first + second, rank)
    return tuple(float(-ranks[token]) if token in ranks else _NEVER_MERGED for token in tokens)


def _space_prefix(content: Mapping[str, Any]) -> bool:
    """Whether a space is put before a text.

    Raises:
        OutputError: spaces are not written as sentencepiece does.
    """
    steps = [
        *_parts(content.get("normalizer"), "normalizers"),
        *_parts(content.get("pre_tokenizer"), "pretokenizers"),
    ]
    spaces = [step for step in steps if step.get("replacement", step.get("content")) == _SPACE]
    kinds = {step["type"] for step in steps}
    if not spaces or not kinds <= {"Prepend", "Replace", "Metaspace"}:
        raise OutputError(
            "this tokenizer treats spaces in a way that llama.cpp does not have: export the model as hf"
        )
    return "Prepend" in kinds or any(
        step["type"] == "Metaspace" and step.get("prepend_scheme", "always") != "never" for step in steps
    )


def _parts(rules: Mapping[str, Any] | None, key: str) -> list[Mapping[str, Any]]:
    if rules is None:
        return []
    return list(rules[key]) if rules["type"] == "Sequence" else [rules]
