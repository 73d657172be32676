"""The contract of a message: it is immutable, and arrives as it was sent, over bytes too."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, Final

from actors.errors import ActorError, MutablePayload
from actors.messages import ActorRef
from actors.testing.contract import ContractBroken, require
from actors.wire import Codec, Kind, frame_from_bytes, frame_to_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["check_message", "difference"]

# What a receiver could change under the sender's feet, and what to send instead. A dict has no immutable form
# that travels; whoever sends one promises not to touch it any more.
MUTABLE: Final[dict[type, str]] = {list: "a tuple", bytearray: "bytes", set: "a sorted tuple"}


def check_message(message: Any) -> None:
    """Hold one message to the contract of messages.

    Its class is declared with `@message`; nothing in it can be changed; it travels as bytes and arrives
    equal, in every field and type.

    Args:
        message: an instance with typical, or extreme, values.

    Raises:
        ContractBroken: with the field, and how to mend it.
    """
    name = type(message).__name__
    for path, value in _parts(message, name):
        remedy = MUTABLE.get(type(value))
        require(remedy is None, f"{path} is a {type(value).__name__}, which can be changed: send {remedy}")
    try:
        received = _through_bytes(message)
    except MutablePayload as error:
        raise ContractBroken(f"{name} is mutable: {error}") from error
    except ActorError as error:
        raise ContractBroken(f"{name} does not travel: {type(error).__name__}: {error}") from error
    found = difference(message, received, name)
    require(found is None, f"{name} does not arrive as it was sent: {found}")


def _through_bytes(message: Any) -> Any:
    codec = Codec()
    frame = codec.encode(Kind.TELL, "/to", "/from", 1, 0, 0, 0, message)
    return codec.decode(frame_from_bytes(frame_to_bytes(frame))).body


def _parts(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Everything inside a message, itself included, with the way to it."""
    yield path, value
    for name, part in _inside(value):
        yield from _parts(part, path + name)


def _inside(value: Any) -> list[tuple[str, Any]]:
    if isinstance(value, tuple):
        return [(f"[{index}]", part) for index, part in enumerate(value)]
    if isinstance(value, dict):
        return [(f"[{key!r}]", part) for key, part in value.items()]
    if is_dataclass(value) and not isinstance(value, ActorRef | type):
        return [(f".{field.name}", getattr(value, field.name)) for field in fields(value)]
    return []


def difference(sent: Any, received: Any, path: str) -> str | None:
    """Where two values differ, in words; None when they are equal in all parts and their types.

    Arrays are equal when dtype, shape and elements are; two NaN are equal; a numpy scalar equals its number.
    """
    if _is_array(sent) and not _is_array(received) and not sent.shape:
        sent = sent.item()  # a numpy scalar travels as a plain number
    if type(sent) is not type(received):
        return f"{path} was a {type(sent).__name__} and arrives as a {type(received).__name__}"
    if _is_array(sent):
        same = (sent.dtype.str, sent.shape, sent.tobytes()) == (
            received.dtype.str,
            received.shape,
            received.tobytes(),
        )
        return None if same else f"{path} was {sent!r} and arrives as {received!r}"
    mine, theirs = _inside(sent), _inside(received)
    if not mine and not theirs:
        same = sent == received or (sent != sent and received != received)  # noqa: PLR0124 - that is what NaN is
        return None if same else f"{path} was {sent!r} and arrives as {received!r}"
    if [name for name, _ in mine] != [name for name, _ in theirs]:
        return f"{path} was {sent!r} and arrives as {received!r}"
    pairs = zip(mine, theirs, strict=True)
    found = (difference(part, other, path + name) for (name, part), (_, other) in pairs)
    return next((text for text in found if text is not None), None)


def _is_array(value: Any) -> bool:
    """Whether it is an array or scalar of numpy, which this package does not import."""
    return all(hasattr(value, name) for name in ("dtype", "shape", "tobytes"))
