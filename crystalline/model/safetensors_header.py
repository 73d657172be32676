"""The header of a safetensors file, believed in nothing: where each tensor lies. Pure.

The library of that name checks files as well, but hands out no bfloat16 to numpy, and reads a header of any
size. Here a header is checked against its file before anything is made of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from crystalline.errors import ModelFolderError
from crystalline.model.strict_json import REMEDY, parse_object, shown

__all__ = ["LENGTH_BYTES", "StoredTensor", "header_length", "stored_tensors"]

LENGTH_BYTES: Final = 8
"""The length of the header, little-endian, stands before it."""

# A header becomes Python objects of ten times its size and more, which must stay less than the weights.
_HEADER_SHARE, _HEADER_FREE_BYTES, _HEADER_BYTES_MAX = 4, 64 * 1024, 32 * 1024 * 1024
_ENTRY_KEYS = {"dtype", "shape", "data_offsets"}
_RANK_MAX = 8
_ITEM_BYTES = {
    "BOOL": 1,
    "U8": 1,
    "I8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
    "I16": 2,
    "U16": 2,
    "F16": 2,
    "BF16": 2,
    "I32": 4,
    "U32": 4,
    "F32": 4,
    "I64": 8,
    "U64": 8,
    "F64": 8,
}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Where a tensor lies in its file.

    Attributes:
        dtype: as the format spells it, such as "BF16".
        shape: its sizes.
        begin: first byte, counted from the beginning of the file.
        end: the byte after its last one.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def header_length(head: bytes, file_bytes: int, where: str) -> int:
    """Bytes of the header, from the first eight bytes of the file.

    Raises:
        ModelFolderError: the file is too short, or the header larger than it can be.
    """
    length = int.from_bytes(head, "little")
    allowed = min(_HEADER_BYTES_MAX, file_bytes // _HEADER_SHARE + _HEADER_FREE_BYTES)
    if len(head) < LENGTH_BYTES or length > min(allowed, file_bytes - LENGTH_BYTES):
        raise ModelFolderError(
            f"{where} cannot be read as safetensors (a header of {length} bytes in a file of {file_bytes}): "
            f"{REMEDY}"
        )
    return length


def stored_tensors(header: bytes, file_bytes: int, where: str) -> dict[str, StoredTensor]:
    """Every tensor of a file.

    Args:
        header: as it stands after the length.
        file_bytes: size of the file.
        where: names the file in errors.

    Raises:
        ModelFolderError: the header is not what the format asks for: tensors that fill the rest of the file,
            one after the other, each as large as its shape says.
    """
    content = parse_object(header, f"the header of {where}")
    content.pop("__metadata__", None)
    start = LENGTH_BYTES + len(header)
    found = {name: _stored(name, entry, start, where) for name, entry in content.items()}
    position = start
    for name, tensor in sorted(found.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.begin != position:
            raise _damaged(where, name, "does not begin where the one before it ends")
        position = tensor.end
    if position != file_bytes:
        raise ModelFolderError(
            f"{where} holds {file_bytes} bytes but its header speaks of {position}: {REMEDY}"
        )
    return found


def _stored(name: str, entry: Any, start: int, where: str) -> StoredTensor:
    if not isinstance(entry, dict) or entry.keys() != _ENTRY_KEYS:
        raise _damaged(where, name, "is not described by dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(dtype, str) or not _sizes(shape) or len(shape) > _RANK_MAX:
        raise _damaged(where, name, "has no possible type or shape")
    if not _sizes(offsets) or len(offsets) != len(("begin", "end")) or offsets[0] > offsets[1]:
        raise _damaged(where, name, "has no possible offsets")
    nbytes = offsets[1] - offsets[0]
    # Types that are unknown here have an unknown size, and matter only where such a tensor is needed.
    if dtype in _ITEM_BYTES and math.prod(shape) * _ITEM_BYTES[dtype] != nbytes:
        raise _damaged(where, name, f"of shape {shown(shape)} has {shown(nbytes)} bytes")
    return StoredTensor(dtype, tuple(shape), start + offsets[0], start + offsets[1])


def _sizes(value: Any) -> bool:
    return isinstance(value, list) and all(type(each) is int and each >= 0 for each in value)


def _damaged(where: str, name: str, fault: str) -> ModelFolderError:
    return ModelFolderError(f"the header of {where} is damaged, tensor {shown(name)} {fault}: {REMEDY}")
