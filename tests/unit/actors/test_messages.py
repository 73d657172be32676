"""Messages are values with a tag, and a schema that checks what arrives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import FrozenInstanceError, field, fields
from typing import Any, Literal

import numpy as np
import pytest

from actors import ActorRef, MessageError, ProtocolError, UnregisteredMessage, message
from actors.messages import (
    AbortEpoch,
    BeginEpoch,
    Down,
    EpochState,
    Failure,
    FinishEpoch,
    Wake,
    schema_by_id,
    schema_of,
)


@message("messages.point")
class Point:
    x: int
    y: int = 0


@message("messages.everything")
class Everything:
    """One field of each sort that annotations may have."""

    whole: int
    real: float
    text: str
    either: int | None
    one_of: Literal["a", "b"]
    many: Sequence[int]
    listed: list[int]
    table: Mapping[str, int]
    array: np.ndarray
    ref: ActorRef[Any]
    nested: Point
    any_of_it: Any
    anything: object
    maybe_any: Any | None = None


GOOD: dict[str, Any] = {
    "whole": 1,
    "real": 1.5,
    "text": "t",
    "either": None,
    "one_of": "a",
    "many": (1, 2),
    "listed": (3,),
    "table": {"a": 1},
    "array": np.zeros(2),
    "ref": ActorRef("/a", 1),
    "nested": Point(1),
    "any_of_it": "whatever",
    "anything": 7,
    "maybe_any": (1,),
}


def test_a_message_is_a_frozen_slotted_value() -> None:
    point = Point(1, 2)
    assert point == Point(1, 2)
    assert len({point, Point(1, 2)}) == 1
    with pytest.raises(FrozenInstanceError):
        point.x = 5  # type: ignore[misc] # the point of the test
    assert not hasattr(point, "__dict__")


def test_a_tag_belongs_to_one_class() -> None:
    with pytest.raises(MessageError, match=r"tag 'messages.point' collides"):

        @message("messages.point")
        class Another:
            pass


def test_a_tag_is_not_empty() -> None:
    with pytest.raises(MessageError, match="needs a tag"):
        message("")


def test_a_class_may_be_made_again() -> None:
    def make() -> type:
        @message("messages.again")
        class Again:
            number: int

        return Again

    first, second = make(), make()
    assert schema_by_id(schema_of(first).schema_id).cls is second


@pytest.mark.parametrize("thing", ["text", 7, object(), None, {}])
def test_what_is_not_declared_is_no_message(thing: object) -> None:
    with pytest.raises(UnregisteredMessage, match=r"declare it with @message\(tag\)"):
        schema_of(type(thing))


@pytest.mark.parametrize("schema_id", [-1, 12345, None, "text", (), [], 2**70])
def test_an_unknown_schema_is_refused(schema_id: Any) -> None:
    with pytest.raises(ProtocolError, match="unknown message schema"):
        schema_by_id(schema_id)


def test_every_sort_of_annotation_is_understood() -> None:
    built = schema_of(Everything).build(tuple(GOOD.values()))
    assert built.table == {"a": 1}
    assert built.any_of_it == "whatever"


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("whole", "1"),
        ("whole", 1.5),
        ("whole", None),
        ("real", "1.5"),
        ("text", b"bytes"),
        ("either", "text"),
        ("one_of", 3),
        ("many", "text"),
        ("many", [1]),
        ("listed", {}),
        ("table", ()),
        ("array", (1, 2)),
        ("ref", "/a"),
        ("nested", (1, 2)),
    ],
)
def test_a_field_of_the_wrong_type_is_refused_by_name(name: str, wrong: object) -> None:
    values = GOOD | {name: wrong}
    with pytest.raises(
        ProtocolError, match=rf"messages.everything.{name} cannot be a {type(wrong).__name__}"
    ):
        schema_of(Everything).build(tuple(values.values()))


def test_a_whole_number_is_a_real_one() -> None:
    assert schema_of(Everything).build(tuple((GOOD | {"real": 2}).values())).real == 2


def test_a_newer_sender_and_an_older_one_are_understood() -> None:
    """Fields are appended with defaults: missing ones take them, surplus ones are ignored."""
    schema = schema_of(Point)
    assert schema.build((1,)) == Point(1, 0)
    assert schema.build((1, 2, "from the future")) == Point(1, 2)
    with pytest.raises(ProtocolError, match=r"messages.point needs 1 fields, got 0"):
        schema.build(())


@message("messages.checked")
class Checked:
    number: int
    tags: tuple[str, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        if self.number < 0:
            raise OverflowError("below zero")


def test_what_a_class_refuses_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match=r"messages.checked refuses its fields: below zero"):
        schema_of(Checked).build((-1,))
    assert schema_of(Checked).build((1,)).tags == ()


@message("messages.empty")
class Empty:
    pass


def test_a_message_without_fields() -> None:
    assert schema_of(Empty).values(Empty()) == ()
    assert schema_of(Empty).build(()) == Empty()


def test_refs_are_values_and_show_their_path() -> None:
    ref: ActorRef[Any] = ActorRef("/root/sphere-3", 7)
    assert ref == ActorRef("/root/sphere-3", 7)
    assert ref != ActorRef("/root/sphere-3", 8), "a path may have had another owner before"
    assert str(ref) == "/root/sphere-3"


def test_a_message_whose_annotations_name_nothing_cannot_be_read() -> None:
    @message("messages.unresolved")
    class Unresolved:
        value: Nowhere  # type: ignore[name-defined]  # noqa: F821 - that is the point

    with pytest.raises(ProtocolError, match=r"messages\.unresolved cannot be read here: .*Nowhere"):
        schema_of(Unresolved).build((1,))
    for _ in range(2):  # and so it is not sent, neither the first time nor later
        with pytest.raises(MessageError, match=r"the type of a field is not known .*Nowhere.*import it"):
            schema_of(Unresolved).values(Unresolved(1))


def test_a_mapping_arrives_as_a_dict_and_as_nothing_else() -> None:
    @message("messages.mapped")
    class Mapped:
        table: Mapping[str, int]

    assert schema_of(Mapped).build(({"a": 1},)) == Mapped({"a": 1})
    with pytest.raises(ProtocolError, match=r"messages\.mapped\.table cannot be a tuple"):
        schema_of(Mapped).build((("a", 1),))


def test_a_message_of_the_runtime_keeps_its_tag_and_fields() -> None:
    """Others may run an older version: a tag is never given another meaning, fields come only behind."""
    contract = {
        "actors.down": (Down, ("ref", "incarnation", "reason", "restarting")),
        "actors.wake": (Wake, ()),
        "actors.failure": (Failure, ("error_type", "error_text", "traceback_text", "refused", "notes")),
        "actors.begin_epoch": (BeginEpoch, ("epoch",)),
        "actors.finish_epoch": (FinishEpoch, ("epoch",)),
        "actors.abort_epoch": (AbortEpoch, ("epoch", "reason")),
        "actors.epoch_state": (EpochState, ("epoch", "state")),
    }
    for tag, (cls, names) in contract.items():
        assert schema_of(cls).tag == tag
        assert tuple(each.name for each in fields(cls)) == names
        assert schema_of(cls).awaited == f"reply to {tag}"
