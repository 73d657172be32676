"""Hostile frames: good ones, damaged at every level, are refused with `ProtocolError` or are messages."""

from __future__ import annotations

import struct
import time
import tracemalloc
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import ProtocolError
from actors.messages import schema_of
from actors.wire import ENTRIES_MAX, EXT_ARRAY, EXT_MESSAGE, EXT_REF, HEAD_BYTES_MAX, HEADER, Kind
from tests.helpers.wire_fuzz import (
    CORPUS,
    OF_BYTES,
    OF_VALUES,
    PEAK_BYTES,
    PEAK_PER_BYTE,
    STRANGE,
    Arrays,
    Box,
    Edit,
    Ext,
    Parts,
    Raw,
    lay_out,
    outcome,
    pack,
    read,
    take_apart,
    unpack,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

FRAME_S_MAX = 1.0  # of the processor; far above what any takes

numbers = st.integers(0, 2**32 - 1)
edits = st.lists(
    st.tuples(st.sampled_from([*OF_VALUES, *OF_BYTES]), numbers, numbers), min_size=1, max_size=6
)


def _boxed(content: Any, *, schema: type = Box, lengths: tuple[int, ...] = (), tail: bytes = b"") -> bytes:
    """A frame whose message has this one field, whatever it is."""
    head = pack((int(Kind.TELL), "/to", "/from", 1, 0, 0, 0, schema_of(schema).schema_id, (content,)))
    return lay_out(Parts(lengths, head, tail))


def test_the_corpus_is_good() -> None:
    for data in CORPUS:
        assert outcome(data) == "accepted"


def test_laying_out_anew_changes_nothing_that_counts() -> None:
    """Otherwise the edits of heads and values would test a checksum, or nothing."""
    for data in CORPUS:
        parts = take_apart(data)
        assert parts is not None
        again = read(lay_out(parts._replace(head=pack(unpack(parts.head)))))
        assert repr(again) == repr(read(lay_out(parts)))


def test_every_edit_reaches_what_it_is_for() -> None:
    """Edits behind a good checksum must come further than to the checksum."""
    for edit in (*OF_VALUES, *OF_BYTES[-4:]):
        ends = {outcome(edit(data, 31 * a, b)) for data in CORPUS for a in range(9) for b in range(9)}
        assert not ends & {"the frame's checksum", "the frame says", "the frame ends"}, edit
        assert len(ends) > 3, edit


@given(st.sampled_from(CORPUS), edits)
def test_damaged_frames_are_refused_or_are_messages(
    data: bytes, story: Sequence[tuple[Edit, int, int]]
) -> None:
    for edit, a, b in story:
        data = edit(data, a, b)
    begun_s = time.thread_time()
    outcome(data)
    assert time.thread_time() - begun_s < FRAME_S_MAX


@given(st.sampled_from(CORPUS), edits)
def test_damaged_frames_take_little_memory(data: bytes, story: Sequence[tuple[Edit, int, int]]) -> None:
    for edit, a, b in story:
        data = edit(data, a, b)
    assert _peak(data) <= PEAK_PER_BYTE * len(data) + PEAK_BYTES


def _peak(data: bytes) -> int:
    outcome(data)  # once without: what a first call imports or caches is not the frame's
    tracemalloc.start()
    try:
        outcome(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("strange", range(len(STRANGE)))
def test_strange_values_are_refused_or_harmless(strange: int) -> None:
    """Each alone, in a field, in an array, in a map, and in the place of each entry of a head."""
    value = STRANGE[strange]
    for content in (value, (value,), {"k": value}, Ext(EXT_REF, value), Ext(EXT_ARRAY, value)):
        for schema in (Box, Arrays):
            outcome(_boxed(content, schema=schema))
            outcome(_boxed(content, schema=schema, lengths=(48,), tail=bytes(range(1, 49))))
        outcome(_boxed(Ext(EXT_MESSAGE, content)))
    good = (int(Kind.TELL), "/to", "/from", 1, 0, 0, 0, schema_of(Box).schema_id, (1,))
    for at in range(len(good)):
        outcome(lay_out(Parts((), pack((*good[:at], value, *good[at + 1 :])), b"")))


@pytest.mark.parametrize(
    "dense",
    [
        (({},) * 4000,) * 15,
        (((),) * 4000,) * 15,
        ((Ext(EXT_REF, ("", 0)),) * 2000,) * 2,
        ((Ext(EXT_ARRAY, (0, "|b1", (0,), "C")),) * 1300,) * 2,
        tuple({f"{number:x}": None for number in range(1, 2000)} for _ in range(4)),
    ],
    ids=["maps", "arrays", "refs", "buffers", "keys"],
)
def test_what_is_dense_on_the_wire_is_bounded_in_memory(dense: Any, request: pytest.FixtureRequest) -> None:
    data = _boxed(dense, lengths=(0,) if "buffer" in request.node.name else ())
    assert len(data) > 20_000
    if len(data) < HEAD_BYTES_MAX:
        assert outcome(data) == "accepted"
    assert _peak(data) <= PEAK_PER_BYTE * len(data) + PEAK_BYTES


def test_nested_extensions_have_a_depth() -> None:
    value: Any = 1
    ends = []
    for _ in range(40):
        value = Ext(EXT_MESSAGE, (schema_of(Box).schema_id, (value,)))
        ends.append(outcome(_boxed(value)))
    deepest = ends.index("messages are nested")
    assert ends == ["accepted"] * deepest + ["messages are nested"] * (40 - deepest)
    assert deepest == 32


def test_every_limit_of_a_container_holds_to_the_entry() -> None:
    assert outcome(_boxed((None,) * ENTRIES_MAX)) == "accepted"
    assert outcome(_boxed((None,) * (ENTRIES_MAX + 1))) != "accepted"
    assert outcome(_boxed({str(number): None for number in range(ENTRIES_MAX)})) == "accepted"
    assert outcome(_boxed({str(number): None for number in range(ENTRIES_MAX + 1)})) != "accepted"


def test_a_head_one_byte_too_large_is_refused() -> None:
    overhead = (
        len(_boxed("")) - HEADER.size + 2
    )  # a long text has three bytes before it, an empty one has one
    room = HEAD_BYTES_MAX - overhead
    assert outcome(_boxed("x" * room)) == "accepted"
    assert outcome(_boxed("x" * (room + 1))) == "head of"


@pytest.mark.parametrize(
    "raw",
    [
        b"\xa3\xed\xb3\xbf",  # half of a surrogate pair
        b"\xa2\xff\xfe",
        b"\x81\xc0\x01",  # None as a key
        b"\x81\x01\x01",  # a number as a key
        b"\x81\xcb\x7f\xf8\0\0\0\0\0\0\x01",  # NaN as a key: it would never be found again
        b"\x81\xd6\x03\x92\xa0\x00\xc0\x01",  # an extension as a key
        b"\xc1",  # a byte that means nothing
        b"\xd4\x00\x00",  # extensions that nobody knows
        b"\xd4\x7f\x00",
        b"\xd4\xfe\x00",
        b"\xd4\xff\x00",  # a timestamp of the wrong length
        b"\xd7\xff" + b"\xff" * 8,  # one with too many nanoseconds
        b"\x01\x01",  # two values in the place of one
        b"",
    ],
)
def test_malformed_values_are_refused(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(_boxed(Raw(raw)))


def test_values_behind_the_head_are_refused() -> None:
    for surplus in (b"\0", b"\xc0", msgpack.packb("more")):
        with pytest.raises(ProtocolError):
            read(lay_out(Parts((), unpack_head() + surplus, b"")))


def unpack_head() -> bytes:
    parts = take_apart(CORPUS[0])
    assert parts is not None
    return parts.head


def test_numbers_of_64_bits_arrive_and_nothing_is_larger() -> None:
    for number in (2**64 - 1, -(2**63)):
        assert read(_boxed(number)).body.content == number
    for text in (struct.pack(">d", float("nan")), struct.pack(">d", float("-inf"))):
        assert isinstance(read(_boxed(Raw(b"\xcb" + text))).body.content, float)


def test_a_key_that_comes_twice_counts_once() -> None:
    assert read(_boxed(Raw(b"\x82\xa1a\x01\xa1a\x02"))).body.content == {"a": 2}
