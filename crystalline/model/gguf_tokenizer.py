"""The tokenizer of a GGUF file, which has its parts but no tokenizer.json. Pure.

Source of the expressions that cut a text before it is merged: llama.cpp, `llama-vocab.cpp`, by the names that
`tokenizer.ggml.pre` has there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

from crystalline.errors import ModelFolderError
from crystalline.model.strict_json import REMEDY, shown
from crystalline.model.tokenizer_text import refused_by_the_library

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

__all__ = ["PRE_TOKENIZERS", "WHOLE_WORDS", "byte_level_tokenizer", "sentencepiece_tokenizer"]

_UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 2, 3, 4, 6  # of tokenizer.ggml.token_type
_SPACE = "\u2581"  # SentencePiece's spelling of a space

_DIGIT = r"\p{N}"
_LLAMA3: Final = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN2: Final = _LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
_GPT2: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
# Applied one after the other, each to what the one before has left.
_DEFAULT: Final = (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", r"[0-9][0-9][0-9]")

PRE_TOKENIZERS: Final[dict[str, tuple[str, ...]]] = {
    "default": _DEFAULT,
    "gpt-2": (_GPT2,),
    "gpt2": (_GPT2,),
    "smollm": (_DIGIT, _GPT2),
    "starcoder": (_DIGIT, _GPT2),
    "refact": (_DIGIT, _GPT2),
    "command-r": (_DIGIT, _GPT2),
    "codeshell": (_DIGIT, _GPT2),
    "llama-bpe": (_LLAMA3,),
    "llama3": (_LLAMA3,),
    "llama-v3": (_LLAMA3,),
    "smaug-bpe": (_LLAMA3,),
    "dbrx": (_LLAMA3,),
    "qwen2": (_QWEN2,),
    "stablelm2": (_QWEN2,),
}
"""Value of `tokenizer.ggml.pre` -> the expressions that cut a text."""

WHOLE_WORDS: Final = frozenset({"llama-bpe", "llama3", "llama-v3"})
"""Values with which a word that is a token as it stands is not put together from merges."""


def byte_level_tokenizer(
    tokens: Sequence[str], types: Sequence[int], merges: Sequence[str], pre: Any, where: str
) -> Tokenizer:
    """A tokenizer of the kind "gpt2": byte pair encoding over bytes.

    Args:
        tokens: spelled in the alphabet of bytes, special ones as they are; the index is the id.
        types: of each token.
        merges: two parts with a space between them, the first to be merged first.
        pre: the value of `tokenizer.ggml.pre`; None counts as "default".
        where: names the file in errors.

    Raises:
        ModelFolderError: `pre` is not known here, or the parts do not fit together.
    """
    pre = "default" if pre is None else pre
    if not isinstance(pre, str) or pre not in PRE_TOKENIZERS:
        raise ModelFolderError(
            f"{where}: tokenizer.ggml.pre={shown(pre)} is not supported; "
            f"known are {', '.join(PRE_TOKENIZERS)}"
        )
    vocabulary = _vocabulary(tokens, where)
    pairs: list[tuple[str, str]] = []
    for merge in merges:
        left, space, right = merge.partition(" ")
        if not space or " " in right:
            raise ModelFolderError(f"{where}: {shown(merge)} is no merge of two tokens: {REMEDY}")
        pairs.append((left, right))
    with refused_by_the_library(where):
        tokenizer = Tokenizer(models.BPE(vocabulary, pairs, ignore_merges=pre in WHOLE_WORDS))
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                *(pre_tokenizers.Split(Regex(cut), "isolated") for cut in PRE_TOKENIZERS[pre]),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        tokenizer.decoder = decoders.ByteLevel()
        _add(tokenizer, tokens, types)
    return tokenizer


def sentencepiece_tokenizer(
    tokens: Sequence[str],
    types: Sequence[int],
    scores: npt.NDArray[np.floating[Any]],
    where: str,
    *,
    space_prefix: bool,
) -> Tokenizer:
    """A tokenizer of the kind "llama": SentencePiece's byte pair encoding, with bytes for what is not there.

    SentencePiece merges the two neighbours whose union has the highest score. The merges are therefore all
    pairs of tokens whose union is a token, the highest score first.

    Args:
        tokens: the index is the id; a space is spelled U+2581, a byte <0x0A>.
        types: of each token.
        scores: of each token.
        where: names the file in errors.
        space_prefix: whether a text is put behind a space.

    Raises:
        ModelFolderError: the parts do not fit together.
    """
    vocabulary = _vocabulary(tokens, where)
    if len(scores) != len(tokens):
        raise ModelFolderError(f"{where}: {len(scores)} scores for {len(tokens)} tokens: {REMEDY}")
    unknown = next((token for token, kind in zip(tokens, types, strict=True) if kind == _UNKNOWN), None)
    replaced: list[normalizers.Normalizer] = [normalizers.Replace(" ", _SPACE)]
    trimmed: list[decoders.Decoder] = []
    if space_prefix:
        replaced.insert(0, normalizers.Prepend(_SPACE))
        trimmed = [decoders.Strip(" ", 1, 0)]
    with refused_by_the_library(where):
        tokenizer = Tokenizer(
            models.BPE(
                vocabulary,
                _merges(tokens, types, scores, vocabulary),
                unk_token=unknown,
                fuse_unk=True,
                byte_fallback=True,
            )
        )
        tokenizer.normalizer = normalizers.Sequence(replaced)
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *trimmed]
        )
        _add(tokenizer, tokens, types)
    return tokenizer


def _vocabulary(tokens: Sequence[str], where: str) -> dict[str, int]:
    vocabulary = {token: index for index, token in enumerate(tokens)}
    if len(vocabulary) != len(tokens):
        twice = next(token for index, token in enumerate(tokens) if vocabulary[token] != index)
        raise ModelFolderError(f"{where}: the token {shown(twice)} is there twice: {REMEDY}")
    return vocabulary


def _merges(
    tokens: Sequence[str],
    types: Sequence[int],
    scores: npt.NDArray[np.floating[Any]],
    vocabulary: dict[str, int],
) -> list[tuple[str, str]]:
    apart = {_UNKNOWN, _CONTROL, _BYTE}
    found: list[tuple[float, int, int, tuple[str, str]]] = []
    for index, (token, kind) in enumerate(zip(tokens, types, strict=True)):
        if kind in apart or len(token) > _TOKEN_CHARS_MAX:
            continue
        for cut in range(1, len(token)):
            left, right = token[:cut], token[cut:]
            if left in vocabulary and right in vocabulary:
                found.append((-float(scores[index]), vocabulary[left], vocabulary[right], (left, right)))
    return [pair for _, _, _, pair in sorted(found)]


_TOKEN_CHARS_MAX = 1024  # the cuts of a token take work that grows with the square of its length


def _add(tokenizer: Tokenizer, tokens: Sequence[str], types: Sequence[int]) -> None:
    """Tokens that are found in a text before it is cut: special ones, and those that users have defined."""
    kinds = list(zip(tokens, types, strict=True))
    special = [token for token, kind in kinds if kind in {_CONTROL, _UNKNOWN} and token]
    plain = [token for token, kind in kinds if kind == _USER_DEFINED and token]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in plain])
