"""Hostile frames: a corpus of good ones, edits that damage them at every level, and what must hold of any.

An edit is a function of a frame's bytes and two numbers, so that Hypothesis can shrink it and a loop can
draw it. It takes whatever an edit before it has left. Most edits of the head put the checksum right again:
behind a wrong one nothing else would ever be reached.
"""

from __future__ import annotations

import functools
import math
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import msgpack
import numpy as np

from actors import ActorRef, Down, ProtocolError, freeze, message
from actors.messages import schema_of
from actors.wire import (
    ALIGNMENT,
    DTYPES,
    EXT_ARRAY,
    EXT_MESSAGE,
    EXT_REF,
    HEAD_BYTES_MAX,
    HEADER,
    Codec,
    Envelope,
    Kind,
    frame_from_bytes,
    frame_to_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Callable

Edit: TypeAlias = "Callable[[bytes, int, int], bytes]"

CODEC: Final = Codec()

# What a decoded value is made of. Anything else has slipped in.
SCALARS: Final = frozenset({type(None), bool, int, float, str, bytes})

# Decoding n bytes takes at most this much memory. An empty map is one byte on the wire, and 72 in memory.
PEAK_PER_BYTE: Final = 96
PEAK_BYTES: Final = 64 * 1024


@message("fuzz.box")
class Box:
    content: Any


@message("fuzz.record")
class Record:
    number: int
    text: str
    ratio: float
    flag: bool
    raw: bytes
    ref: ActorRef[Any]
    parts: tuple[Any, ...] = ()
    table: dict[str, Any] | None = None


@message("fuzz.arrays")
class Arrays:
    left: np.ndarray
    right: np.ndarray
    more: tuple[Any, ...] = ()


@message("fuzz.empty")
class Empty:
    pass


@message("fuzz.strict")
class Strict:
    """Refuses some of its values, with an error of its own."""

    number: int

    def __post_init__(self) -> None:
        if 1000 // self.number < 1:
            raise LookupError(f"{self.number} is too large")


def _bytes(body: Any, kind: Kind = Kind.ASK) -> bytes:
    return frame_to_bytes(CODEC.encode(kind, "/root/sphere-1", "/root", 7, 6, 5, 30_000, body))


_REF: Final[ActorRef[Any]] = ActorRef("/root/sphere-3", 17)
_RECORD: Final = Record(
    -5, "naïve ☃", 0.1, flag=True, raw=b"\0\xff", ref=_REF, parts=(1, (2, None)), table={"k": 1}
)
_GRID: Final = freeze(np.arange(6.0).reshape(2, 3))

CORPUS: Final = (
    _bytes(Empty(), Kind.TELL),
    _bytes(Box(None)),
    _bytes(Box((1, 2.5, "x", b"y", {"a": (), b"b": {}}, -(2**63), 2**64 - 1, math.inf))),
    _bytes(_RECORD, Kind.REPLY),
    _bytes(Box((Box(Box(_RECORD)), Strict(5), _REF))),
    _bytes(Strict(5)),
    _bytes(Down(_REF, 3, "stopped", restarting=False), Kind.TELL),
    _bytes(Arrays(_GRID, freeze(np.asfortranarray(_GRID)))),
    _bytes(
        Arrays(
            freeze(np.array(1.5, dtype=np.float32)), freeze(np.zeros((0, 3), dtype=np.int8)), (Box(_GRID),)
        )
    ),
    _bytes(Box(tuple(freeze(np.ones(3, dtype=name)) for name in sorted(DTYPES)))),
)


# What must hold


def read(data: bytes) -> Envelope:
    """Decode a frame from outside.

    Raises:
        ProtocolError: it is refused.
        AssertionError: it was accepted, and something in it should not have been.
    """
    envelope = CODEC.decode(frame_from_bytes(data))
    assert envelope.kind in frozenset(Kind), envelope.kind
    assert type(envelope.to) is type(envelope.sender) is str
    for number in envelope[3:7]:
        assert type(number) is int, number
    schema_of(type(envelope.body))
    check_value(envelope.body)
    return envelope


def check_value(value: Any) -> None:
    """Return if a decoded value is of the known kinds, down to its leaves.

    Raises:
        AssertionError: a part of it is not.
    """
    stack = [value]  # no recursion: a message may be nested deeper than Python's stack
    while stack:
        part = stack.pop()
        kind = type(part)
        if kind in SCALARS:
            continue
        if kind is tuple:
            stack += part
        elif kind is dict:
            assert all(type(key) in {str, bytes} for key in part)
            stack += part.values()
        elif kind is ActorRef:
            assert isinstance(part.path, str)
            assert isinstance(part.uid, int)
        elif kind is np.ndarray:
            assert part.dtype.str in DTYPES, part.dtype
            assert not part.flags.writeable
        else:
            stack += schema_of(kind).values(part)


def outcome(data: bytes) -> str:
    """`accepted`, or the beginning of why it was refused.

    Raises:
        AssertionError: accepted, and not as it should be.
        BaseException: anything else that decoding raised, which nothing should.
    """
    try:
        read(data)
    except ProtocolError as error:
        text = str(error).removeprefix("not MessagePack that we accept: ")
        return " ".join(word for word in text.split(None, 3)[:3] if word[0].isalpha())
    return "accepted"


# Laying frames out


class Parts(NamedTuple):
    """A frame, taken apart."""

    lengths: tuple[int, ...]
    head: bytes
    tail: bytes


def take_apart(data: bytes) -> Parts | None:
    """The parts of a frame; None when its header does not say where they are."""
    if len(data) < HEADER.size:
        return None
    count, head_length = struct.unpack_from("<HI", data, 6)
    head_at = HEADER.size + 8 * count
    tail_at = head_at + head_length
    if tail_at > len(data):
        return None
    return Parts(struct.unpack_from(f"<{count}Q", data, HEADER.size), data[head_at:tail_at], data[tail_at:])


def lay_out(parts: Parts) -> bytes:
    """A frame with a good header and checksum. The tail moves along, so that its alignment stays good."""
    lengths, head, tail = parts
    table = struct.pack(f"<{len(lengths)}Q", *lengths)
    head_end = HEADER.size + len(table) + len(head)
    if lengths:
        tail = bytes(-head_end % ALIGNMENT) + tail.lstrip(b"\0")[: sum(lengths)].ljust(
            _tail_bytes(lengths), b"\1"
        )
    crc = zlib.crc32(head, zlib.crc32(table))
    total = head_end + len(tail)
    return HEADER.pack(b"ACTR", 1, 0, len(lengths), len(head) & 0xFFFFFFFF, crc, total) + table + head + tail


def _tail_bytes(lengths: tuple[int, ...]) -> int:
    """Bytes of the buffers with what stands between them; bounded, whatever the lengths claim."""
    at = 0
    for length in lengths:
        at += -at % ALIGNMENT + length
    return min(at, 4096)


def reseal(data: bytes) -> bytes:
    """The same frame with the checksum and the total that it should have."""
    if len(data) < HEADER.size:
        return data
    magic, version, flags, count, head_length, _, _ = HEADER.unpack_from(data)
    crc = zlib.crc32(memoryview(data)[HEADER.size : HEADER.size + 8 * count + head_length])
    return HEADER.pack(magic, version, flags, count, head_length, crc, len(data)) + data[HEADER.size :]


# Edits of bytes


def flip_bit(data: bytes, a: int, b: int) -> bytes:
    """Anywhere, the checksum left as it was."""
    damaged = bytearray(data)
    if damaged:
        damaged[a % len(damaged)] ^= 1 << (b & 7)
    return bytes(damaged)


def cut(data: bytes, a: int, b: int) -> bytes:
    """Off at the end, or a piece out of the middle."""
    begin = a % (len(data) + 1)
    return data[:begin] if b & 1 else data[:begin] + data[begin + (b >> 1) % 16 :]


def repeat(data: bytes, a: int, b: int) -> bytes:
    """A piece of it."""
    begin = a % (len(data) + 1)
    piece = data[begin : begin + b % 32]
    return data[:begin] + piece + data[begin:]


def splice(data: bytes, a: int, b: int) -> bytes:
    """The beginning of one, the end of another."""
    other = CORPUS[b % len(CORPUS)]
    return data[: a % (len(data) + 1)] + other[(a >> 8) % (len(other) + 1) :]


SIZES: Final = (
    0,
    1,
    7,
    63,
    64,
    255,
    4095,
    4096,
    4097,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**63,
    2**64 - 1,
)


def header_field(data: bytes, a: int, b: int) -> bytes:
    """One field of the header becomes an interesting size; half of the time the checksum is put right."""
    if len(data) < HEADER.size:
        return data
    fields = list(HEADER.unpack_from(data))
    at = a % 6
    limit = (0xFF, 0xFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 2**64 - 1)[at]
    fields[at + 1] = SIZES[b % len(SIZES)] & limit
    changed = HEADER.pack(*fields) + data[HEADER.size :]
    return changed if a & 64 else reseal(changed)


def buffer_length(data: bytes, a: int, b: int) -> bytes:
    """One entry of the table of buffers becomes an interesting size, behind a good checksum."""
    count = int.from_bytes(data[6:8], "little") if len(data) >= HEADER.size else 0
    at = HEADER.size + 8 * (a % count) if count else 0
    if not count or at + 8 > len(data):
        return data
    return reseal(data[:at] + struct.pack("<Q", SIZES[b % len(SIZES)]) + data[at + 8 :])


def head_bit(data: bytes, a: int, b: int) -> bytes:
    """One bit of the head, behind a good checksum."""
    parts = take_apart(data)
    if parts is None or not parts.head:
        return data
    damaged = bytearray(data)
    damaged[HEADER.size + 8 * len(parts.lengths) + a % len(parts.head)] ^= 1 << (b & 7)
    return reseal(bytes(damaged))


# The first bytes of all kinds of MessagePack values, the sizes in them being whatever follows.
MARKS: Final = bytes([0x00, 0x7F, 0x80, 0x8F, 0x90, 0x91, 0x9F, 0xA0, 0xBF, *range(0xC0, 0xE0), 0xFF])


def head_mark(data: bytes, a: int, b: int) -> bytes:
    """One byte of the head becomes the beginning of some other value."""
    parts = take_apart(data)
    if parts is None or not parts.head:
        return data
    damaged = bytearray(data)
    damaged[HEADER.size + 8 * len(parts.lengths) + a % len(parts.head)] = MARKS[b % len(MARKS)]
    return reseal(bytes(damaged))


def head_cut(data: bytes, a: int, b: int) -> bytes:
    """As `cut`, of the head alone."""
    parts = take_apart(data)
    return data if parts is None else lay_out(parts._replace(head=cut(parts.head, a, b)))


def head_repeat(data: bytes, a: int, b: int) -> bytes:
    """As `repeat`, of the head alone."""
    parts = take_apart(data)
    return data if parts is None else lay_out(parts._replace(head=repeat(parts.head, a, b)))


# Edits of values


class Ext(NamedTuple):
    """An extension whose payload is packed too."""

    code: int
    inner: Any


class Raw(NamedTuple):
    """Bytes that stand in the place of a value."""

    data: bytes


def pack(value: Any) -> bytes:
    """MessagePack, with what no packer would write."""
    if type(value) is Raw:
        return value.data
    if type(value) is Ext:
        payload = pack(value.inner)
        return b"\xc9" + struct.pack(">IB", len(payload), value.code & 0xFF) + payload
    if type(value) is tuple:
        return b"\xdc" + struct.pack(">H", len(value) & 0xFFFF) + b"".join(map(pack, value))
    if type(value) is dict:
        pairs = b"".join(pack(key) + pack(part) for key, part in value.items())
        return b"\xde" + struct.pack(">H", len(value) & 0xFFFF) + pairs
    packed: bytes = msgpack.packb(value, unicode_errors="surrogatepass")
    return packed


@functools.lru_cache(maxsize=4096)
def unpack(head: bytes) -> Any:
    """The values in a head; bytes that are none stay `Raw`."""
    try:
        return msgpack.unpackb(
            head,
            use_list=False,
            strict_map_key=False,
            unicode_errors="surrogatepass",
            ext_hook=lambda code, payload: Ext(code, unpack(payload)),
        )
    except (ValueError, TypeError, RecursionError):
        return Raw(head)


def _nested(depth: int, inner: Any) -> Any:
    for _ in range(depth):
        inner = Ext(EXT_MESSAGE, (schema_of(Box).schema_id, (inner,)))
    return inner


_BOX: Final = schema_of(Box).schema_id
STRANGE: Final[tuple[Any, ...]] = (
    None,
    True,
    0,
    -1,
    2**63,
    2**64 - 1,
    -(2**63),
    0.0,
    math.nan,
    "",
    "/root",
    "x" * 5000,
    b"",
    b"\xff" * 300,
    "\udcff",
    (),
    {},
    (0,) * 4096,
    (0,) * 4097,
    ({},) * 3000,
    {str(number): () for number in range(100)},
    {b"k": 1, "k": 2},
    {1: 2},
    {None: None},
    Raw(b"\x82\xa1a\x01\xa1a\x02"),
    Raw(b"\x81\xc0\xc0"),
    Raw(b"\x81\xd4\x03\x01\x01"),
    Raw(b"\xc1"),
    Raw(b"\xdd\xff\xff\xff\xff"),
    Raw(b"\xdf\xff\xff\xff\xff"),
    Raw(b"\xdb\xff\xff\xff\xff"),
    Raw(b"\xc6\xff\xff\xff\xff"),
    Raw(b"\xc9\xff\xff\xff\xff\x01"),
    Raw(b"\x91" * 20 + b"\x01"),
    Raw(b"\xa3\xed\xb3\xbf"),
    Raw(b"\x81\xa1k" * 30 + b"\x01"),
    *(_nested(depth, 1) for depth in (2, 31, 32, 40)),
    Ext(0, 1),
    Ext(99, ()),
    Ext(EXT_REF, ("/a", 1)),
    Ext(EXT_REF, ("/a", 2**64 - 1)),
    Ext(EXT_REF, (1, "/a")),
    (Ext(EXT_REF, ("", 0)),) * 500,
    Ext(EXT_MESSAGE, (_BOX, (1,))),
    Ext(EXT_MESSAGE, (_BOX, ())),
    Ext(EXT_MESSAGE, (_BOX, (1, 2, 3))),
    Ext(EXT_MESSAGE, (float(_BOX), (1,))),
    Ext(EXT_MESSAGE, (schema_of(Strict).schema_id, (0,))),
    Ext(EXT_MESSAGE, (schema_of(Strict).schema_id, (5000,))),
    Ext(EXT_MESSAGE, (schema_of(Empty).schema_id, ())),
    Ext(EXT_MESSAGE, (1, ())),
    *(
        Ext(EXT_ARRAY, (index, dtype, shape, order))
        for index, dtype, shape, order in (
            (0, "<f8", (6,), "C"),
            (0, "<f8", (2, 3), "F"),
            (0, "|u1", (48,), "C"),
            (0, "<c16", (3, 1), "C"),
            (1, "<f8", (6,), "C"),
            (-1, "<f8", (6,), "C"),
            (99, "<f8", (6,), "C"),
            (0, "|O", (6,), "C"),
            (0, "|V8", (6,), "C"),
            (0, ">f8", (6,), "C"),
            (0, "f8", (6,), "C"),
            (0, "<f8", (-6,), "C"),
            (0, "<f8", (6, 0), "C"),
            (0, "<f8", (0, 2**63), "C"),
            (0, "<f8", (2**32, 2**32), "C"),
            (0, "<f8", (2**64 - 1,) * 32, "C"),
            (0, "<f8", (1,) * 33, "C"),
            (0, "<f8", (6,), "K"),
            (0, "<f8", 6, "C"),
            (0.0, "<f8", (6,), "C"),
        )
    ),
)


def _replaced(tree: Any, a: int, change: Callable[[Any], Any]) -> Any:
    """A tree with one part changed; the bits of `a` say which."""
    inner = tree.inner if type(tree) is Ext else tree
    if type(inner) is tuple and inner and a & 7:
        at = (a >> 3) % len(inner)
        changed: Any = (*inner[:at], _replaced(inner[at], a // (8 * len(inner)), change), *inner[at + 1 :])
    elif type(inner) is dict and inner and a & 7:
        key = list(inner)[(a >> 3) % len(inner)]
        changed = inner | {key: _replaced(inner[key], a // (8 * len(inner)), change)}
    else:
        return change(tree)
    return Ext(tree.code, changed) if type(tree) is Ext else changed


def _edit_tree(data: bytes, a: int, change: Callable[[Any], Any]) -> bytes:
    """Change one value of a head; mostly one of the body, which is the ninth."""
    parts = take_apart(data)
    if parts is None:
        return data
    tree = unpack(parts.head)
    if type(tree) is tuple and len(tree) == 9 and a & 7:
        tree = (*tree[:8], _replaced(tree[8], a >> 3, change))
    else:
        tree = _replaced(tree, a >> 3, change)
    return lay_out(parts._replace(head=pack(tree)[: 2 * HEAD_BYTES_MAX]))


def value_strange(data: bytes, a: int, b: int) -> bytes:
    """One value of the head becomes a strange one."""
    return _edit_tree(data, a, lambda _: STRANGE[b % len(STRANGE)])


def value_wrapped(data: bytes, a: int, b: int) -> bytes:
    """One value of the head is put into something, once or often."""
    times = 1 + (b >> 3) % 12
    return _edit_tree(data, a, lambda value: _wrapped(value, b & 7, times))


def _wrapped(value: Any, how: int, times: int) -> Any:
    if how == 0:
        return _nested(3 * times, value)
    for _ in range(times):
        value = (
            Ext(EXT_REF, value),
            (value,),
            {"k": value},
            Ext(EXT_ARRAY, value),
            Ext(EXT_MESSAGE, value),
            Ext(EXT_MESSAGE, (_BOX, value)),
            (value, value) if times < 6 else (value,),
        )[how - 1]
    return value


def value_grafted(data: bytes, a: int, b: int) -> bytes:
    """One value of the head becomes the fields of another frame."""
    other = take_apart(CORPUS[b % len(CORPUS)])
    assert other is not None
    return _edit_tree(data, a, lambda _: unpack(other.head)[8])


def schema_swapped(data: bytes, a: int, b: int) -> bytes:
    """The fields of one message under the schema of another."""
    schemas = [schema_of(cls).schema_id for cls in (Box, Record, Arrays, Empty, Strict, Down)]
    parts = take_apart(data)
    tree = unpack(parts.head) if parts is not None else None
    if parts is None or type(tree) is not tuple or len(tree) != 9:
        return data
    fields = tree[8][: a % 9] if type(tree[8]) is tuple else tree[8]
    return lay_out(parts._replace(head=pack((*tree[:7], schemas[b % len(schemas)], fields))))


OF_BYTES: Final[tuple[Edit, ...]] = (
    flip_bit,
    cut,
    repeat,
    splice,
    header_field,
    buffer_length,
    head_bit,
    head_mark,
    head_cut,
    head_repeat,
)
OF_VALUES: Final[tuple[Edit, ...]] = (value_strange, value_wrapped, value_grafted, schema_swapped)
