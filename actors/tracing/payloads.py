"""Messages inside trace events: their fields, and their arrays as hashes or whole.

A payload is the MessagePack array `[tag, fields, arrays]`: the fields as the wire packs them, and for each
array that they name `[dtype, shape, order, hash, raw bytes or nil]`. Hashes are SHA-256 of the bytes in
memory order. What is read here came from a file, and is trusted no more than what comes over a wire.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgpack

from actors import wire
from actors.errors import ActorError, ProtocolError
from actors.messages import SCHEMAS, ActorRef, message, schema_by_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.messages import Schema
    from actors.wire import Packed

__all__ = [
    "Arguments",
    "ArrayDigest",
    "Fields",
    "Payload",
    "PayloadMode",
    "pack_arguments",
    "pack_payload",
    "read_payload",
]

PayloadMode: TypeAlias = Literal["hash", "whole"]

DIGEST_BYTES: Final = hashlib.sha256().digest_size
REASON_CHARS_MAX: Final = 300
_SMALL: Final = {
    "max_array_len": wire.ENTRIES_MAX,
    "max_map_len": wire.ENTRIES_MAX,
    "max_str_len": wire.HEAD_BYTES_MAX,
    "max_ext_len": wire.HEAD_BYTES_MAX,
}


@message("actors.arguments")
class Arguments:
    """What the constructor of an actor was given.

    Attributes:
        args: by position; None stands for what could not travel.
        kwargs: by name, likewise.
        missing: what could not travel, and why: one text each, which begins with the number or name.
    """

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArrayDigest:
    """An array in a recorded message.

    Attributes:
        dtype: as numpy writes it, such as `<f4`.
        shape: entries along each axis.
        order: of the entries in memory, `C` or `F`.
        digest: SHA-256 of the bytes in memory order.
        raw: the bytes themselves; None when only the hash was recorded. Not compared by `==`.
    """

    dtype: str
    shape: tuple[int, ...]
    order: str
    digest: bytes
    raw: bytes | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        """Kind, shape, and the beginning of the hash."""
        return f"{self.dtype}{list(self.shape)} {self.digest.hex()[:12]}"


@dataclass(frozen=True, slots=True)
class Fields:
    """A message as it was recorded, also where its class is not known.

    Attributes:
        tag: of its class.
        values: by name of the field, in order; messages within it are `Fields`, arrays `ArrayDigest`.
    """

    tag: str
    values: Mapping[str, Any]


class Payload:
    """One message of a trace.

    Attributes:
        tag: of its class.
        arrays: that it names, in their order.
        whole: whether its arrays were recorded whole, or it has none.
    """

    __slots__ = ("_fields", "_packed", "arrays", "tag", "whole")

    def __init__(self, tag: str, packed: bytes, arrays: tuple[ArrayDigest, ...]) -> None:
        self.tag = tag
        self.arrays = arrays
        self.whole = all(array.raw is not None for array in arrays)
        self._packed = packed
        self._fields: Fields | None = None

    @property
    def mode(self) -> PayloadMode:
        """How it was recorded: `hash` or `whole`."""
        return "whole" if self.whole else "hash"

    @property
    def fields(self) -> Fields:
        """What it says.

        Raises:
            ProtocolError: it is damaged.
        """
        if self._fields is None:
            values = _Looking(self.arrays).read(self._packed)
            if type(values) is not tuple:
                raise ProtocolError("the fields of a message are an array")
            self._fields = _named(_schema_of_tag(self.tag), self.tag, values)
        return self._fields

    def rebuild(self) -> Any:
        """Return the message, made once more; its arrays are read-only.

        Raises:
            ProtocolError: its arrays were recorded as hashes, its class is not known, or it is damaged.
        """
        if not self.whole:
            raise ProtocolError(
                f'{self.tag} was recorded with its arrays as hashes: record the run with payloads="whole"'
            )
        schema = _schema_of_tag(self.tag)
        if schema is None:
            raise ProtocolError(f"no class here has the tag {self.tag}: import the module that declares it")
        buffers = tuple(memoryview(array.raw or b"") for array in self.arrays)
        return wire.Codec().unpack((schema, self._packed, buffers, None))


def pack_payload(packed: Packed, mode: PayloadMode) -> bytes:
    """Return what an event keeps of a message at rest.

    Arrays are read once and not copied, but into the result where they are kept whole.

    Args:
        packed: as `Codec.pack` gives it.
        mode: `hash` keeps of each array a hash, `whole` its bytes as well.
    """
    schema, fields_packed, buffers, _ = packed
    arrays = [_describe(array, mode) for array in buffers]
    payload: bytes = msgpack.packb((schema.tag, fields_packed, arrays))
    return payload


def pack_arguments(args: Sequence[Any], kwargs: Mapping[str, Any], mode: PayloadMode) -> bytes:
    """Return what an event keeps of a constructor's arguments; what cannot travel is left out and named."""
    codec, missing = wire.Codec(), []

    def kept(name: int | str, value: Any) -> Any:
        try:
            codec.pack(Arguments((value,), {}, ()))
        except ActorError as error:
            missing.append(f"{name}: {error.__cause__ or error}"[:REASON_CHARS_MAX])
            return None
        return value

    by_position = tuple(kept(at, value) for at, value in enumerate(args))
    by_name = {name: kept(name, value) for name, value in kwargs.items()}
    try:
        packed = codec.pack(Arguments(by_position, by_name, tuple(missing)))
    except ActorError as error:  # too many, or too large together
        packed = codec.pack(Arguments((), {}, (f"all: {error}"[:REASON_CHARS_MAX],)))
    return pack_payload(packed, mode)


def _describe(array: Any, mode: PayloadMode) -> tuple[str, tuple[int, ...], str, bytes, memoryview | None]:
    memory = wire.memory_of(array)
    order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
    raw = memory if mode == "whole" else None
    return array.dtype.str, array.shape, order, hashlib.sha256(memory).digest(), raw


def read_payload(data: bytes) -> Payload:
    """Read what `pack_payload` made.

    Raises:
        ProtocolError: it is none, or what it says is impossible. What its fields say is looked at later.
    """
    try:
        entry = msgpack.unpackb(data, use_list=False, strict_map_key=True, max_map_len=0, max_ext_len=0)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        raise ProtocolError(f"not a payload: {error or type(error).__name__}") from None
    match entry:
        case (str() as tag, bytes() as packed, tuple() as arrays) if len(packed) <= wire.HEAD_BYTES_MAX:
            if len(arrays) > wire.ENTRIES_MAX:
                raise ProtocolError(f"a payload with {len(arrays)} arrays is too large")
            return Payload(tag, packed, tuple(map(_digest, arrays)))
    raise ProtocolError("a payload is a tag, the fields and the arrays of a message")


def _digest(entry: Any) -> ArrayDigest:
    match entry:
        case (
            str() as dtype,
            tuple() as shape,
            ("C" | "F") as order,
            bytes() as digest,
            (bytes() | None) as raw,
        ):
            pass
        case _:
            raise ProtocolError("an array is described by dtype, shape, order, hash and bytes")
    if dtype not in wire.DTYPES or len(digest) != DIGEST_BYTES:
        raise ProtocolError(
            f"an array of dtype {dtype!r:.40} with a hash of {len(digest)} bytes is not accepted"
        )
    if len(shape) > wire.DEPTH_MAX or not all(type(size) is int and size >= 0 for size in shape):
        raise ProtocolError(f"impossible array shape {shape!r:.80}")
    if raw is not None and math.prod(shape) * wire.width_of(dtype) != len(raw):
        raise ProtocolError(f"{len(raw)} bytes are no {dtype}{list(shape)}")
    return ArrayDigest(dtype, shape, order, digest, raw)


class _Looking:
    """Reads packed fields without making messages of them.

    Args:
        arrays: that they name.
    """

    def __init__(self, arrays: tuple[ArrayDigest, ...]) -> None:
        self._arrays = arrays
        self._depth = 0

    def read(self, data: bytes) -> Any:
        if self._depth > wire.DEPTH_MAX:
            raise ProtocolError(f"messages are nested deeper than {wire.DEPTH_MAX}")
        self._depth += 1
        try:
            value = msgpack.unpackb(
                data,
                use_list=False,
                ext_hook=self._extension,
                strict_map_key=True,
                max_bin_len=wire.HEAD_BYTES_MAX,
                **_SMALL,
            )
        except ProtocolError:
            raise
        except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
            raise ProtocolError(f"a payload is damaged: {error or type(error).__name__}") from None
        self._depth -= 1
        wire.check_containers(value, wire.LEVELS_MAX)
        return value

    def _extension(self, code: int, data: bytes) -> Any:
        value = self.read(data)
        match code, value:
            case wire.EXT_REF, (str() as path, int() as uid):
                return ActorRef(path, uid)
            case wire.EXT_ARRAY, (int() as index, *_) if 0 <= index < len(self._arrays):
                return self._arrays[index]
            case wire.EXT_MESSAGE, (int() as schema_id, tuple() as values):
                try:
                    schema: Schema | None = schema_by_id(schema_id)
                except ProtocolError:
                    schema = None
                return _named(schema, f"message {schema_id}", values)
        raise ProtocolError(f"a payload has an extension {code} that says nothing known")


def _schema_of_tag(tag: str) -> Schema | None:
    return next((schema for schema in SCHEMAS.values() if schema.tag == tag), None)


def _named(schema: Schema | None, tag: str, values: tuple[Any, ...]) -> Fields:
    """Fields by name; those that the class does not have, by number."""
    names = [each.name for each in fields(schema.cls)] if schema is not None else []
    names += [str(at) for at in range(len(names), len(values))]
    return Fields(schema.tag if schema is not None else tag, dict(zip(names, values, strict=False)))
