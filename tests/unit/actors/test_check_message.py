"""`check_message`: what is immutable and arrives as it was sent passes, anything else is named."""

from __future__ import annotations

import enum
import math
from typing import Any

import numpy as np
import pytest

from actors import ActorRef, Down, freeze, message
from actors.testing import ContractBroken, check_message


class Colour(enum.IntEnum):
    RED = 1


class Name(str):
    __slots__ = ()


@message("check_message.any")
class AnyValue:
    value: Any
    second: Any = None


@message("check_message.typed")
class Typed:
    number: int


@message("check_message.losing")
class Losing:
    """Changes its own field when it is built."""

    number: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", self.number + 1)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        -(2**63),
        2**64 - 1,
        math.nan,
        -math.inf,
        "text",
        b"bytes",
        (),
        (1, ("two", 3.0)),
        {"key": (1, 2), b"raw": None},
        ActorRef("/a/b", 7),
        Down(ActorRef("/a", 1), 2, "stopped", restarting=False),
        freeze(np.arange(6.0).reshape(2, 3)),
        freeze(np.asfortranarray(np.arange(6.0).reshape(2, 3))),
        freeze(np.array([math.nan, -0.0])),
        np.float32(0.5),
    ],
)
def test_what_may_travel_passes(value: object) -> None:
    check_message(AnyValue(value))
    check_message(AnyValue((1, AnyValue(value))))


@message("check_message.shrinking")
class Shrinking:
    """Loses a key of its table when it is built once more."""

    table: dict[str, int]

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", dict(list(self.table.items())[1:]))


@pytest.mark.parametrize(
    ("bad", "found"),
    [
        (AnyValue([1]), "AnyValue.value is a list, which can be changed: send a tuple"),
        (AnyValue({1}), "AnyValue.value is a set, which can be changed: send a sorted tuple"),
        (AnyValue((0, bytearray(b"x"))), r"AnyValue.value\[1\] is a bytearray.*: send bytes"),
        (AnyValue({"k": [1]}), r"AnyValue.value\['k'\] is a list"),
        (AnyValue(1, AnyValue([1])), "AnyValue.second.value is a list"),
        (AnyValue(np.zeros(2)), r"AnyValue is mutable: .*writable array float64"),
        (AnyValue(Colour.RED), "AnyValue.value was a Colour and arrives as a int"),
        (AnyValue((0, Name("x"))), r"AnyValue.value\[1\] was a Name and arrives as a str"),
        (AnyValue(object()), "does not travel: .*object"),
        (AnyValue(2**64), "does not travel: .*64 bits"),
        (Typed("x"), "does not travel: MessageError: .*check_message.typed.number cannot be a str"),  # type: ignore[arg-type] # that is what is wrong
        (Losing(1), r"Losing does not arrive as it was sent: Losing.number was 2 and arrives as 3"),
        (Shrinking({"a": 1, "b": 2, "c": 3}), r"table was \{'b': 2, 'c': 3\} and arrives as \{'c': 3\}"),
        ("text", "str does not travel: UnregisteredMessage"),
    ],
)
def test_what_may_not_is_named(bad: object, found: str) -> None:
    with pytest.raises(ContractBroken, match=found):
        check_message(bad)
