"""Messages to frames and back; and nothing but `ProtocolError` for whatever else arrives."""

from __future__ import annotations

import itertools
import struct
import tracemalloc
import zlib
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from actors import (
    ActorRef,
    MessageError,
    MutablePayload,
    ProtocolError,
    UnregisteredMessage,
    freeze,
    message,
    wire,
)
from actors.messages import schema_of
from actors.starting import PATH_CHARS_MAX
from actors.wire import (
    BODY_BYTES_MAX,
    DTYPES,
    EXT_ARRAY,
    EXT_MESSAGE,
    EXT_REF,
    HEAD_BYTES_MAX,
    HEADER,
    Codec,
    Envelope,
    Frame,
    Kind,
    frame_from_bytes,
    frame_to_bytes,
)

CODEC = Codec()


@message("wire.box")
class Box:
    """Anything at all."""

    content: Any


@message("wire.pair")
class Pair:
    left: np.ndarray
    right: np.ndarray


@message("wire.plain")
class Plain:
    number: int
    text: str


def _encode(body: Any) -> Frame:
    return CODEC.encode(Kind.ASK, "/to", "/from", 7, 6, 5, 4000, body)


def _there_and_back(body: Any) -> Any:
    """Through bytes, as to another process."""
    return CODEC.decode(frame_from_bytes(frame_to_bytes(_encode(body)))).body


def _head(values: object, *, schema: type = Box) -> bytes:
    packed: bytes = msgpack.packb((0, "/to", "/from", 1, 0, 0, 0, schema_of(schema).schema_id, values))
    return packed


def _ext(code: int, value: object) -> msgpack.ExtType:
    return msgpack.ExtType(code, msgpack.packb(value))


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4).map(tuple) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=6,
)
refs: st.SearchStrategy[ActorRef[Any]] = st.builds(ActorRef, st.text(max_size=9), st.integers(0, 2**63))
messages = st.recursive(
    plain | refs | st.builds(Plain, st.integers(-100, 100), st.text(max_size=9)),
    lambda inner: st.builds(Box, inner) | st.tuples(inner, inner),
    max_leaves=3,
)
arrays = hnp.arrays(
    dtype=st.sampled_from(sorted(DTYPES)),
    shape=hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
).map(freeze)


@given(messages)
def test_values_come_back(value: object) -> None:
    assert _there_and_back(Box(value)) == Box(value)


def test_the_head_comes_back() -> None:
    assert CODEC.decode(_encode(Plain(1, "t"))) == Envelope(
        Kind.ASK, "/to", "/from", 7, 6, 5, 4000, Plain(1, "t")
    )


def test_lists_come_back_as_tuples() -> None:
    assert _there_and_back(Box([1, [2]])) == Box((1, (2,)))


@given(arrays, st.booleans())
def test_arrays_come_back_from_bytes(array: np.ndarray, fortran: bool) -> None:  # noqa: FBT001 - a case of the test
    array = freeze(np.asarray(array, order="F" if fortran else "C"))
    back = _there_and_back(Box(array)).content
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    assert back.tobytes() == array.tobytes()
    assert not back.flags.writeable
    if array.size:
        assert back.flags.f_contiguous or not array.flags.f_contiguous


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24.0).reshape(4, 6)[::2, ::3],
        np.arange(24.0).reshape(4, 6)[::-1],
        np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1),
        np.broadcast_to(np.float32(3), (3, 2)),
        np.array(5, dtype=np.int16),
        np.empty((0, 3), dtype=np.float16),
        np.array([True, False]),
        np.array([1 + 2j], dtype=np.complex64),
    ],
    ids=["strided", "negative", "transposed", "broadcast", "0-d", "empty", "bool", "complex"],
)
def test_every_layout_comes_back(array: np.ndarray) -> None:
    assert np.array_equal(_there_and_back(Box(freeze(array))).content, array)


def test_inside_a_process_an_array_travels_by_reference_and_read_only() -> None:
    """Never again: raw pointers in messages; the sender cleared the buffer while the root read it."""
    array = freeze(np.arange(10.0)[::2])
    frame = _encode(Box((array, Box(array))))
    back = CODEC.decode(frame).body.content
    assert back[0] is array
    assert back[1].content is array
    assert frame.nbytes == len(frame.head) + 2 * array.nbytes
    with pytest.raises(ValueError, match="read-only"):
        back[0][0] = 1.0


def test_a_writable_array_is_refused_with_the_remedy() -> None:
    with pytest.raises(MutablePayload, match=r"array float64\[3\] cannot travel: send actors.freeze"):
        _encode(Box(np.zeros(3)))
    _encode(Box(freeze(np.zeros(3))))


def test_freezing_does_not_copy_and_leaves_the_original_as_it_was() -> None:
    array = np.zeros(3)
    assert np.shares_memory(freeze(array), array)
    assert array.flags.writeable


@pytest.mark.parametrize("dtype", ["O", "V8", "U3", "S3", "M8[s]", ">f8", "f4,i4"])
def test_arrays_of_other_things_than_numbers_are_refused(dtype: str) -> None:
    with pytest.raises(MessageError, match="only plain numbers can"):
        _encode(Box(freeze(np.zeros(2, dtype=dtype))))


def test_numpy_scalars_become_numbers() -> None:
    back = _there_and_back(Box((np.float32(0.5), np.int64(3), np.bool_(True)))).content
    assert back == (0.5, 3, True)
    assert [type(value) for value in back] == [float, int, bool]


@pytest.mark.parametrize(
    "content",
    [{1, 2}, object(), 1j, 2**64, "\udcff", lambda: None, np.longdouble(1)],
    ids=["set", "object", "complex", "huge", "surrogate", "function", "longdouble"],
)
def test_what_cannot_travel_is_a_message_error_and_the_codec_goes_on(content: object) -> None:
    with pytest.raises(MessageError):
        _encode(Box(content))
    with pytest.raises(MessageError):
        _encode(Box((1, "before", content)))
    assert CODEC.decode(_encode(Plain(1, "after"))).body == Plain(1, "after")


def test_only_messages_travel() -> None:
    with pytest.raises(UnregisteredMessage):
        _encode("text")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (Plain("1", "t"), "wire.plain.number cannot be a str"),  # type: ignore[arg-type] # the point of the test
        (Plain(1, None), "wire.plain.text cannot be a NoneType"),  # type: ignore[arg-type] # as above
        (Plain(1, ("t",)), "wire.plain.text cannot be a tuple"),  # type: ignore[arg-type] # as above
        (Box(Plain(1, 2)), "wire.plain.text cannot be a int"),  # type: ignore[arg-type] # as above
        (Pair(freeze(np.zeros(1)), (1.0,)), "wire.pair.right cannot be a tuple"),  # type: ignore[arg-type] # as above
        (Box({1: "one"}), "the keys of a dict are str or bytes"),
        (Box([1] * 5000), "5000 exceeds max_array_len"),
    ],
    ids=["int", "none", "tuple", "nested", "array", "keys", "entries"],
)
def test_what_a_receiver_would_refuse_is_refused_where_it_is_sent(body: object, text: str) -> None:
    for _ in range(2):
        with pytest.raises(MessageError, match=text):
            CODEC.pack(body)


def test_a_message_that_is_nested_too_deeply_is_refused_where_it_is_sent() -> None:
    nested: Any = 1
    for _ in range(40):
        nested = Box(nested)
    with pytest.raises(MessageError, match="nested deeper than 32"):
        CODEC.pack(nested)
    assert CODEC.pack(Box(Box(1)))[3] == Box(Box(1))


class Tagged(np.ndarray):
    """An array with a meaning that a plain one does not have."""


@pytest.mark.parametrize(
    "array",
    [
        np.ma.masked_array([1.0, 2.0], mask=[True, False]),
        np.zeros(3).view(Tagged),
        np.zeros(3).view(np.recarray),
    ],
    ids=["masked", "own", "records"],
)
def test_an_array_of_a_class_of_its_own_is_refused(array: np.ndarray) -> None:
    """A mask, or another meaning, would be lost on the way."""
    array.flags.writeable = False
    for body in (Box(array), Box((1, array)), Pair(freeze(np.zeros(1)), array)):
        with pytest.raises(MessageError, match="cannot travel: send numpy"):
            CODEC.pack(body)


@pytest.mark.parametrize("seconds", [1, 2**33, -1])
def test_a_timestamp_is_refused_where_it_is_sent_and_where_it_arrives(seconds: int) -> None:
    """The library reads these without asking: in each of their three lengths."""
    stamp = msgpack.Timestamp(seconds, 0 if seconds > 0 else 1)
    nested = msgpack.ExtType(EXT_MESSAGE, msgpack.packb((schema_of(Box).schema_id, (stamp,))))
    for content in (stamp, (1, stamp), {"a": {"b": (stamp,)}}):
        with pytest.raises(MessageError, match="unknown extension -1"):
            CODEC.pack(Box(content))
    for content in (stamp, (1, stamp), {"a": {"b": (stamp,)}}, nested):
        with pytest.raises(ProtocolError, match="unknown extension -1"):
            CODEC.decode(Frame(_head((content,))))


@pytest.mark.parametrize("mark", [b"\xd6\xff", b"\xd7\xff", b"\xc7\x0c\xff"])
def test_what_only_looks_like_a_timestamp_comes_back(mark: bytes) -> None:
    content = (mark, {"a": mark + bytes(12)}, mark.hex())
    assert _there_and_back(Box(content)) == Box(content)


leaves = st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text() | st.binary() | refs


@given(leaves)
def test_a_message_of_leaves_is_handed_over_as_it_is(leaf: object) -> None:
    body = Box(leaf)
    schema, fields, buffers, handed = CODEC.pack(body)
    assert handed is body
    assert buffers == ()
    assert (schema, fields) == (schema_of(Box), msgpack.packb((leaf,), default=CODEC._extend))


@pytest.mark.parametrize("content", [[1, [2]], (1, [2]), {"a": [1]}, Plain(1, "t"), np.int64(3)])
def test_anything_else_is_handed_over_as_a_copy_of_its_own(content: object) -> None:
    body = Box(content)
    first, second = CODEC.pack(body)[3], CODEC.pack(body)[3]
    assert first == second == _there_and_back(body)
    assert len({id(body), id(first), id(second)}) == 3
    if isinstance(content, dict | Plain):
        assert len({id(content), id(first.content), id(second.content)}) == 3


class Text(str):  # noqa: SLOT000 - what else it carries is the point of the test
    """May carry more than its characters."""


def test_a_subclass_of_a_leaf_is_no_leaf() -> None:
    content = Text("text")
    content.more = [1]  # type: ignore[attr-defined] # something that could be changed
    received = CODEC.pack(Box(content))[3].content
    assert type(received) is str
    assert received == "text"


def test_endless_nesting_is_a_message_error() -> None:
    endless: list[object] = []
    endless.append(endless)
    knot: list[object] = []
    knot.append(Box(knot))
    for content in (endless, knot):
        with pytest.raises(MessageError):
            _encode(Box(content))


def test_a_head_that_is_too_large_names_the_remedy() -> None:
    for content in ("x" * BODY_BYTES_MAX, ("x" * BODY_BYTES_MAX,), {"x": b"x" * BODY_BYTES_MAX}):
        with pytest.raises(
            MessageError, match=rf"wire.box .*takes \d+ bytes of {BODY_BYTES_MAX}: put bulk data in arrays"
        ):
            _encode(Box(content))
    _encode(Box("x" * (BODY_BYTES_MAX - 100)))
    _encode(Box(freeze(np.zeros(HEAD_BYTES_MAX))))


def test_the_largest_body_fits_into_a_head_with_the_longest_addresses() -> None:
    body, path = Box("x" * (BODY_BYTES_MAX - 4)), "/" + "\U0001f600" * (PATH_CHARS_MAX - 1)
    assert len(CODEC.pack(body)[1]) == BODY_BYTES_MAX
    frame = CODEC.encode(Kind.ASK, path, path, 2**62, 2**62, 2**62, 2**62, body)
    assert CODEC.decode(frame_from_bytes(frame_to_bytes(frame))).body == body
    with pytest.raises(MessageError, match=r"wire\.box has addresses that are too long"):
        CODEC.encode(Kind.ASK, path * 3, path, 1, 1, 1, 1, body)


def test_the_codec_keeps_no_array_alive() -> None:
    codec = Codec()
    codec.encode(Kind.TELL, "/to", "/from", 1, 0, 0, 0, Box(freeze(np.zeros(4))))
    assert codec._buffers == []


def test_buffers_are_aligned_and_not_copied_when_read() -> None:
    frame = _encode(Pair(freeze(np.arange(5, dtype=np.int8)), freeze(np.arange(3.0))))
    data = frame_to_bytes(frame)
    back = frame_from_bytes(data)
    begin = np.frombuffer(data, dtype=np.uint8).ctypes.data
    addresses = [np.frombuffer(buffer, dtype=np.uint8).ctypes.data - begin for buffer in back.buffers]
    assert all(address % 64 == 0 for address in addresses)
    assert [len(buffer) for buffer in back.buffers] == [5, 24]
    assert CODEC.decode(back).body.left.base is not None


# Hostile input: whatever arrives, there is nothing but ProtocolError


def test_a_buffer_that_no_receiver_would_take_is_not_laid_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "BUFFER_BYTES_MAX", 100)
    assert frame_to_bytes(Frame(b"", (np.zeros(100, np.uint8),)))
    with pytest.raises(MessageError, match="more than 100 bytes"):
        frame_to_bytes(Frame(b"", (np.zeros(101, np.uint8),)))


DATA = frame_to_bytes(_encode(Pair(freeze(np.arange(3.0)), freeze(np.arange(4, dtype=np.uint8)))))


def _read(data: bytes) -> Envelope:
    return CODEC.decode(frame_from_bytes(data))


def test_the_sample_is_good() -> None:
    assert np.array_equal(_read(DATA).body.left, [0, 1, 2])


def test_a_frame_that_is_cut_off_anywhere_is_refused() -> None:
    for length in range(len(DATA)):
        with pytest.raises(ProtocolError):
            _read(DATA[:length])


def test_a_frame_with_something_behind_it_is_refused() -> None:
    for surplus in (b"\0", DATA):
        with pytest.raises(ProtocolError):
            _read(DATA + surplus)


def test_what_was_read_can_be_passed_on() -> None:
    assert frame_to_bytes(frame_from_bytes(DATA)) == DATA


def test_something_behind_the_last_buffer_is_refused() -> None:
    parts = list(HEADER.unpack_from(DATA))
    parts[-1] += 64
    with pytest.raises(ProtocolError, match="64 bytes stand behind the last buffer"):
        frame_from_bytes(HEADER.pack(*parts) + DATA[HEADER.size :] + bytes(64))


def test_any_flipped_bit_before_the_buffers_is_found() -> None:
    buffers_at = HEADER.size + 16 + HEADER.unpack_from(DATA)[4]
    for byte, bit in itertools.product(range(buffers_at), range(8)):
        damaged = bytearray(DATA)
        damaged[byte] ^= 1 << bit
        with pytest.raises(ProtocolError):
            _read(bytes(damaged))


def test_any_flipped_bit_of_the_head_alone_is_nothing_worse_than_refused() -> None:
    """As above behind a checksum that matches: what the checks themselves let through is a message."""
    head = _encode(Plain(1, "some text")).head
    for byte, bit in itertools.product(range(len(head)), range(8)):
        damaged = bytearray(head)
        damaged[byte] ^= 1 << bit
        _decode_or_refuse(bytes(damaged))


def _decode_or_refuse(head: bytes, buffers: tuple[Any, ...] = ()) -> None:
    try:
        envelope = CODEC.decode(Frame(head, buffers))
    except ProtocolError:
        return
    assert envelope.kind in set(Kind)
    assert isinstance(envelope.to, str)
    assert isinstance(envelope.sender, str)
    schema_of(type(envelope.body))


@given(st.binary(max_size=300))
def test_noise_is_refused(noise: bytes) -> None:
    _decode_or_refuse(noise, (memoryview(noise),))
    with pytest.raises(ProtocolError):
        frame_from_bytes(noise)


@given(plain, st.lists(st.binary(max_size=16), max_size=3))
def test_any_value_as_a_head_is_refused_or_a_message(value: object, buffers: list[bytes]) -> None:
    views = tuple(memoryview(buffer) for buffer in buffers)
    _decode_or_refuse(msgpack.packb(value), views)
    _decode_or_refuse(_head((value,)), views)
    for code in (EXT_ARRAY, EXT_MESSAGE, EXT_REF):
        _decode_or_refuse(_head((_ext(code, value),)), views)


@pytest.mark.parametrize(
    "head",
    [
        (0, "/to", "/from", 1, 0, 0, 0),
        (0, "/to", "/from", 1, 0, 0, 0, schema_of(Box).schema_id, "fields"),
        (9, "/to", "/from", 1, 0, 0, 0, schema_of(Box).schema_id, (1,)),
        (True, "/to", "/from", 1, 0, 0, 0, schema_of(Box).schema_id, (1,)),
        (0, 5, "/from", 1, 0, 0, 0, schema_of(Box).schema_id, (1,)),
        (0, "/to", None, 1, 0, 0, 0, schema_of(Box).schema_id, (1,)),
        (0, "/to", "/from", "1", 0, 0, 0, schema_of(Box).schema_id, (1,)),
        (0, "/to", "/from", 1, 0, 0, 0.5, schema_of(Box).schema_id, (1,)),
        (0, "/to", "/from", 1, 0, 0, 0, 0, (1,)),
        {"kind": 0},
        7,
    ],
)
def test_a_head_of_another_form_is_refused(head: object) -> None:
    with pytest.raises(ProtocolError):
        CODEC.decode(Frame(msgpack.packb(head)))


@pytest.mark.parametrize(
    "descriptor",
    [
        (0, "<f8", (3,)),
        (0, "|O", (3,), "C"),
        (0, "|V8", (3,), "C"),
        (0, ">f8", (3,), "C"),
        (0, "f8; import os", (3,), "C"),
        (0, "<f8", (4,), "C"),
        (0, "<f8", (-3,), "C"),
        (0, "<f8", (-1, -3), "C"),
        (0, "<f8", (True, 3), "C"),
        (0, "<f8", (3.0,), "C"),
        (0, "<f8", (2**62, 2**62), "C"),
        (0, "<f8", (0, 2**63), "C"),
        (0, "<f8", (1,) * 33, "C"),
        (0, "<f8", (3,), "A"),
        (1, "<f8", (3,), "C"),
        (-1, "<f8", (3,), "C"),
        "text",
    ],
)
def test_an_impossible_array_is_refused(descriptor: object) -> None:
    good = _head((_ext(EXT_ARRAY, (0, "<f8", (3,), "C")),))
    buffers = (memoryview(bytes(24)),)
    assert CODEC.decode(Frame(good, buffers)).body.content.shape == (3,)
    with pytest.raises(ProtocolError):
        CODEC.decode(Frame(_head((_ext(EXT_ARRAY, descriptor),)), buffers))


def test_an_array_must_be_the_buffer_that_it_names() -> None:
    frame = _encode(Box(freeze(np.zeros(3))))
    with pytest.raises(ProtocolError, match="buffer 0 is float64"):
        CODEC.decode(Frame(frame.head, (freeze(np.zeros(4)),)))


@pytest.mark.parametrize("bad", [("/a",), ("/a", "1"), (1, 1), "text"])
def test_an_impossible_ref_is_refused(bad: object) -> None:
    with pytest.raises(ProtocolError, match="a ref is"):
        CODEC.decode(Frame(_head((_ext(EXT_REF, bad),))))


@pytest.mark.parametrize("bad", [(1,), (1, (), 2), (0, ()), (schema_of(Box).schema_id, "text"), "text"])
def test_an_impossible_nested_message_is_refused(bad: object) -> None:
    with pytest.raises(ProtocolError):
        CODEC.decode(Frame(_head((_ext(EXT_MESSAGE, bad),))))


def test_unknown_extensions_are_refused() -> None:
    for code in (0, 4, 99, 127):
        with pytest.raises(ProtocolError, match=f"unknown extension {code}"):
            CODEC.decode(Frame(_head((msgpack.ExtType(code, b""),))))


def test_depth_bombs_are_refused() -> None:
    nested: Any = 1
    for _ in range(40):
        nested = _ext(EXT_MESSAGE, (schema_of(Box).schema_id, (nested,)))
    with pytest.raises(ProtocolError, match="nested deeper than 32"):
        CODEC.decode(Frame(_head((nested,))))
    with pytest.raises(ProtocolError):
        CODEC.decode(Frame(b"\x91" * 60_000 + b"\x01"))


@pytest.mark.parametrize(
    "bomb",
    [
        b"\xdd\xff\xff\xff\xff",  # an array of 4 G entries
        b"\xdf\xff\xff\xff\xff",  # a map
        b"\xdb\xff\xff\xff\xff",  # a string
        b"\xc6\xff\xff\xff\xff",  # bytes
        b"\xc9\xff\xff\xff\xff\x01",  # an extension
        b"\xdc\x10\x01" + b"\x01" * 4097,  # an array of 4097 entries, all there
    ],
)
def test_absurd_counts_are_refused_before_memory_is_taken(bomb: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            CODEC.decode(Frame(bomb))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("count", "head_length", "lengths"),
    [
        (0xFFFF, 0, ()),
        (0, 0xFFFFFFFF, ()),
        (1, 0, (2**63,)),
        (1, 0, (2**64 - 1,)),
        (2, 0, (1, 2**40)),
    ],
)
def test_claimed_lengths_take_no_memory(count: int, head_length: int, lengths: tuple[int, ...]) -> None:
    table = struct.pack(f"<{len(lengths)}Q", *lengths)
    body = table + bytes(100)
    crc = zlib.crc32(table)
    data = HEADER.pack(b"ACTR", 1, 0, count, head_length, crc, HEADER.size + len(body)) + body
    tracemalloc.start()
    try:
        with pytest.raises(ProtocolError):
            frame_from_bytes(data)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
