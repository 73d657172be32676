"""Messages to frames and back, without I/O.

A frame is a MessagePack head and a tuple of buffers. The head is the array
`[kind, to, from, msg_id, cause_id, incarnation, remaining_ms, schema_id, body]`; an ndarray in the body is
an extension `[buffer index, dtype, shape, order]`, and its bytes travel beside the head. Inside one process
the buffer *is* the array, passed by reference and read-only, so nothing is copied.

Between processes a frame is laid out as

    magic 4s | version u8 | flags u8 | buffers u16 | head length u32 | crc32 u32 | total u64   (24 bytes)
    buffer lengths, u64 each
    head
    each buffer, at the next multiple of 64 bytes

The checksum covers the lengths and the head. What arrives from outside is trusted in nothing: every fault
is a `ProtocolError`, raised before memory is taken for what a length claims.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import struct
import zlib
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

import msgpack
import numpy as np

from actors.errors import ActorError, MessageError, MutablePayload, ProtocolError, UnregisteredMessage
from actors.messages import SCHEMAS, ActorRef, schema_by_id, schema_of

if TYPE_CHECKING:
    from actors.messages import Schema

__all__ = [
    "BODY_BYTES_MAX",
    "BUFFER_BYTES_MAX",
    "HEAD_BYTES_MAX",
    "Codec",
    "Envelope",
    "Frame",
    "Kind",
    "Packed",
    "Parted",
    "check_containers",
    "first_difference",
    "frame_from_bytes",
    "frame_to_bytes",
    "freeze",
    "memory_of",
    "width_of",
]

MAGIC: Final = b"ACTR"
VERSION: Final = 1
HEAD_BYTES_MAX: Final = 64 * 1024
BODY_BYTES_MAX: Final = 55 * 1024  # the rest is room for two addresses of the longest kind, and numbers
BUFFER_BYTES_MAX: Final = 1 << 32
ENTRIES_MAX: Final = 4096
DEPTH_MAX: Final = 32
LEVELS_MAX: Final = DEPTH_MAX + 2  # with the head around the fields, and with the leaves
NUMBER_MAX: Final = 1 << 63
ALIGNMENT: Final = 64
HEADER: Final = struct.Struct("<4sBBHIIQ")

EXT_ARRAY: Final = 1
EXT_MESSAGE: Final = 2
EXT_REF: Final = 3

# No object, void, structured, string or foreign byte order: only plain numbers can be data.
DTYPES: Final = frozenset(
    np.dtype(name).str
    for name in ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"]
)


class Kind(enum.IntEnum):
    """What a frame is."""

    TELL = 0
    ASK = 1
    REPLY = 2
    FAILURE = 3


KINDS: Final = frozenset(int(kind) for kind in Kind)


class Frame:
    """One message at rest. Immutable by convention: nobody writes to a frame after it was made."""

    __slots__ = ("buffers", "head")

    def __init__(self, head: bytes, buffers: tuple[Any, ...] = ()) -> None:
        self.head = head
        self.buffers = buffers

    @property
    def nbytes(self) -> int:
        """Bytes of the head and of all buffers."""
        return len(self.head) + sum(memoryview(buffer).nbytes for buffer in self.buffers)


# The body of a message at rest: its schema, the packed fields, the buffers beside them; and what its receiver
# gets to see: a copy that was read back from these, or the sender's own if nothing in it can be changed.
Packed: TypeAlias = "tuple[Schema, bytes, tuple[Any, ...], Any]"


class Envelope(NamedTuple):
    """A frame, decoded."""

    kind: int
    to: str
    sender: str
    msg_id: int
    cause_id: int
    incarnation: int
    remaining_ms: int
    body: Any


def freeze(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return a read-only view of `array`, which may then travel in a message without being copied.

    By calling this the sender promises not to write to the memory as long as a receiver may read it.
    """
    view = array.view()
    view.flags.writeable = False
    return view


class Codec:
    """Encodes and decodes. One for each actor system: it keeps a packer, and is not for several threads."""

    __slots__ = ("_buffers", "_pack")

    def __init__(self) -> None:
        self._pack = msgpack.Packer(default=self._extend).pack
        self._buffers: list[Any] = []

    def pack(self, body: Any) -> Packed:
        """Return the body of a frame: what a mailbox of the same process holds.

        Raises:
            UnregisteredMessage: the class of `body` or of a part of it is not registered.
            MutablePayload: an array in it is writable; see `freeze`.
            MessageError: a value that cannot travel or is not of its field's type, or more than
                `BODY_BYTES_MAX` without the arrays.
        """
        schema = SCHEMAS.get(type(body)) or schema_of(type(body))
        try:
            values = schema.values(body)
            fields: bytes = self._pack(values)
            if len(fields) <= BODY_BYTES_MAX and schema.signatures.get(tuple(map(type, values))):
                return schema, fields, (), body
            return self._pack_with_care(schema, values, fields, body)
        except (ActorError, TypeError, ValueError, OverflowError, RecursionError) as error:
            kind = type(error) if isinstance(error, (MutablePayload, UnregisteredMessage)) else MessageError
            raise kind(f"{self._culprit(schema, body)} cannot be sent: {error}") from error

    def _culprit(self, schema: Schema, body: Any) -> str:
        """Name the message, and the first of its fields that cannot be packed alone if there is one."""
        for field in dataclasses.fields(schema.cls):
            try:
                self._pack(getattr(body, field.name))
            except Exception:  # noqa: BLE001 - what it is has been said by then
                return f"{schema.tag}.{field.name}"
            finally:
                self._buffers.clear()  # the codec must not keep the arrays of a message alive
        return schema.tag

    def _pack_with_care(self, schema: Schema, values: tuple[Any, ...], fields: bytes, body: Any) -> Packed:
        """Pack what may be shared if it has not been seen before, and anything else."""
        if len(fields) > BODY_BYTES_MAX:
            raise MessageError(f"it takes {len(fields)} bytes of {BODY_BYTES_MAX}: put bulk data in arrays")
        if schema.shareable(values):
            return schema, fields, (), body
        # What the receiver gets is its own: read back from the bytes, and so checked before it is sent.
        buffers = tuple(self._buffers)
        self._buffers.clear()
        return schema, fields, buffers, schema.build(_Reader(buffers).read(fields, LEVELS_MAX - 1))

    def unpack(self, packed: Packed) -> Any:
        """Return what was packed once more, shared with nobody who got it before."""
        schema, fields, buffers, _ = packed
        return schema.build(_Reader(buffers).read(fields))

    def encode(
        self,
        kind: Kind,
        to: str,
        sender: str,
        msg_id: int,
        cause_id: int,
        incarnation: int,
        remaining_ms: int,
        body: Any,
    ) -> Frame:
        """Return the frame that carries `body`, an instance of a class declared with `@message`.

        Raises:
            MessageError: as `pack`.
        """
        schema, fields, buffers, _ = self.pack(body)
        address = (kind, to, sender, msg_id, cause_id, incarnation, remaining_ms, schema.schema_id)
        # An array of nine entries, the last of which is packed already.
        head = b"\x99" + msgpack.packb(address)[1:] + fields
        if len(head) > HEAD_BYTES_MAX:
            raise MessageError(f"{schema.tag} has addresses that are too long: {len(to)} and {len(sender)}")
        return Frame(head, buffers)

    def decode(self, frame: Frame) -> Envelope:
        """Return what the frame says.

        Raises:
            ProtocolError: it is not a frame of ours.
        """
        raw = _Reader(frame.buffers).read(frame.head)
        try:
            kind, to, sender, msg_id, cause_id, incarnation, remaining_ms, schema_id, values = raw
        except (TypeError, ValueError):
            raise ProtocolError("a head has nine entries") from None
        numbers = (kind, msg_id, cause_id, incarnation, remaining_ms)
        if (
            not all(type(number) is int and 0 <= number < NUMBER_MAX for number in numbers)
            or kind not in KINDS
        ):
            raise ProtocolError(
                f"a head counts from 0 in whole numbers, and its kind is known: {numbers!r:.80}"
            )
        if type(to) is not str or type(sender) is not str or type(values) is not tuple:
            raise ProtocolError("a head has two addresses, and an array of fields as its body")
        return Envelope(
            kind,
            to,
            sender,
            msg_id,
            cause_id,
            incarnation,
            remaining_ms,
            schema_by_id(schema_id).build(values),
        )

    def _extend(self, value: Any) -> Any:
        """Called by the packer for what MessagePack does not know."""
        if type(value) is np.ndarray:  # no subclass: a mask or another meaning would be lost on the way
            return msgpack.ExtType(EXT_ARRAY, msgpack.packb(self._describe(value)))
        if isinstance(value, np.ndarray):
            raise MessageError(
                f"an array of class {type(value).__name__} cannot travel: send numpy.asarray(it)"
            )
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, ActorRef):
            return msgpack.ExtType(EXT_REF, msgpack.packb((value.path, value.uid)))
        if isinstance(value, int):
            raise MessageError("an integer of more than 64 bits does not travel")
        schema = SCHEMAS.get(type(value))
        if schema is None:
            raise UnregisteredMessage(
                f"a {type(value).__qualname__} does not travel: fields hold None, bool, int, float, str, "
                "bytes, lists, tuples, dicts, refs, frozen arrays, and classes declared with @message"
            )
        inner = msgpack.packb((schema.schema_id, schema.values(value)), default=self._extend)
        return msgpack.ExtType(EXT_MESSAGE, inner)

    def _describe(self, array: np.ndarray[Any, Any]) -> tuple[int, str, tuple[int, ...], str]:
        if array.dtype.str not in DTYPES:
            raise MessageError(f"an array of dtype {array.dtype} cannot travel: only plain numbers can")
        if array.flags.writeable:
            raise MutablePayload(
                f"a writable array {array.dtype}{list(array.shape)} cannot travel: send actors.freeze(array)"
            )
        self._buffers.append(array)
        order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        return len(self._buffers) - 1, array.dtype.str, array.shape, order


class _Reader:
    """Reads what MessagePack and our extensions say, and which buffers they name.

    Args:
        buffers: that travelled beside it.
    """

    __slots__ = ("_buffers", "_depth", "_named")

    def __init__(self, buffers: tuple[Any, ...]) -> None:
        self._buffers = buffers
        self._depth = 0
        self._named: set[int] = set()

    def read(self, data: bytes, levels: int = LEVELS_MAX) -> Any:
        """Return the value that `data` holds.

        Args:
            data: a head; or the fields of a message, which will lie in one and have one level less.
            levels: of containers and what is in them.

        Raises:
            ProtocolError: there is something in it, or in its size, that we do not accept.
        """
        value = self._unpack(data, levels)
        if len(self._named) < len(self._buffers):
            raise ProtocolError(
                f"{len(self._buffers)} buffers came, and {len(self._named)} of them are named"
            )
        return value

    def _unpack(self, data: bytes, levels: int = LEVELS_MAX) -> Any:
        if self._depth > DEPTH_MAX:
            raise ProtocolError(f"messages are nested deeper than {DEPTH_MAX}")
        self._depth += 1
        try:
            value = msgpack.unpackb(
                data,
                use_list=False,
                ext_hook=self._extension,
                strict_map_key=True,
                max_array_len=ENTRIES_MAX,
                max_map_len=ENTRIES_MAX,
                max_str_len=HEAD_BYTES_MAX,
                max_bin_len=HEAD_BYTES_MAX,
                max_ext_len=HEAD_BYTES_MAX,
            )
        except ProtocolError:
            raise
        except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
            said = str(error) or type(error).__name__
            why = "the keys of a dict are str or bytes" if "map key" in said else said
            raise ProtocolError(f"not MessagePack that we accept: {why}") from None
        self._depth -= 1
        check_containers(value, levels)
        return value

    def _extension(self, code: int, payload: bytes) -> Any:
        if code not in {EXT_ARRAY, EXT_REF, EXT_MESSAGE}:
            raise ProtocolError(f"unknown extension {code}")
        value = self._unpack(payload)
        if code == EXT_REF:
            return _ref(value)
        if code == EXT_MESSAGE:
            return _nested(value)
        array, index = _array(value, self._buffers)
        self._named.add(index)
        return array


def check_containers(value: Any, levels: int) -> None:
    """Hold what MessagePack itself has read to our limits; without recursion, which depth would exhaust.

    Raises:
        ProtocolError: containers are nested too deep, or a timestamp is among them, which is read unasked.
    """
    level = [value]
    for _ in range(levels):
        deeper: list[Any] = []
        for item in level:
            if type(item) is tuple:
                deeper += item
            elif type(item) is dict:
                deeper += item.values()
            elif isinstance(item, msgpack.Timestamp):
                raise ProtocolError("unknown extension -1")
        if not deeper:
            return
        level = deeper
    raise ProtocolError(f"containers are nested deeper than {DEPTH_MAX}")


def _nested(pair: Any) -> Any:
    if type(pair) is not tuple or len(pair) != 2 or type(pair[1]) is not tuple:  # noqa: PLR2004 - a pair
        raise ProtocolError("a nested message is a schema and its fields")
    return schema_by_id(pair[0]).build(pair[1])


def _ref(pair: Any) -> ActorRef[Any]:
    match pair:
        case (str() as path, int() as uid) if type(uid) is int and uid >= 0:
            return ActorRef(path, uid)
    raise ProtocolError("a ref is a path and a number")


def _array(descriptor: Any, buffers: tuple[Any, ...]) -> tuple[np.ndarray[Any, Any], int]:
    """Return an array, and the number of the buffer that it lies in."""
    match descriptor:
        case (int() as index, str() as dtype, tuple() as shape, ("C" | "F") as order):
            pass
        case _:
            raise ProtocolError("an array is described by buffer, dtype, shape and order")
    if type(index) is not int or not 0 <= index < len(buffers):
        raise ProtocolError(f"an array names buffer {index} of {len(buffers)}")
    if dtype not in DTYPES:
        raise ProtocolError(f"arrays of dtype {dtype!r} are not accepted")
    if len(shape) > DEPTH_MAX or not all(type(size) is int and size >= 0 for size in shape):
        raise ProtocolError(f"impossible array shape {shape!r}")
    buffer = buffers[index]
    if isinstance(buffer, np.ndarray):  # the same process: the array itself, read-only since it was encoded
        if buffer.dtype.str != dtype or buffer.shape != shape:
            raise ProtocolError(f"buffer {index} is {buffer.dtype}{buffer.shape}, not {dtype}{shape}")
        return buffer, index
    if math.prod(shape) * np.dtype(dtype).itemsize != len(buffer):
        raise ProtocolError(
            f"buffer {index} has {len(buffer)} bytes, but {dtype}{list(shape)} needs another number"
        )
    return np.frombuffer(buffer, dtype=dtype).reshape(shape, order=order), index


def frame_to_bytes(frame: Frame) -> bytes:
    """Lay a frame out for another process. Copies the buffers once.

    Raises:
        MessageError: a buffer has more than `BUFFER_BYTES_MAX`, which no receiver would take.
    """
    parts = [memory_of(buffer) for buffer in frame.buffers]
    if any(len(part) > BUFFER_BYTES_MAX for part in parts):
        raise MessageError(f"an array of more than {BUFFER_BYTES_MAX} bytes does not leave its process")
    table = struct.pack(f"<{len(parts)}Q", *(len(part) for part in parts))
    pieces: list[bytes | memoryview] = [table, frame.head]
    total = HEADER.size + len(table) + len(frame.head)
    for part in parts:
        padding = -total % ALIGNMENT
        pieces += [bytes(padding), part]
        total += padding + len(part)
    crc = zlib.crc32(frame.head, zlib.crc32(table))
    return b"".join([HEADER.pack(MAGIC, VERSION, 0, len(parts), len(frame.head), crc, total), *pieces])


def width_of(dtype: str) -> int:
    """Bytes of one entry of an array."""
    return np.dtype(dtype).itemsize


def memory_of(buffer: Any) -> memoryview:
    """The bytes of a buffer in memory order; Fortran order is kept, as its descriptor says.

    Nothing is copied, except of an array that has gaps.
    """
    if isinstance(buffer, np.ndarray):
        buffer = np.asarray(buffer, order="A") if buffer.flags.forc else np.ascontiguousarray(buffer)
        return memoryview(buffer.reshape(-1, order="A").view(np.uint8))
    return memoryview(buffer).cast("B")


class Parted(NamedTuple):
    """Where two arrays of the same kind and shape first have other bits.

    Attributes:
        at: index of that entry.
        before: what the first has there.
        now: what the second has there.
        entries: how many differ.
        largest: absolute difference, over all entries that are numbers in both.
    """

    at: tuple[int, ...]
    before: Any
    now: Any
    entries: int
    largest: float


def first_difference(dtype: str, shape: tuple[int, ...], order: str, before: Any, now: Any) -> Parted | None:
    """Compare the bytes of two arrays, as `memory_of` gives them; None when they are equal.

    Raises:
        ProtocolError: these are not the bytes of such arrays.
    """
    parts = tuple(memoryview(part).cast("B") for part in (before, now))
    for at in range(2):
        _array((at, dtype, shape, order), parts)
    width = np.dtype(dtype).itemsize
    bits = [np.frombuffer(part, np.uint8).reshape(-1, width) for part in parts]
    others = np.flatnonzero((bits[0] != bits[1]).any(axis=1))
    if not len(others):
        return None
    first, second = (np.frombuffer(part, dtype)[others] for part in parts)
    wide = np.complex128 if first.dtype.kind == "c" else np.float64
    with np.errstate(all="ignore"):
        apart = np.abs(second.astype(wide) - first.astype(wide))
    index = np.unravel_index(others[0], shape, "F" if order == "F" else "C")
    largest = float(np.max(apart, initial=0.0, where=~np.isnan(apart)))
    return Parted(tuple(map(int, index)), first[0].item(), second[0].item(), len(others), largest)


def frame_from_bytes(data: bytes | memoryview) -> Frame:
    """Read one frame; its buffers are views into `data`, nothing is copied.

    Raises:
        ProtocolError: `data` is not exactly one intact frame.
    """
    view = memoryview(data).toreadonly().cast("B")
    if len(view) < HEADER.size:
        raise ProtocolError(f"a frame has at least {HEADER.size} bytes, got {len(view)}")
    magic, version, flags, count, head_length, crc, total = HEADER.unpack_from(view)
    if magic != MAGIC or version != VERSION or flags:
        raise ProtocolError(f"not a frame of version {VERSION}: {bytes(view[:6])!r}")
    if total != len(view):
        raise ProtocolError(f"the frame says {total} bytes, got {len(view)}")
    if head_length > HEAD_BYTES_MAX or count > ENTRIES_MAX:
        raise ProtocolError(f"head of {head_length} bytes with {count} buffers is too large")
    head_at = HEADER.size + 8 * count
    buffers_at = head_at + head_length
    if buffers_at > total:
        raise ProtocolError("the frame ends inside its head")
    if zlib.crc32(view[HEADER.size : buffers_at]) != crc:
        raise ProtocolError("the frame's checksum does not match")
    lengths = struct.unpack_from(f"<{count}Q", view, HEADER.size)
    return Frame(bytes(view[head_at:buffers_at]), _slices(view, buffers_at, lengths))


def _slices(view: memoryview, at: int, lengths: tuple[int, ...]) -> tuple[memoryview, ...]:
    buffers = []
    for length in lengths:
        at += -at % ALIGNMENT
        if length > BUFFER_BYTES_MAX or at + length > len(view):
            raise ProtocolError(f"a buffer of {length} bytes does not fit into the frame")
        buffers.append(view[at : at + length])
        at += length
    if at != len(view):
        raise ProtocolError(f"{len(view) - at} bytes stand behind the last buffer")
    return tuple(buffers)
