"""Two messages are compared to the bit, and the first field that differs is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from actors import ActorRef, freeze, message
from actors.replaying.compare import Apart, compare
from actors.tracing import pack_payload, read_payload
from actors.wire import Codec


@message("compared.inner")
class Inner:
    value: Any


@message("compared.outer")
class Outer:
    value: Any
    seconds: float = 0.0


@message("compared.other")
class Other:
    value: Any


def apart(before: Any, now: Any, mode: Any = "whole", ignore: tuple[str, ...] = ()) -> Apart | None:
    recorded = read_payload(pack_payload(Codec().pack(before), mode))
    found, _ = compare(recorded, Codec().pack(now), ignore)
    return found


SAME = [
    (1, 1),
    (float("nan"), float("nan")),
    ("text", "text"),
    ((1, (2, 3)), [1, [2, 3]]),
    ({"a": {"b": 1}}, {"a": {"b": 1}}),
    (ActorRef("/a", 1), ActorRef("/a", 2)),
    (Inner((Inner(1),)), Inner((Inner(1),))),
    (freeze(np.full(3, np.nan)), freeze(np.full(3, np.nan))),
]


@pytest.mark.parametrize(("before", "now"), SAME)
def test_the_same_is_the_same(before: Any, now: Any) -> None:
    assert apart(Outer(before), Outer(now)) is None


DIFFERENT = [
    (1, 2, "value", "1", "2"),
    (1, 1.0, "value", "1", "1.0"),
    (1, True, "value", "1", "True"),
    (0.0, -0.0, "value", "0.0", "-0.0"),
    ((1, 2), (1, 3), "value[1]", "2", "3"),
    ((1, 2), (1,), "value", "2 entries", "1 entries"),
    ({"a": {"b": 1}}, {"a": {"b": 2}}, "value.a.b", "1", "2"),
    ({"a": 1}, {"b": 1}, "value", "the fields a", "the fields b"),
    (ActorRef("/a", 1), ActorRef("/b", 1), "value", "/a", "/b"),
    (Inner((Inner(1),)), Inner((Inner(2),)), "value.value[0].value", "1", "2"),
    (Inner(1), Other(1), "value", "a compared.inner", "a compared.other"),
    ("x" * 500, "y" * 500, "value", f"'{'x' * 199} ...", f"'{'y' * 199} ..."),
]


@pytest.mark.parametrize(("before", "now", "field", "recorded", "shown"), DIFFERENT)
def test_the_first_field_that_differs_is_named(
    before: Any, now: Any, field: str, recorded: str, shown: str
) -> None:
    found = apart(Outer(before), Outer(now))
    assert found is not None
    assert (found.field, found.recorded, found.now) == (field, recorded, shown)


def test_fields_that_were_measured_do_not_count() -> None:
    assert apart(Outer(1, 0.1), Outer(1, 0.2), ignore=("compared.outer.seconds",)) is None
    assert apart(Outer(1, 0.1), Outer(1, 0.2), ignore=("compared.inner.seconds",)) is not None


ARRAYS = [
    (np.zeros(2, np.float32), np.zeros(3, np.float32), "<f4[2]", "<f4[3]"),
    (np.zeros(2, np.float32), np.zeros(2, np.float64), "<f4[2]", "<f8[2]"),
    (np.ones((2, 3)), np.asfortranarray(np.ones((2, 3))), "in C order", "in F order"),
    (np.array([0.0]), np.array([-0.0]), "<f8[1]", "<f8[1]"),
]


@pytest.mark.parametrize("mode", ["hash", "whole"])
@pytest.mark.parametrize(("before", "now", "recorded", "shown"), ARRAYS)
def test_arrays_differ_in_kind_shape_order_and_bits(
    mode: str, before: Any, now: Any, recorded: str, shown: str
) -> None:
    found = apart(Outer(freeze(before)), Outer(freeze(now)), mode)
    assert found is not None
    assert recorded in found.recorded
    assert shown in found.now


def test_of_whole_arrays_the_first_entry_is_shown() -> None:
    before, now = np.arange(12.0).reshape(3, 4), np.arange(12.0).reshape(3, 4)
    now[1, 2:] += 1
    found = apart(Outer(freeze(before)), Outer(freeze(now)))
    assert found is not None
    assert found.at == (1, 2)
    assert found.note == ("first at [1, 2]: recorded 6.0, now 7.0; 2 of 12 entries differ, by 1 at most")


def test_bytes_that_are_not_those_of_the_hash_are_told() -> None:
    packed = Codec().pack(Outer(freeze(np.zeros(2))))
    data = pack_payload(packed, "whole")
    digest = read_payload(data).arrays[0].digest
    recorded = read_payload(data.replace(digest, b"#" * 32))
    found, arrays = compare(recorded, packed, ())
    assert arrays == 0
    assert found is not None
    assert "its bytes are others" in found.recorded
