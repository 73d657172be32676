"""The layout of a frame, byte by byte, and every limit from both sides: what other programs rely on."""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np
import pytest

from actors import ActorRef, MessageError, MutablePayload, ProtocolError, freeze, message
from actors.wire import Codec, Frame, Kind, frame_from_bytes, frame_to_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KIB = 1024
GIB = 1 << 30


@message("wire_format.box")
class Box:
    content: Any = None
    second: Any = None


BOX_ID = zlib.crc32(b"wire_format.box")


def _ext(code: int, value: object) -> msgpack.ExtType:
    return msgpack.ExtType(code, msgpack.packb(value))


def _head(content: object) -> bytes:
    packed: bytes = msgpack.packb([0, "/to", "/from", 1, 0, 0, 0, BOX_ID, [content]])
    return packed


def _laid_out(head: bytes, lengths: list[int], tail: bytes = b"") -> bytes:
    """A frame, all little-endian: magic, version, flags, buffers, head's length, checksum, total."""
    table = struct.pack(f"<{len(lengths)}Q", *lengths)
    total = 24 + len(table) + len(head) + len(tail)
    crc = zlib.crc32(table + head)
    return struct.pack("<4sBBHIIQ", b"ACTR", 1, 0, len(lengths), len(head), crc, total) + table + head + tail


def test_a_frame_is_laid_out_as_documented() -> None:
    first, second = np.array([1, -2, 3], dtype="<i2"), np.asfortranarray(np.arange(6.0).reshape(2, 3))
    content: Any = (freeze(first), ActorRef("/a", 9), Box("in", freeze(second)))
    frame = Codec().encode(Kind.ASK, "/to", "/from", 7, 6, 5, 4000, Box(content, {"k": None}))
    nested = _ext(2, [BOX_ID, ["in", _ext(1, [1, "<f8", [2, 3], "F"])]])
    fields = [[_ext(1, [0, "<i2", [3], "C"]), _ext(3, ["/a", 9]), nested], {"k": None}]
    head = msgpack.packb([1, "/to", "/from", 7, 6, 5, 4000, BOX_ID, fields])
    assert frame.head == head
    before = 24 + 16 + len(head)
    to_64 = bytes(-before % 64)
    tail = to_64 + first.tobytes() + bytes(64 - 6) + second.tobytes(order="A")
    data = _laid_out(head, [6, 48], tail)
    assert frame_to_bytes(frame) == data
    back = Codec().decode(frame_from_bytes(data))
    assert back[:7] == (1, "/to", "/from", 7, 6, 5, 4000)
    assert back.body.content[1:2] == (ActorRef("/a", 9),)
    assert np.array_equal(back.body.content[2].second, second)


def test_the_shortest_frame_has_24_bytes() -> None:
    data = _laid_out(b"", [])
    assert len(data) == 24
    frame = frame_from_bytes(data)
    assert (frame.head, frame.buffers) == (b"", ())
    with pytest.raises(ProtocolError, match="at least 24 bytes, got 23"):
        frame_from_bytes(data[:23])


def test_the_kinds_have_numbers() -> None:
    assert [(kind.name, kind.value) for kind in Kind] == [
        ("TELL", 0),
        ("ASK", 1),
        ("REPLY", 2),
        ("FAILURE", 3),
    ]


@pytest.mark.parametrize("number", [0, 2**63 - 1])
def test_the_numbers_of_a_head_may_be_at_the_ends_of_their_range(number: int) -> None:
    for at in range(3, 7):
        head: list[Any] = [0, "/to", "/from", 1, 0, 0, 0, BOX_ID, [None]]
        head[at] = number
        assert Codec().decode(Frame(msgpack.packb(head)))[at] == number
        head[at] = 2**63
        with pytest.raises(ProtocolError, match="counts from 0 in whole numbers"):
            Codec().decode(Frame(msgpack.packb(head)))
    with pytest.raises(ProtocolError, match="its kind is known"):
        Codec().decode(Frame(msgpack.packb([4, "/to", "/from", 1, 0, 0, 0, BOX_ID, [None]])))


def test_a_body_has_55_kib() -> None:
    room = 55 * KIB - 5  # an array of two, nothing, and a long text's three bytes before it
    assert len(Codec().pack(Box("x" * room))[1]) == 55 * KIB
    for body in (Box("x" * (room + 1)), Box(("x" * (room + 1),))):
        with pytest.raises(MessageError, match=r"takes 5632[12] bytes of 56320"):
            Codec().pack(body)


def test_a_head_has_64_kib_in_a_frame() -> None:
    room = 64 * KIB - len(_head("")) - 2
    assert frame_from_bytes(_laid_out(_head("x" * room), [])).head == _head("x" * room)
    with pytest.raises(ProtocolError, match="head of 65537 bytes with 0 buffers is too large"):
        frame_from_bytes(_laid_out(_head("x" * (room + 1)), []))


def test_a_head_has_64_kib_where_it_is_made() -> None:
    body = Box("x" * (55 * KIB - 5))

    def encoded(to: str) -> Frame:
        return Codec().encode(Kind.TELL, to, "/from", 1, 0, 0, 0, body)

    room = 1000 + 64 * KIB - len(encoded("x" * 1000).head)
    assert len(encoded("x" * room).head) == 64 * KIB
    with pytest.raises(MessageError, match="has addresses that are too long"):
        encoded("x" * (room + 1))


@pytest.mark.parametrize(
    "make", [lambda size: "x" * size, bytes, lambda size: msgpack.ExtType(3, bytes(size))]
)
def test_no_text_no_bytes_and_no_extension_of_a_head_is_longer_than_a_head(
    make: Callable[[int], Any],
) -> None:
    """Whatever carried the frame: one that is handed over in memory is held to the same."""
    with pytest.raises(ProtocolError, match=r"6553[78] exceeds max_\w+_len\(65536\)"):
        Codec().decode(Frame(_head(make(64 * KIB + 1))))
    if not isinstance(make(1), msgpack.ExtType):
        assert Codec().decode(Frame(_head(make(64 * KIB)))).body.content == make(64 * KIB)


def test_a_container_has_4096_entries() -> None:
    codec = Codec()
    for good in ((None,) * 4096, {f"{number}": None for number in range(4096)}):
        assert codec.decode(codec.encode(Kind.TELL, "/a", "/b", 1, 0, 0, 0, Box(good))).body == Box(good)
    for bad in ((None,) * 4097, {f"{number}": None for number in range(4097)}):
        with pytest.raises(MessageError, match="4097 exceeds max"):
            codec.pack(Box(bad))
        with pytest.raises(ProtocolError, match="4097 exceeds max"):
            codec.decode(Frame(_head(bad)))


def test_a_frame_has_4096_buffers() -> None:
    head = _head(None)
    assert len(
        frame_from_bytes(_laid_out(head, [0] * 4096, bytes(-(24 + 8 * 4096 + len(head)) % 64))).buffers
    )
    with pytest.raises(ProtocolError, match="with 4097 buffers is too large"):
        frame_from_bytes(_laid_out(head, [0] * 4097, bytes(64)))


@pytest.mark.parametrize(
    "around", [lambda inner: (inner,), lambda inner: {"k": inner}], ids=["tuple", "dict"]
)
def test_containers_are_31_deep_where_they_are_sent_and_where_they_arrive(
    around: Callable[[Any], Any],
) -> None:
    """The head and the fields are the two that are missing from 33."""
    content: Any = 1
    for _ in range(31):
        content = around(content)
    frame = Codec().encode(Kind.TELL, "/a", "/b", 1, 0, 0, 0, Box(content))
    assert Codec().decode(frame_from_bytes(frame_to_bytes(frame))).body == Box(content)
    with pytest.raises(MessageError, match="containers are nested deeper than 32"):
        Codec().pack(Box(around(content)))
    with pytest.raises(ProtocolError, match="containers are nested deeper than 32"):
        Codec().decode(Frame(_head(around(content))))


def test_messages_are_32_deep_where_they_are_sent_and_where_they_arrive() -> None:
    content: Any = 1
    for _ in range(32):
        content = Box(content)
    assert Codec().pack(Box(content))[3] == Box(content)
    assert Codec().decode(Codec().encode(Kind.TELL, "/a", "/b", 1, 0, 0, 0, Box(content))).body == Box(
        content
    )
    with pytest.raises(MessageError, match="messages are nested deeper than 32"):
        Codec().pack(Box(Box(content)))


def test_messages_beside_one_another_are_not_nested_and_make_no_room_for_those_that_are() -> None:
    beside = tuple(Box(number) for number in range(100))
    assert Codec().pack(Box(beside))[3] == Box(beside)
    content: Any = 1
    for _ in range(33):
        content = Box(content)
    for body in (Box(beside, content), Box(content, beside)):
        with pytest.raises(MessageError, match="messages are nested deeper than 32"):
            Codec().pack(body)


def test_an_array_has_32_dimensions() -> None:
    def described(dimensions: int) -> Frame:
        return Frame(_head(_ext(1, [0, "|u1", [1] * dimensions, "C"])), (b"\7",))

    assert Codec().decode(described(32)).body.content.shape == (1,) * 32
    with pytest.raises(ProtocolError, match="impossible array shape"):
        Codec().decode(described(33))


@pytest.mark.parametrize("shape", [[-1, -3], [True, 3], [3.0], [0, -1]])
def test_a_shape_is_of_whole_numbers_from_0(shape: list[Any]) -> None:
    with pytest.raises(ProtocolError, match="impossible array shape"):
        Codec().decode(Frame(_head(_ext(1, [0, "<f8", shape, "C"])), (bytes(24),)))


@pytest.mark.parametrize("shape", [[2], [4], [0], [2**62, 2**62], [0, 2**63], []])
def test_a_shape_needs_the_bytes_of_its_buffer(shape: list[int]) -> None:
    with pytest.raises(ProtocolError, match=r"buffer 0 has 24 bytes, but <f8.* needs another number"):
        Codec().decode(Frame(_head(_ext(1, [0, "<f8", shape, "C"])), (bytes(24),)))


@pytest.mark.parametrize("uid", [-1, True, 1.0])
def test_the_number_of_a_ref_is_a_whole_one_from_0(uid: Any) -> None:
    assert Codec().decode(Frame(_head(_ext(3, ["/a", 0])))).body == Box(ActorRef("/a", 0))
    with pytest.raises(ProtocolError, match="a ref is a path and a number"):
        Codec().decode(Frame(_head(_ext(3, ["/a", uid]))))


@pytest.mark.parametrize("surplus", [0, 1])
def test_a_buffer_has_4_gib(surplus: int, tmp_path: Path) -> None:
    """In a file with a hole in it: nothing of the buffer is read."""
    head, path = _head(_ext(1, [0, "|u1", [4 * GIB + surplus], "C"])), tmp_path / "frame"
    begin = _laid_out(head, [4 * GIB + surplus])
    total = len(begin) + -len(begin) % 64 + 4 * GIB + surplus
    with path.open("w+b") as file:
        file.write(begin[:16] + struct.pack("<Q", total) + begin[24:])
        file.truncate(total)
        file.flush()
        with mmap.mmap(file.fileno(), total, access=mmap.ACCESS_READ) as mapped:
            if surplus:
                with pytest.raises(ProtocolError, match="a buffer of 4294967297 bytes does not fit"):
                    frame_from_bytes(memoryview(mapped))
            else:
                frame = frame_from_bytes(memoryview(mapped))
                assert [len(buffer) for buffer in frame.buffers] == [4 * GIB]
                for buffer in frame.buffers:
                    buffer.release()


def test_the_size_of_a_frame_is_that_of_head_and_buffers() -> None:
    array = freeze(np.arange(6.0).reshape(2, 3)[:, ::2])
    frame = Codec().encode(Kind.TELL, "/a", "/b", 1, 0, 0, 0, Box(array, array))
    assert frame.nbytes == len(frame.head) + 2 * 4 * 8


def test_what_was_read_from_memory_that_can_be_written_to_cannot() -> None:
    frame = Codec().encode(Kind.TELL, "/a", "/b", 1, 0, 0, 0, Box(freeze(np.ones(3))))
    data = memoryview(bytearray(frame_to_bytes(frame)))
    array = Codec().decode(frame_from_bytes(data)).body.content
    assert not array.flags.writeable
    assert all(buffer.readonly for buffer in frame_from_bytes(data).buffers)


def test_memory_of_any_format_is_read_as_bytes() -> None:
    data = frame_to_bytes(Codec().encode(Kind.TELL, "/a", "/b", 1, 0, 0, 0, Box(freeze(np.ones(3)))))
    assert len(data) % 8 == 0
    numbers: Any = memoryview(data).cast("d")
    assert np.array_equal(Codec().decode(frame_from_bytes(numbers)).body.content, np.ones(3))
    buffer = memoryview(struct.pack("<3d", 1, 2, 3)).cast("d")
    frame = Frame(_head(_ext(1, [0, "<f8", [3], "C"])), (buffer,))
    read = Codec().decode(frame_from_bytes(frame_to_bytes(frame))).body
    assert np.array_equal(read.content, [1.0, 2.0, 3.0])


def test_an_array_is_the_buffer_that_it_names_in_type_and_in_shape() -> None:
    frame = Codec().encode(Kind.TELL, "/a", "/b", 1, 0, 0, 0, Box(freeze(np.zeros((2, 3)))))
    for other in (np.zeros((2, 3), dtype="<i8"), np.zeros((3, 2)), np.zeros(6)):
        with pytest.raises(ProtocolError, match=r"buffer 0 is .*, not <f8\(2, 3\)"):
            Codec().decode(Frame(frame.head, (freeze(other),)))


@pytest.mark.parametrize("bad", [object(), np.zeros(2), 2**64], ids=["object", "writable", "huge"])
def test_a_message_that_was_refused_leaves_none_of_its_arrays_in_the_next(bad: object) -> None:
    codec, array = Codec(), freeze(np.arange(3.0))
    with pytest.raises(MessageError):
        codec.pack(Box((array, bad)))
    assert codec._buffers == []
    _, _, buffers, handed = codec.pack(Box(array))
    assert [id(buffer) for buffer in buffers] == [id(array)]
    assert handed.content is array


@pytest.mark.parametrize(
    ("body", "culprit"),
    [
        (Box(object()), "wire_format.box.content"),
        (Box(1, object()), "wire_format.box.second"),
        (Box(Box(1), Box(object())), "wire_format.box.second"),
        (Box(freeze(np.ones(1)), np.ones(1)), "wire_format.box.second"),
        (Box("x" * 30 * KIB, "x" * 30 * KIB), "wire_format.box"),
    ],
)
def test_the_field_that_cannot_be_sent_is_named(body: Box, culprit: str) -> None:
    codec = Codec()
    with pytest.raises(MessageError, match=rf"^{re.escape(culprit)} cannot be sent: "):
        codec.pack(body)
    assert codec._buffers == []


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1])
def test_a_number_of_more_than_64_bits_is_refused_as_one(number: int) -> None:
    for body in (Box(number), Box((1, Box(number)))):
        with pytest.raises(MessageError, match="an integer of more than 64 bits does not travel"):
            Codec().pack(body)
    for end in (2**64 - 1, -(2**63)):
        assert Codec().pack(Box((end,)))[3] == Box((end,))


def test_what_is_unpacked_once_more_is_shared_with_nobody() -> None:
    packed = Codec().pack(Box({"k": (1,)}, freeze(np.ones(2))))
    first, second = Codec().unpack(packed), Codec().unpack(packed)
    assert first.content == second.content == {"k": (1,)}
    assert len({id(body.content) for body in (first, second, packed[3])}) == 3
    assert np.array_equal(first.second, np.ones(2))


def test_a_writable_array_anywhere_is_refused_as_one() -> None:
    with pytest.raises(MutablePayload, match="a writable array float64"):
        Codec().pack(Box((1, Box(np.zeros(1)))))
