from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crystalline.errors import ModelFolderError
from crystalline.model.safetensors_header import (
    LENGTH_BYTES,
    StoredTensor,
    header_length,
    stored_tensors,
)
from tests.helpers.hf_folders import safetensors_bytes, with_header


def read(content: bytes) -> dict[str, StoredTensor]:
    length = header_length(content[:LENGTH_BYTES], len(content), "the file")
    return stored_tensors(content[LENGTH_BYTES : LENGTH_BYTES + length], len(content), "the file")


def of(entry: dict[str, Any], data: int = 8) -> bytes:
    """A file with one tensor that is described like this."""
    usual = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    return with_header(json.dumps({"a": usual | entry}).encode(), bytes(data))


def test_places_are_counted_from_the_beginning_of_the_file() -> None:
    content = safetensors_bytes({"b": ("F32", (1, 2), b"12345678"), "a": ("BF16", (), b"xy")})
    found = read(content)
    assert found["b"].shape == (1, 2)
    assert found["a"].dtype == "BF16"
    assert content[found["b"].begin : found["b"].end] == b"12345678"
    assert content[found["a"].begin : found["a"].end] == b"xy"


def test_a_type_that_is_unknown_has_a_place_all_the_same() -> None:
    assert read(of({"dtype": "F4"}))["a"].dtype == "F4"


two = {name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for name in "ab"}
LIES = {
    "a length beyond the file": (2**63).to_bytes(8, "little") + b"{}",
    "a header that is most of a large file": with_header(b" " * 200_000, b""),
    "shorter than its length": b"\x01\x00",
    "empty": b"",
    "offsets beyond the file": of({}, data=7),
    "bytes after the last tensor": of({}, data=9),
    "tensors that overlap": with_header(json.dumps(two).encode(), bytes(8)),
    "a hole": of({"data_offsets": [8, 16]}, data=16),
    "a shape that lies": of({"shape": [2**62, 4]}),
    "negative sizes": of({"shape": [-1, -2]}),
    "a truth value for a size": of({"shape": [True, 2]}),
    "half a size": of({"shape": [2.0]}),
    "offsets the wrong way": of({"data_offsets": [8, 0]}),
    "one offset": of({"data_offsets": [8]}),
    "absurd offsets": of({"data_offsets": [10**400, 10**400 + 8]}),
    "more keys": of({"more": 1}),
    "a type that is no text": of({"dtype": ["F32"]}),
    "many dimensions": of({"shape": [2] + [1] * 9}),
    "no object": with_header(b'{"a": 5}'),
    "deep": with_header(b'{"a":' * 10_000),
}


@pytest.mark.parametrize("content", LIES.values(), ids=LIES.keys())
def test_what_cannot_be_is_one_error_that_names_the_file(content: bytes) -> None:
    with pytest.raises(ModelFolderError, match="the file"):
        read(content)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
entries = st.fixed_dictionaries({"dtype": values, "shape": values, "data_offsets": values}) | values


@given(st.dictionaries(st.text(max_size=5), entries, max_size=3) | values, st.binary(max_size=20))
def test_any_header_at_all_ends_in_places_within_the_file_or_in_our_error(content: Any, data: bytes) -> None:
    file = with_header(json.dumps(content).encode(), data)
    found = places_or_error(file)
    if isinstance(found, str):
        assert len(found) < 400
    else:
        assert all(0 <= tensor.begin <= tensor.end <= len(file) for tensor in found.values())


def places_or_error(file: bytes) -> dict[str, StoredTensor] | str:
    try:
        return read(file)
    except ModelFolderError as error:
        return str(error)
