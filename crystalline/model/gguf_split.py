"""How a tokenizer cuts a text before it merges bytes, under the name that llama.cpp has for it.

llama.cpp does not read a tokenizer's rules. It has the rules of known tokenizers built in, and a GGUF file
gives the name of one. A tokenizer whose rules have no name cannot be written as GGUF, because llama.cpp would
read other tokens from the same text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from crystalline.errors import OutputError
from crystalline.model.gguf_tokenizer import PRE_TOKENIZERS, WHOLE_WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["split_name"]

# The same in the spelling of tokenizer.json and in that of llama.cpp, which has no case-insensitive groups.
_CONTRACTIONS: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPELLED_OUT: Final = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"


def split_name(tokenizer: Mapping[str, Any]) -> str:
    """The name that llama.cpp has for the rules of a byte-level tokenizer.

    Args:
        tokenizer: the content of tokenizer.json.

    Raises:
        OutputError: there is none.
    """
    cuts = _cuts(tokenizer.get("pre_tokenizer"))
    whole_words = bool(tokenizer["model"].get("ignore_merges"))
    if tokenizer.get("normalizer") is None and cuts is not None:
        for name, named in PRE_TOKENIZERS.items():
            if named == cuts and (name in WHOLE_WORDS) == whole_words:
                return name
    raise OutputError(
        "llama.cpp has no name for the way in which this tokenizer cuts a text, so it would read other "
        "tokens: export the model as hf"
    )


def _cuts(rules: Mapping[str, Any] | None) -> tuple[str, ...] | None:
    """The expressions that a text is cut by before bytes are spelled; None if it is of another kind."""
    if rules is None:
        return None
    parts = rules["pretokenizers"] if rules["type"] == "Sequence" else [rules]
    steps = [_step(part) for part in parts]
    found = [cut for step in steps for cut in step or ()]
    return tuple(found) if all(step is not None for step in steps) and _spells_last(parts) else None


def _spells_last(parts: list[Mapping[str, Any]]) -> bool:
    return [part["type"] == "ByteLevel" for part in parts] == [False] * (len(parts) - 1) + [True]


def _step(part: Mapping[str, Any]) -> tuple[str, ...] | None:
    match part:
        case {"type": "ByteLevel", "add_prefix_space": False}:
            return PRE_TOKENIZERS["gpt-2"] if part.get("use_regex", True) else ()
        case {"type": "Digits", "individual_digits": True}:
            return (r"\p{N}",)
        case {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated", "invert": False}:
            return (pattern.replace(_CONTRACTIONS, _SPELLED_OUT),)
        case _:
            return None
