"""Opens a model in a GGUF file."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from crystalline.errors import ModelFolderError
from crystalline.model.gguf_config import config_of_gguf
from crystalline.model.gguf_header import MAGIC, ArrayPlace, GgufHeader, numbers, read_header, strings
from crystalline.model.gguf_tokenizer import byte_level_tokenizer, sentencepiece_tokenizer
from crystalline.model.gguf_weights import EMBEDDING, OUTPUT, ROPE_DIVISORS, read_divisors, read_gguf_weights
from crystalline.model.loaded import LoadedModel, TextSettings
from crystalline.model.strict_json import REMEDY, shown
from crystalline.model.text_settings import check_id
from crystalline.model.tokenizer_text import check_ids

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt
    from tokenizers import Tokenizer

    from crystalline.model.config import ModelConfig

__all__ = ["is_gguf", "open_gguf"]

_MERGES_FOR_A_TOKEN = 16  # several pairs may make the same token
_NORMAL = 1  # of tokenizer.ggml.token_type
_ENTRY_BYTES, _ADDED_BYTES = 400, 1800  # memory that the library takes for an entry; more for an added one
_COST_FREE_BYTES = 32 << 20  # a tokenizer of usual size takes so much whatever the file has
_KEY = "tokenizer.ggml."
_BEGIN, _ENDS = "bos_token_id", ("eos_token_id", "eot_token_id", "eom_token_id")


def is_gguf(path: Path) -> bool:
    """Whether a file begins as GGUF files do.

    Raises:
        ModelFolderError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise ModelFolderError(f"{path} cannot be read ({error.strerror or error}): {REMEDY}") from None


def open_gguf(path: Path) -> LoadedModel:
    """Read a model; its weights become float32, whatever they were.

    Args:
        path: a file.

    Raises:
        ModelFolderError: it is damaged, is of another architecture than llama, or has a tensor type or a
            tokenizer that is not known here. Memory for the weights is taken when all sizes are checked.
    """
    try:
        file_bytes = path.stat().st_size
        with path.open("rb") as stream:
            header = read_header(stream, file_bytes, str(path))
            return _Opened(stream, file_bytes, header, str(path)).model()
    except OSError as error:
        raise ModelFolderError(f"{path} cannot be read ({error.strerror or error}): {REMEDY}") from None


class _Opened:
    """A file whose header has been read."""

    def __init__(self, stream: BinaryIO, file_bytes: int, header: GgufHeader, where: str) -> None:
        self._stream, self._file_bytes, self._where = stream, file_bytes, where
        self._values, self._tensors = header.values, header.tensors

    def model(self) -> LoadedModel:
        config = self._config()
        tokens = self._texts("tokens", config.vocab_size)
        tokenizer = self._tokenizer(tokens)
        check_ids(tokenizer, config.vocab_size, self._where)
        text = self._text_settings(tokens)
        flat = read_gguf_weights(self._stream, self._file_bytes, config, self._tensors, self._where)
        return LoadedModel(config=config, flat=flat, tokenizer_json=tokenizer.to_str(), text=text)

    def _config(self) -> ModelConfig:
        try:
            return config_of_gguf(
                self._values,
                self._tensors[EMBEDDING].shape[0] if EMBEDDING in self._tensors else 1,
                tied=OUTPUT not in self._tensors,
                divisors=self._divisors(),
            )
        except ModelFolderError as error:
            if self._where in str(error):
                raise
            raise self._wrong(str(error)) from None

    def _divisors(self) -> npt.NDArray[np.float32] | None:
        if ROPE_DIVISORS not in self._tensors:
            return None
        return read_divisors(self._stream, self._file_bytes, self._tensors[ROPE_DIVISORS], self._where)

    def _tokenizer(self, tokens: list[str]) -> Tokenizer:
        kind, types = self._values.get(f"{_KEY}model"), self._types(len(tokens))
        self._check_cost(types)
        if kind == "gpt2":
            merges = self._texts("merges", _MERGES_FOR_A_TOKEN * len(tokens))
            pre = self._values.get(f"{_KEY}pre")
            return byte_level_tokenizer(tokens, types, merges, pre, self._where)
        if kind == "llama":
            scores = numbers(self._stream, self._array("scores"), self._where)
            prefix = self._flag("add_space_prefix", default=True)
            return sentencepiece_tokenizer(tokens, types, scores, self._where, space_prefix=prefix)
        raise self._wrong(f"{_KEY}model={shown(kind)} is not supported; known are 'gpt2' and 'llama'")

    def _check_cost(self, types: list[int]) -> None:
        """Refuse a vocabulary that would take far more memory than the file it lies in."""
        added = sum(kind != _NORMAL for kind in types)
        cost = _ENTRY_BYTES * len(types) + _ADDED_BYTES * added
        if cost > _COST_FREE_BYTES + 4 * self._file_bytes:
            raise self._wrong(
                f"its vocabulary of {len(types)} entries, {added} of them not plain ones, would take about "
                f"{cost >> 20} MiB, far more than the file has: {REMEDY}"
            )

    def _types(self, length: int) -> list[int]:
        if f"{_KEY}token_type" not in self._values:
            return [_NORMAL] * length
        place = self._array("token_type")
        if place.length != length:
            raise self._wrong(f"{place.length} types for {length} tokens: {REMEDY}")
        types = numbers(self._stream, place, self._where)
        if types.dtype.kind not in "iu":
            raise self._wrong(f"{_KEY}token_type must be whole numbers: {REMEDY}")
        return [int(each) for each in types]

    def _text_settings(self, tokens: list[str]) -> TextSettings:
        begin, *ends = (self._id(key, len(tokens)) for key in (_BEGIN, *_ENDS))
        adds = self._flag("add_bos_token", default=self._values.get(f"{_KEY}model") == "llama")
        template = self._values.get("tokenizer.chat_template")
        if template is not None and not isinstance(template, str):
            raise self._wrong(f"tokenizer.chat_template must be a text, got {shown(template)}: {REMEDY}")
        if adds and begin is None:
            raise self._wrong(f"{_KEY}add_bos_token is set, but {_KEY}{_BEGIN} is missing: {REMEDY}")
        return TextSettings(
            begin_id=begin if adds else None,
            end_ids=tuple(dict.fromkeys(end for end in ends if end is not None)),
            chat_template=template,
            begin_token="" if begin is None else tokens[begin],
            end_token="" if ends[0] is None else tokens[ends[0]],
        )

    def _id(self, key: str, length: int) -> int | None:
        value = self._values.get(_KEY + key)
        return None if value is None else check_id(value, length, f"{self._where}: {_KEY}{key}")

    def _flag(self, key: str, *, default: bool) -> bool:
        value = self._values.get(_KEY + key, default)
        if not isinstance(value, bool):
            raise self._wrong(f"{_KEY}{key} must be true or false, got {shown(value)}: {REMEDY}")
        return value

    def _array(self, key: str) -> ArrayPlace:
        place = self._values.get(_KEY + key)
        if not isinstance(place, ArrayPlace):
            raise self._wrong(f"the array {_KEY}{key} is missing: {REMEDY}")
        return place

    def _texts(self, key: str, most: int) -> list[str]:
        place = self._array(key)
        if place.length > most:
            raise self._wrong(f"{place.length} {key}, more than {most} for so small a vocabulary: {REMEDY}")
        return strings(self._stream, self._file_bytes, place, self._where)

    def _wrong(self, what: str) -> ModelFolderError:
        return ModelFolderError(f"{self._where}: {what}")
