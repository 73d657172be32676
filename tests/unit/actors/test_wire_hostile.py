"""Frames that MessagePack reads without complaint, and that we refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from actors import ProtocolError, freeze
from actors.messages import schema_of
from actors.wire import EXT_ARRAY, EXT_MESSAGE, EXT_REF, Codec, Kind, frame_from_bytes, frame_to_bytes
from tests.helpers.wire_fuzz import Box, Ext, Parts, Raw, lay_out, pack, read


def boxed(content: Any, lengths: tuple[int, ...] = (), tail: bytes = b"") -> bytes:
    return lay_out(
        Parts(lengths, pack((0, "/to", "/from", 1, 0, 0, 0, schema_of(Box).schema_id, (content,))), tail)
    )


@pytest.mark.parametrize(
    "raw", [b"\xd6\xff\0\0\0\5", b"\xd7\xff\0\0\0\0\0\0\0\5", b"\xc7\x0c\xff" + b"\0" * 12]
)
def test_a_timestamp_is_an_unknown_extension(raw: bytes) -> None:
    frame = frame_from_bytes(boxed(Raw(raw)))
    with pytest.raises(ProtocolError):
        Codec().decode(frame)


@pytest.mark.parametrize("depth", [990, 1000, 1015])
def test_what_is_accepted_can_be_shown_and_passed_on(depth: int) -> None:
    """MessagePack reads deeper than Python can compare or print."""
    try:
        body = read(boxed(Raw(b"\x91" * depth + b"\x01"))).body
    except ProtocolError:
        return
    repr(body)
    hash(body)
    Codec().encode(Kind.TELL, "/a", "/b", 1, 0, 0, 0, body)


@pytest.mark.parametrize(("at", "value"), [(3, -1), (4, -1), (5, -1), (6, -(2**63)), (6, 2**64 - 1)])
def test_numbers_of_a_head_have_a_range(at: int, value: int) -> None:
    head = [0, "/to", "/from", 1, 0, 0, 0, schema_of(Box).schema_id, (1,)]
    head[at] = value
    with pytest.raises(ProtocolError):
        read(lay_out(Parts((), pack(tuple(head)), b"")))


def test_a_schema_is_a_whole_number() -> None:
    with pytest.raises(ProtocolError):
        read(
            lay_out(Parts((), pack((0, "/t", "/f", 1, 0, 0, 0, float(schema_of(Box).schema_id), (1,))), b""))
        )
    with pytest.raises(ProtocolError):
        read(boxed(Ext(EXT_MESSAGE, (float(schema_of(Box).schema_id), (1,)))))


@pytest.mark.parametrize("content", [Ext(EXT_REF, ("/a", True)), Ext(EXT_REF, ("/a", -5))])
def test_a_ref_has_a_number(content: Any) -> None:
    with pytest.raises(ProtocolError):
        read(boxed(content))


def test_an_array_names_its_buffer_by_a_number() -> None:
    with pytest.raises(ProtocolError):
        read(boxed(Ext(EXT_ARRAY, (False, "<f8", (1,), "C")), (8,), b"\1" * 8))


def test_buffers_that_nothing_names_are_refused() -> None:
    with pytest.raises(ProtocolError):
        read(boxed(1, (1_000_000,), b"\1" * 64))
    with pytest.raises(ProtocolError):
        read(boxed(1, (64,), b"\1" * 64))


def test_for_comparison_a_plain_array_travels() -> None:
    codec = Codec()
    frame = codec.encode(Kind.TELL, "/a", "/b", 1, 0, 0, 0, Box(freeze(np.zeros(2))))
    assert codec.decode(frame_from_bytes(frame_to_bytes(frame))).body.content.shape == (2,)


@pytest.mark.parametrize(
    "raw",
    [
        b"\xc7\x04\xff\0\0\0\1",
        b"\xc8\0\x04\xff\0\0\0\1",
        b"\xc9\0\0\0\x04\xff\0\0\0\1",
        b"\xc7\x08\xff" + b"\0" * 8,
    ],
)
def test_a_timestamp_in_any_spelling_is_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(boxed(Raw(raw)))


@pytest.mark.parametrize("leaf", [b"\xd6\xff\0\0\0\1", b"\xa2\xd6\xff"])
def test_a_deep_value_with_a_timestamp_is_refused_and_no_recursion_error(leaf: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(boxed(Raw(b"\x91" * 1010 + leaf)))
    with pytest.raises(ProtocolError):
        read(boxed((b"\xd6\xff", Raw(b"\x91" * 1005 + b"\1"))))
