"""What a trace event keeps of a message can be read back, and hostile bytes are refused."""

from __future__ import annotations

import hashlib
from typing import Any

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import ActorRef, Down, ProtocolError, freeze, message
from actors.tracing import ArrayDigest, Fields, pack_arguments, pack_payload, read_payload
from actors.tracing.payloads import Arguments
from actors.wire import EXT_ARRAY, EXT_REF, Codec, first_difference, memory_of

Array = np.ndarray[Any, Any]


@message("payloads.part")
class Part:
    name: str
    data: Array


@message("payloads.whole")
class Whole:
    number: int
    parts: tuple[Part, ...]
    by_name: dict[str, Any]
    ref: ActorRef[Any]


def example() -> Whole:
    first = freeze(np.arange(6, dtype=np.float32).reshape(2, 3))
    second = freeze(np.asfortranarray(np.ones((3, 2))))
    gaps = freeze(np.arange(10)[::3])
    return Whole(7, (Part("a", first), Part("b", second)), {"gaps": gaps}, ActorRef("/a", 3))


@pytest.mark.parametrize("mode", ["hash", "whole"])
def test_the_fields_can_be_looked_at(mode: Any) -> None:
    body = example()
    payload = read_payload(pack_payload(Codec().pack(body), mode))
    assert payload.tag == "payloads.whole"
    assert payload.mode == mode
    values = payload.fields.values
    assert (values["number"], values["ref"]) == (7, ActorRef("/a", 3))
    assert [type(part) for part in values["parts"]] == [Fields, Fields]
    first, second = (part.values["data"] for part in values["parts"])
    assert (first.dtype, first.shape, first.order) == ("<f4", (2, 3), "C")
    assert (second.dtype, second.shape, second.order) == ("<f8", (3, 2), "F")
    assert first.digest == hashlib.sha256(body.parts[0].data.tobytes()).digest()
    assert values["by_name"]["gaps"].digest == hashlib.sha256(np.arange(10)[::3].tobytes()).digest()


def test_what_was_kept_whole_is_the_message_again() -> None:
    body = example()
    made = read_payload(pack_payload(Codec().pack(body), "whole")).rebuild()
    assert isinstance(made, Whole)
    assert (made.number, made.ref) == (body.number, body.ref)
    for part, same in zip(made.parts, body.parts, strict=True):
        np.testing.assert_array_equal(part.data, same.data)
        assert not part.data.flags.writeable
    np.testing.assert_array_equal(made.by_name["gaps"], body.by_name["gaps"])


def test_hashes_alone_make_no_message() -> None:
    payload = read_payload(pack_payload(Codec().pack(example()), "hash"))
    with pytest.raises(ProtocolError, match='payloads="whole"'):
        payload.rebuild()


def test_a_message_without_arrays_is_whole_either_way() -> None:
    down = Down(ActorRef("/a", 1), 2, "stopped", restarting=False)
    assert read_payload(pack_payload(Codec().pack(down), "hash")).rebuild() == down


def test_an_array_is_not_copied_to_be_hashed() -> None:
    for array in (np.ones((4, 5)), np.asfortranarray(np.ones((4, 5)))):
        assert np.shares_memory(np.frombuffer(memory_of(array), np.uint8), array)


def test_a_class_that_is_not_known_can_be_looked_at() -> None:
    data = msgpack.packb(("payloads.from-elsewhere", msgpack.packb((1, "x")), []))
    payload = read_payload(data)
    assert payload.fields == Fields("payloads.from-elsewhere", {"0": 1, "1": "x"})
    with pytest.raises(ProtocolError, match="import the module"):
        payload.rebuild()


def test_arguments_that_cannot_travel_are_named() -> None:
    packed = pack_arguments((1, object(), [2, 3]), {"name": "x", "weights": np.ones(2)}, "whole")
    given_again = read_payload(packed).rebuild()
    assert isinstance(given_again, Arguments)
    assert given_again.args == (1, None, (2, 3))
    assert given_again.kwargs == {"name": "x", "weights": None}
    assert [text.split(":")[0] for text in given_again.missing] == ["1", "weights"]


def test_too_many_arguments_are_left_out_together() -> None:
    given_again = read_payload(pack_arguments(("x" * 50_000, "y" * 50_000), {}, "whole")).rebuild()
    assert given_again.args == ()
    assert [text.split(":")[0] for text in given_again.missing] == ["all"]


def digest(
    dtype: Any = "<f4", shape: Any = (2,), order: Any = "C", sha: Any = b"h" * 32, raw: Any = None
) -> Any:
    return (dtype, shape, order, sha, raw)


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"\xc1",
        msgpack.packb(7),
        msgpack.packb(("tag", b"\x90")),
        msgpack.packb((7, b"\x90", [])),
        msgpack.packb(("tag", b"\x90", {})),
        msgpack.packb(("tag", b"\x90", [digest(dtype="O")])),
        msgpack.packb(("tag", b"\x90", [digest(dtype="|V8")])),
        msgpack.packb(("tag", b"\x90", [digest(sha=b"short")])),
        msgpack.packb(("tag", b"\x90", [digest(shape=(-1,))])),
        msgpack.packb(("tag", b"\x90", [digest(shape=(True,))])),
        msgpack.packb(("tag", b"\x90", [digest(shape=(1,) * 40)])),
        msgpack.packb(("tag", b"\x90", [digest(order="K")])),
        msgpack.packb(("tag", b"\x90", [digest(raw=b"1234567")])),
        msgpack.packb(("tag", b"\x90", [digest(shape=(1 << 60, 1 << 60), raw=b"")])),
        msgpack.packb(("tag", b"\x90" * 70_000, [])),
        msgpack.packb(("tag", b"\x90", [digest()] * 5000)),
        msgpack.packb(msgpack.ExtType(1, b"x")),
    ],
)
def test_what_is_no_payload_is_refused(entry: bytes) -> None:
    with pytest.raises(ProtocolError):
        read_payload(entry)


@pytest.mark.parametrize(
    "fields",
    [
        b"\xc1",
        b"\x01",
        msgpack.packb((msgpack.ExtType(EXT_ARRAY, msgpack.packb((1, "<f4", (2,), "C"))),)),
        msgpack.packb((msgpack.ExtType(EXT_REF, msgpack.packb((1, 2))),)),
        msgpack.packb((msgpack.ExtType(99, b"\x01"),)),
        b"\x91\xd6\xff\0\0\0\5",
        b"\x91" * 500 + b"\x01",
        msgpack.packb(({1: 2},)),
    ],
)
def test_fields_that_say_nothing_known_are_refused(fields: bytes) -> None:
    payload = read_payload(msgpack.packb(("tag", fields, [digest()])))
    with pytest.raises(ProtocolError):
        _ = payload.fields


@given(st.binary(max_size=200), st.integers(0, 5000), st.sampled_from(["hash", "whole"]))
def test_damage_is_seen_or_harmless(noise: bytes, at: int, mode: Any) -> None:
    good = pack_payload(Codec().pack(example()), mode)
    at %= len(good)
    damaged = good[:at] + noise + good[at + len(noise) :]
    try:
        payload = read_payload(damaged)
        assert isinstance(payload.fields, Fields)
        payload.rebuild()
    except ProtocolError:
        return


def test_the_first_entry_that_differs_is_found() -> None:
    before = np.arange(6.0).reshape(2, 3)
    now = before.copy()
    now[1, 1] = np.nextafter(4.0, 5.0)
    now[1, 2] += 0.5
    parted = first_difference("<f8", (2, 3), "C", memory_of(before), memory_of(now))
    assert parted is not None
    assert (parted.at, parted.before, parted.now) == ((1, 1), 4.0, np.nextafter(4.0, 5.0))
    assert (parted.entries, parted.largest) == (2, 0.5)
    assert first_difference("<f8", (2, 3), "C", memory_of(before), memory_of(before.copy())) is None


def test_bits_count_not_values() -> None:
    zeros, minus = np.zeros(2, np.float32), -np.zeros(2, np.float32)
    parted = first_difference("<f4", (2,), "C", memory_of(zeros), memory_of(minus))
    assert parted is not None
    assert (parted.at, parted.largest) == ((0,), 0.0)
    nans = np.full(2, np.nan, np.float32)
    assert first_difference("<f4", (2,), "C", memory_of(nans), memory_of(nans.copy())) is None


def test_two_digests_are_compared_by_hash() -> None:
    one = ArrayDigest("<f4", (2,), "C", b"h" * 32, b"12345678")
    assert one == ArrayDigest("<f4", (2,), "C", b"h" * 32)
    assert one != ArrayDigest("<f4", (2,), "C", b"g" * 32, b"12345678")
