"""How a tokenizer cuts a text before it merges bytes, under the name that llama.cpp has for it.

llama.cpp does not read a tokenizer's rules. It has the rules of known tokenizers built in, and a GGUF file
gives the name of one. Here is each name with its rules as tokenizer.json spells them; a tokenizer whose rules
have no name cannot be written as GGUF, because llama.cpp would read other tokens from the same text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from crystalline.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["split_name"]

Step = tuple[str, object]

_GPT2_BYTES: Final = ("bytes", True)  # the pattern of GPT-2 is part of this step
_BYTES: Final = ("bytes", False)
_DIGITS: Final = ("digits", True)

_CONTRACTIONS: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORDS: Final = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_REST: Final = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_LLAMA3: Final = rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}{{1,3}}|{_REST}"
_QWEN2: Final = rf"{_CONTRACTIONS}|{_WORDS}|\p{{N}}|{_REST}"

# Steps, and whether a piece that is a token as it stands is taken without merging.
_NAMES: Final[Mapping[tuple[tuple[Step, ...], bool], str]] = {
    ((_GPT2_BYTES,), False): "gpt-2",
    ((_DIGITS, _GPT2_BYTES), False): "smollm",
    ((("split", _LLAMA3), _BYTES), True): "llama-bpe",
    ((("split", _LLAMA3), _BYTES), False): "smaug-bpe",
    ((("split", _QWEN2), _BYTES), False): "qwen2",
}


def split_name(tokenizer: Mapping[str, Any]) -> str:
    """The name that llama.cpp has for the rules of a byte-level tokenizer.

    Args:
        tokenizer: the content of tokenizer.json.

    Raises:
        OutputError: there is none.
    """
    whole_words = bool(tokenizer["model"].get("ignore_merges"))
    steps = _steps(tokenizer.get("pre_tokenizer"))
    name = None if steps is None else _NAMES.get((steps, whole_words))
    if name is None or tokenizer.get("normalizer") is not None:
        raise OutputError(
            "llama.cpp has no name for the way in which this tokenizer cuts a text, so it would read other "
            "tokens: export the model as hf"
        )
    return name


def _steps(rules: Mapping[str, Any] | None) -> tuple[Step, ...] | None:
    """The steps of a `pre_tokenizer`; None if one is of a kind that no name has."""
    if rules is None:
        return ()
    parts = rules["pretokenizers"] if rules["type"] == "Sequence" else [rules]
    steps = [_step(part) for part in parts]
    return tuple(step for step in steps if step is not None) if all(steps) else None


def _step(part: Mapping[str, Any]) -> Step | None:
    match part:
        case {"type": "ByteLevel", "add_prefix_space": False}:
            return ("bytes", bool(part.get("use_regex", True)))
        case {"type": "Digits", "individual_digits": bool(each)}:
            return ("digits", each)
        case {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated"}:
            return None if part.get("invert") else ("split", pattern)
        case _:
            return None
