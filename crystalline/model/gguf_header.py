"""The header of a GGUF file, believed in nothing: its keys, its tensors, and where they lie.

Every count and length is held against what is left of the file before it is used, so that the work and the
memory are bounded by the file. Arrays are passed over first, and decoded when somebody asks for them.

Source: the GGUF specification of the ggml project, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from crystalline.errors import ModelFolderError
from crystalline.model.strict_json import REMEDY, shown

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MAGIC", "ArrayPlace", "GgufHeader", "GgufTensor", "numbers", "read_header", "strings"]

MAGIC: Final = b"GGUF"

_VERSIONS = (2, 3)
_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_ALIGNMENT_KEY, _ALIGNMENT, _ALIGNMENT_MAX = "general.alignment", 32, 64 * 1024
_NAME_BYTES_MAX = 64 * 1024
_STRING_BYTES_MAX = 16 * 1024 * 1024
_RANK_MAX = 4
_ENTRIES_MAX = 100_000  # keys, and tensors
_STRINGS_MAX = 4_000_000  # in one array: no vocabulary comes near


@dataclass(frozen=True, slots=True)
class ArrayPlace:
    """An array that was passed over.

    Attributes:
        kind: the format's number for the type of its items.
        length: how many items.
        offset: first byte of the first item.
    """

    kind: int
    length: int
    offset: int


@dataclass(frozen=True, slots=True)
class GgufTensor:
    """Where a tensor lies.

    Attributes:
        kind: the format's number for its type.
        shape: rows first, as numpy has it; the file has them the other way round.
        begin: its first byte, counted from the beginning of the file.
    """

    kind: int
    shape: tuple[int, ...]
    begin: int


@dataclass(frozen=True, slots=True)
class GgufHeader:
    """All that stands before the weights.

    Attributes:
        values: key -> a number, a truth value, a text, or the place of an array.
        tensors: name -> place.
    """

    values: Mapping[str, Any]
    tensors: Mapping[str, GgufTensor]


def read_header(stream: BinaryIO, file_bytes: int, where: str) -> GgufHeader:
    """Read keys and places.

    Args:
        stream: at the beginning of the file.
        file_bytes: size of the file.
        where: names the file in errors.

    Raises:
        ModelFolderError: it is no GGUF file of a known version, or a count, a length, a type or a place in it
            is impossible.
    """
    reader = _Reader(stream, file_bytes, where)
    if reader.take(len(MAGIC)) != MAGIC:
        raise ModelFolderError(f"{where} is not a GGUF file: name a model folder or a GGUF file")
    version = reader.number("<I")
    if version not in _VERSIONS:
        swapped = ", its bytes are in the other order" if version & 0xFFFF == 0 else ""
        raise ModelFolderError(
            f"{where} is GGUF version {version}{swapped}; versions 2 and 3 can be read: convert it again"
        )
    tensors, keys = reader.count("<Q", _ENTRIES_MAX), reader.count("<Q", _ENTRIES_MAX)
    values: dict[str, Any] = {}
    for _ in range(keys):
        name = reader.text(_NAME_BYTES_MAX)
        if name in values:
            raise reader.damaged(f"the key {shown(name)} is there twice")
        values[name] = reader.value()
    places = _tensor_places(reader, tensors)
    alignment = values.get(_ALIGNMENT_KEY, _ALIGNMENT)
    if type(alignment) is not int or not 0 < alignment <= _ALIGNMENT_MAX or alignment & (alignment - 1):
        raise reader.damaged(f"{_ALIGNMENT_KEY} is {shown(alignment)}")
    start = -(-reader.position // alignment) * alignment
    for name, (_, _, offset) in places.items():
        if offset % alignment or start + offset > file_bytes:
            raise reader.damaged(f"tensor {shown(name)} lies at {offset}, which is no place in it")
    return GgufHeader(
        values,
        {name: GgufTensor(kind, shape, start + offset) for name, (kind, shape, offset) in places.items()},
    )


def _tensor_places(reader: _Reader, tensors: int) -> dict[str, tuple[int, tuple[int, ...], int]]:
    places: dict[str, tuple[int, tuple[int, ...], int]] = {}
    for _ in range(tensors):
        name = reader.text(_NAME_BYTES_MAX)
        rank = reader.number("<I")
        if not 1 <= rank <= _RANK_MAX:
            raise reader.damaged(f"tensor {shown(name)} has {rank} dimensions")
        shape = tuple(reader.number("<Q") for _ in range(rank))[::-1]
        kind, offset = reader.number("<I"), reader.number("<Q")
        # Not even the type with the fewest bits has more than eight weights a byte.
        if name in places or not 0 < math.prod(shape) <= 8 * reader.file_bytes:
            raise reader.damaged(f"tensor {shown(name)} is there twice, or has the shape {shown(shape)}")
        places[name] = (kind, shape, offset)
    return places


def strings(stream: BinaryIO, file_bytes: int, place: ArrayPlace, where: str) -> list[str]:
    """Decode an array of texts that `read_header` has passed over.

    Raises:
        ModelFolderError: its items are no texts, or not UTF-8.
    """
    if place.kind != _STRING:
        raise ModelFolderError(f"{where} is damaged, an array of texts holds something else: {REMEDY}")
    stream.seek(place.offset)
    reader = _Reader(stream, file_bytes, where, place.offset)
    return [reader.text(_STRING_BYTES_MAX) for _ in range(place.length)]


def numbers(stream: BinaryIO, place: ArrayPlace, where: str) -> npt.NDArray[Any]:
    """Decode an array of numbers that `read_header` has passed over, (length,).

    Raises:
        ModelFolderError: its items are no numbers.
    """
    if place.kind not in _SCALARS:
        raise ModelFolderError(f"{where} is damaged, an array of numbers holds something else: {REMEDY}")
    dtype = np.dtype(_SCALARS[place.kind])
    stream.seek(place.offset)
    raw = stream.read(place.length * dtype.itemsize)
    if len(raw) != place.length * dtype.itemsize:
        raise ModelFolderError(f"{where} ends too early, the file became shorter: {REMEDY}")
    return np.frombuffer(raw, dtype=dtype)


class _Reader:
    """Takes one thing after the other from a stream, and never more than the file has."""

    def __init__(self, stream: BinaryIO, file_bytes: int, where: str, position: int = 0) -> None:
        self._stream, self.file_bytes, self._where = stream, file_bytes, where
        self.position = position

    def damaged(self, fault: str) -> ModelFolderError:
        return ModelFolderError(f"the header of {self._where} is damaged, {fault}: {REMEDY}")

    def take(self, nbytes: int) -> bytes:
        self._check_room(nbytes)
        found = self._stream.read(nbytes)
        if len(found) != nbytes:
            raise self.damaged("the file became shorter")
        self.position += nbytes
        return found

    def number(self, code: str) -> Any:
        return struct.unpack(code, self.take(struct.calcsize(code)))[0]

    def count(self, code: str, most: int) -> int:
        found: int = self.number(code)
        if found > min(most, self.file_bytes):
            raise self.damaged(f"it speaks of {found} entries")
        return found

    def text(self, bytes_max: int) -> str:
        length = self.number("<Q")
        if length > bytes_max:
            raise self.damaged(f"a text has {length} bytes")
        try:
            return self.take(length).decode()
        except UnicodeDecodeError as error:
            raise self.damaged(f"a text is not UTF-8 ({shown(error)})") from None

    def value(self) -> Any:
        kind = self.number("<I")
        if kind == _STRING:
            return self.text(_STRING_BYTES_MAX)
        return self._array() if kind == _ARRAY else self.number(self._code(kind))

    def _code(self, kind: int) -> str:
        if kind not in _SCALARS:
            raise self.damaged(f"{kind} is no type of a value")
        return _SCALARS[kind]

    def _array(self) -> ArrayPlace:
        kind, length = self.number("<I"), self.number("<Q")
        place = ArrayPlace(kind, length, self.position)
        if kind == _STRING:
            if length > _STRINGS_MAX:
                raise self.damaged(f"an array has {length} texts")
            for _ in range(length):
                self._skip(self.number("<Q"))
        else:
            self._skip(length * struct.calcsize(self._code(kind)))
        return place

    def _skip(self, nbytes: int) -> None:
        self._check_room(nbytes)
        self.position += nbytes
        self._stream.seek(self.position)

    def _check_room(self, nbytes: int) -> None:
        if nbytes > self.file_bytes - self.position:
            raise self.damaged(f"{nbytes} bytes from {self.position} on are beyond its {self.file_bytes}")
