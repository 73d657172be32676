from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalline.errors import ModelFolderError
from crystalline.model.gguf_header import ArrayPlace, GgufHeader, GgufTensor, numbers, read_header, strings

U32, STRING, ARRAY = 4, 8, 9


def read(content: bytes) -> GgufHeader:
    return read_header(io.BytesIO(content), len(content), "the file")


def text(value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(value) if length is None else length) + value


def head(tensors: int = 0, keys: int = 0, version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys)


def key(name: bytes, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def tensor(
    name: bytes, shape: tuple[int, ...], kind: int = 0, offset: int = 0, rank: int | None = None
) -> bytes:
    sizes = b"".join(struct.pack("<Q", size) for size in shape)
    return (
        text(name)
        + struct.pack("<I", len(shape) if rank is None else rank)
        + sizes
        + struct.pack("<IQ", kind, offset)
    )


def test_keys_and_places_are_read() -> None:
    content = head(tensors=2, keys=4)
    content += key(b"a", U32, struct.pack("<I", 7)) + key(b"b", STRING, text("é".encode()))
    content += key(b"c", ARRAY, struct.pack("<IQ", STRING, 2) + text(b"x") + text(b"yz"))
    content += key(b"d", ARRAY, struct.pack("<IQ", U32, 2) + struct.pack("<II", 5, 6))
    content += tensor(b"t", (3, 2)) + tensor(b"u", (4,), kind=1, offset=32)
    start = -(-len(content) // 32) * 32
    content = content.ljust(start + 48, b"\0")
    found = read(content)
    assert (found.values["a"], found.values["b"]) == (7, "é")
    assert found.tensors == {"t": GgufTensor(0, (2, 3), start), "u": GgufTensor(1, (4,), start + 32)}
    stream = io.BytesIO(content)
    assert strings(stream, len(content), found.values["c"], "the file") == ["x", "yz"]
    assert numbers(stream, found.values["d"], "the file").tolist() == [5, 6]


def test_the_alignment_is_what_the_file_says() -> None:
    content = head(1, 1) + key(b"general.alignment", U32, struct.pack("<I", 64)) + tensor(b"t", (1,))
    assert read(content.ljust(200, b"\0")).tensors["t"].begin == -(-len(content) // 64) * 64


LIES = {
    "empty": b"",
    "another magic": b"GGML" + bytes(40),
    "version 1": head(version=1),
    "the other order of bytes": b"GGUF" + struct.pack(">IQQ", 3, 0, 0),
    "cut in the counts": head()[:-1],
    "absurdly many tensors": head(tensors=2**60),
    "absurdly many keys": head(keys=2**60),
    "more keys than there are": head(keys=20),
    "a name beyond the file": head(keys=1) + text(b"abc", length=2**63),
    "a long name": head(keys=1) + text(b"a" * 70_000) + struct.pack("<II", U32, 1),
    "a text beyond the file": head(keys=1) + key(b"a", STRING, text(b"abc", length=400)),
    "a text that is not UTF-8": head(keys=1) + key(b"a", STRING, text(b"\xff\xfe")),
    "an unknown type": head(keys=1) + key(b"a", 13, bytes(8)),
    "an array of arrays": head(keys=1) + key(b"a", ARRAY, struct.pack("<IQ", ARRAY, 1) + bytes(40)),
    "an array beyond the file": head(keys=1) + key(b"a", ARRAY, struct.pack("<IQ", U32, 2**62)),
    "absurdly many texts": head(keys=1) + key(b"a", ARRAY, struct.pack("<IQ", STRING, 2**60) + bytes(99)),
    "the same key twice": head(keys=2) + 2 * key(b"a", U32, bytes(4)),
    "the same tensor twice": (head(tensors=2) + 2 * tensor(b"t", (1,))).ljust(300, b"\0"),
    "no dimension": (head(tensors=1) + tensor(b"t", ())).ljust(300, b"\0"),
    "many dimensions": (head(tensors=1) + tensor(b"t", (1,) * 5)).ljust(300, b"\0"),
    "a count of dimensions that lies": (head(tensors=1) + tensor(b"t", (1,), rank=2**31)).ljust(300, b"\0"),
    "no row": (head(tensors=1) + tensor(b"t", (4, 0))).ljust(300, b"\0"),
    "a shape beyond the file": (head(tensors=1) + tensor(b"t", (2**40, 2**40))).ljust(300, b"\0"),
    "an offset beyond the file": (head(tensors=1) + tensor(b"t", (1,), offset=2**40)).ljust(300, b"\0"),
    "an offset between": (head(tensors=1) + tensor(b"t", (1,), offset=4)).ljust(300, b"\0"),
    "no power of two": (head(keys=1) + key(b"general.alignment", U32, struct.pack("<I", 3))).ljust(99, b"\0"),
    "alignment 0": (head(keys=1) + key(b"general.alignment", U32, struct.pack("<I", 0))).ljust(99, b"\0"),
    "alignment as a text": (head(keys=1) + key(b"general.alignment", STRING, text(b"8"))).ljust(99, b"\0"),
}


@pytest.mark.parametrize("content", LIES.values(), ids=LIES.keys())
def test_what_cannot_be_is_one_error_that_names_the_file(content: bytes) -> None:
    with pytest.raises(ModelFolderError, match="the file"):
        read(content)


def test_arrays_of_another_kind_are_refused_when_they_are_read() -> None:
    stream = io.BytesIO(bytes(64))
    with pytest.raises(ModelFolderError, match="array of texts holds something else"):
        strings(stream, 64, ArrayPlace(U32, 1, 0), "the file")
    with pytest.raises(ModelFolderError, match="array of numbers holds something else"):
        numbers(stream, ArrayPlace(STRING, 1, 0), "the file")


def test_a_file_that_became_shorter_meanwhile_is_an_error() -> None:
    with pytest.raises(ModelFolderError, match="became shorter"):
        read_header(io.BytesIO(head()[:10]), 1000, "the file")
    with pytest.raises(ModelFolderError, match="became shorter"):
        numbers(io.BytesIO(bytes(8)), ArrayPlace(U32, 9, 0), "the file")


WHOLE = (
    head(tensors=1, keys=3)
    + key(b"general.alignment", U32, struct.pack("<I", 8))
    + key(b"name", STRING, text(b"some text"))
    + key(b"list", ARRAY, struct.pack("<IQ", STRING, 3) + text(b"x") * 3)
    + tensor(b"t", (4, 4))
).ljust(400, b"\0")


def outcome(content: bytes) -> GgufHeader | str:
    try:
        return read(content)
    except ModelFolderError as error:
        return str(error)


@given(st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.binary(min_size=1, max_size=9)), max_size=4))
def test_any_damage_ends_in_places_within_the_file_or_in_our_error(
    changes: list[tuple[int, bytes]],
) -> None:
    damaged = bytearray(WHOLE)
    for position, content in changes:
        damaged[position : position + len(content)] = content
    found = outcome(bytes(damaged))
    if isinstance(found, str):
        assert "the file" in found
        assert len(found) < 400
    else:
        assert all(place.begin <= len(damaged) for place in found.tensors.values())


@given(st.binary(max_size=200))
def test_any_bytes_at_all_are_survived(content: bytes) -> None:
    outcome(b"GGUF\x03\0\0\0" + content)
