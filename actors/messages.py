"""Messages: frozen dataclasses registered under a tag, and the runtime's own ones.

A message is a value. Its fields travel by position, so a class may only ever be extended at its end, with
defaults. Sequences arrive as tuples; arrays travel beside the head (see `actors.wire`).
"""

from __future__ import annotations

import functools
import operator
import types
import typing
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, Final, Generic, TypeVar, dataclass_transform

from actors.errors import MessageError, ProtocolError, UnregisteredMessage

__all__ = ["SCHEMAS", "ActorRef", "Down", "Request", "Schema", "message", "schema_by_id", "schema_of"]

T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)
A_co = TypeVar("A_co", covariant=True)


class Request(Generic[R_co]):
    """Optional base of messages that are asked: `class Greet(Request[Greeting])` types the reply."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class ActorRef(Generic[A_co]):
    """The address of an actor, valid over restarts. A plain value that may travel in messages.

    Attributes:
        path: names from the top of the tree, as in `/root/sphere-3`.
        uid: distinguishes two actors that had the same path one after the other.
    """

    path: str
    uid: int

    def __str__(self) -> str:
        """The path."""
        return self.path


class Schema:
    """How one message class is written and read."""

    __slots__ = (
        "__dict__",
        "_getter",
        "arity",
        "awaited",
        "cls",
        "required",
        "schema_id",
        "signatures",
        "tag",
        "values",
    )

    def __init__(self, tag: str, cls: type) -> None:
        names = [field.name for field in fields(cls)]
        self.tag = tag
        self.cls = cls
        self.awaited = f"reply to {tag}"
        self.schema_id = zlib.crc32(tag.encode())
        self.arity = len(names)
        self.required = sum(
            1 for field in fields(cls) if field.default is MISSING and field.default_factory is MISSING
        )
        self._getter = _getter(names)
        self.signatures: dict[tuple[type, ...], bool] = {}
        self.values: Callable[[Any], tuple[Any, ...]] = self._first_values

    def _first_values(self, body: Any) -> tuple[Any, ...]:
        """The field values; before the first message is sent, find out whether it could be read.

        Raises:
            MessageError: a field's annotation names something that is not there at run time.
        """
        try:
            len(self.checks)
        except Exception as error:
            raise MessageError(
                f"{self.tag}: the type of a field is not known at run time ({error}): import it for real"
            ) from error
        self.values = self._getter
        return self._getter(body)

    @functools.cached_property
    def checks(self) -> tuple[tuple[str, tuple[type, ...] | None], ...]:
        """For each field its name and the classes it may have; None admits any.

        Resolved at first use: annotations may name classes that are defined later than the message.
        """
        hints = typing.get_type_hints(self.cls)
        return tuple((field.name, _classes(hints[field.name])) for field in fields(self.cls))

    def shareable(self, values: tuple[Any, ...]) -> bool:
        """Whether a message with these field values cannot be changed by anyone, so that it may be shared.

        The answer depends on the types of the values alone, and is remembered in `signatures`.

        Raises:
            MessageError: a value has a type that its field does not admit.
        """
        signature = tuple(map(type, values))
        known = self.signatures.get(signature)
        if known is None:
            known = self.signatures[signature] = self._examine(values, signature)
        return known

    def _examine(self, values: tuple[Any, ...], signature: tuple[type, ...]) -> bool:
        if not LEAVES.issuperset(signature):  # a container, an array, a message: read like one from outside
            return False
        for value, (name, classes) in zip(values, self.checks, strict=True):
            if classes is not None and not isinstance(value, classes):
                raise MessageError(self._mismatch(name, value, classes))
        return True

    def _mismatch(self, name: str, value: Any, classes: tuple[type, ...]) -> str:
        declared = " or ".join(cls.__name__ for cls in classes)
        return f"{self.tag}.{name} cannot be a {type(value).__name__}: it is declared as {declared}"

    def build(self, values: tuple[Any, ...]) -> Any:
        """Return the message with these field values.

        Missing trailing fields take their defaults, surplus ones (of a newer sender) are ignored.

        Raises:
            ProtocolError: too few fields, one of the wrong type, or values that the class itself refuses.
        """
        if len(values) < self.required:
            raise ProtocolError(f"{self.tag} needs {self.required} fields, got {len(values)}")
        try:
            checks = self.checks
        except Exception as error:
            raise ProtocolError(f"{self.tag} cannot be read here: {error}") from error
        for value, (name, classes) in zip(values, checks, strict=False):
            if classes is not None and not isinstance(value, classes):
                raise ProtocolError(self._mismatch(name, value, classes))
        try:
            return self.cls(*values[: self.arity])
        except Exception as error:  # a class may refuse its own fields in any way
            raise ProtocolError(f"{self.tag} refuses its fields: {error}") from error


# Values that nobody can change, and that hold no others.
LEAVES: Final = frozenset({type(None), bool, int, float, str, bytes, ActorRef})

SCHEMAS: Final[dict[type, Schema]] = {}
_by_id: Final[dict[int, Schema]] = {}


@dataclass_transform(frozen_default=True)
def message(tag: str) -> Callable[[type[T]], type[T]]:
    """Declare a message class: it becomes a frozen, slotted dataclass registered under `tag`.

    Args:
        tag: a name such as `"demo.greet"`, unique in the program and the same in all its processes.

    Raises:
        MessageError: the tag is empty, or belongs to another class already.
    """
    if not tag:
        raise MessageError("a message needs a tag, such as 'demo.greet'")

    def register(cls: type[T]) -> type[T]:
        made = dataclass(frozen=True, slots=True)(cls)
        schema = Schema(tag, made)
        known = _by_id.get(schema.schema_id)
        if known is not None and _qualified(known.cls) != _qualified(made):
            raise MessageError(f"tag {tag!r} collides with {known.tag!r} of {_qualified(known.cls)}")
        _by_id[schema.schema_id] = SCHEMAS[made] = schema
        return made

    return register


def schema_of(cls: type) -> Schema:
    """Return how `cls` travels.

    Raises:
        UnregisteredMessage: the class was not declared with `@message`.
    """
    try:
        return SCHEMAS[cls]
    except KeyError:
        raise UnregisteredMessage(f"{_qualified(cls)} is no message: declare it with @message(tag)") from None


def schema_by_id(schema_id: int) -> Schema:
    """Return the schema that a frame names.

    Raises:
        ProtocolError: no class of this program has it.
    """
    schema = _by_id.get(schema_id) if type(schema_id) is int else None
    if schema is None:
        raise ProtocolError(f"unknown message schema {schema_id!r:.80}")
    return schema


def _qualified(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _getter(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    if len(names) > 1:
        return operator.attrgetter(*names)
    if names:
        only = names[0]
        return lambda body: (getattr(body, only),)
    return lambda _body: ()


def _classes(hint: Any) -> tuple[type, ...] | None:
    """Flatten a type hint into what isinstance takes. Containers are checked at their outermost level."""
    origin = typing.get_origin(hint) or hint
    if origin in {typing.Union, types.UnionType}:
        parts = [_classes(part) for part in typing.get_args(hint)]
        return None if None in parts else tuple(cls for part in parts if part for cls in part)
    if origin is typing.Literal:
        return tuple({type(value) for value in typing.get_args(hint)})
    if origin is float:
        return (float, int)
    if origin is Mapping:
        return (dict,)
    if origin in {list, Sequence}:
        return (tuple,)  # sequences are read as tuples: what was received cannot be changed
    return (origin,) if isinstance(origin, type) and origin not in {object, Any} else None


@message("actors.down")
class Down:
    """One incarnation of an actor ended. Sent once for every end, to the parent and to each watcher.

    A restart that was promised may be called off, because the actor is stopped meanwhile: then one more is
    sent for the same incarnation, with `restarting` False. A parent in shutdown hears nothing more; it waits
    for the ends themselves.

    Attributes:
        ref: the actor.
        incarnation: which life of it, from 1.
        reason: why it ended, `"stopped"` for an ordinary end.
        restarting: whether its supervisor starts it again under the same ref.
    """

    ref: ActorRef[Any]
    incarnation: int
    reason: str
    restarting: bool


@message("actors.wake")
class Wake:
    """Put into the system lane of an actor that has to look up: it is to stop, or has failed."""


@message("actors.failure")
class Failure:
    """The body of an answer that is an error."""

    error_type: str
    error_text: str
    traceback_text: str
    refused: bool
    notes: tuple[str, ...] = ()


@message("actors.begin_epoch")
class BeginEpoch:
    """Asked by a parent: begin this epoch, and begin it in your own children."""

    epoch: int


@message("actors.finish_epoch")
class FinishEpoch:
    """Asked by a parent: your part of this epoch is done; answer when your children's is too."""

    epoch: int


@message("actors.abort_epoch")
class AbortEpoch:
    """Told by a parent in the system lane: this epoch has failed."""

    epoch: int
    reason: str


@message("actors.epoch_state")
class EpochState:
    """The answer to `BeginEpoch` and `FinishEpoch`: where the actor stands now."""

    epoch: int
    state: str
