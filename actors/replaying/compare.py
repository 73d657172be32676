"""Two messages field by field: where they first differ, in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actors.messages import ActorRef
from actors.tracing.payloads import ArrayDigest, Fields, pack_payload, read_payload
from actors.wire import first_difference

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from actors.tracing.payloads import Payload
    from actors.wire import Packed

__all__ = ["Apart", "compare"]

SHOWN_CHARS_MAX = 200


@dataclass(frozen=True, slots=True)
class Apart:
    """The first difference of two messages.

    Attributes:
        field: its place, such as `nodes[0].gradient`; empty for the message as a whole.
        recorded: what the record has there.
        now: what is there now.
        at: index of the first entry that differs, of an array that was recorded whole; else None.
        note: more about two arrays; empty when nothing else is known.
    """

    field: str
    recorded: str
    now: str
    at: tuple[int, ...] | None = None
    note: str = ""


def compare(recorded: Payload, packed: Packed, ignore: Collection[str]) -> tuple[Apart | None, int]:
    """Compare a recorded message with one at rest.

    Args:
        recorded: with its arrays as hashes or whole.
        packed: the one of now.
        ignore: fields that may differ, each as `tag.field`.

    Returns:
        Where they first differ, None if they do not; and how many arrays were found equal before that.

    Raises:
        ProtocolError: the recorded one is damaged.
    """
    now = read_payload(pack_payload(packed, recorded.mode))
    walk = _Walk(ignore)
    return next(walk.over("", recorded.fields, now.fields), None), walk.arrays


class _Walk:
    """Goes through two messages side by side.

    Attributes:
        arrays: found equal so far.
    """

    def __init__(self, ignore: Collection[str]) -> None:
        self._ignore = ignore
        self.arrays = 0

    def over(self, at: str, recorded: Any, now: Any) -> Iterator[Apart]:
        match recorded, now:
            case Fields(tag=tag, values=before), Fields(tag=same, values=after) if tag == same:
                shown = {name: value for name, value in before.items() if f"{tag}.{name}" not in self._ignore}
                others = {name: value for name, value in after.items() if f"{tag}.{name}" not in self._ignore}
                yield from self._over_names(at, shown, others, "." if at else "")
            case ArrayDigest(), ArrayDigest():
                yield from self._over_arrays(at, recorded, now)
            case tuple(), tuple() if len(recorded) == len(now):
                for index, (before, after) in enumerate(zip(recorded, now, strict=True)):
                    yield from self.over(f"{at}[{index}]", before, after)
            case tuple(), tuple():
                yield Apart(at, f"{len(recorded)} entries", f"{len(now)} entries")
            case dict(), dict():
                yield from self._over_names(at, recorded, now, ".")
            case ActorRef(path=path), ActorRef(path=same) if path == same:
                return  # the numbers of refs are of one run
            case _ if type(recorded) is type(now) and repr(recorded) == repr(now):
                return  # not `==`: a nan is as good as the same nan
            case _:
                yield Apart(at, _shown(recorded), _shown(now))

    def _over_names(
        self, at: str, recorded: Mapping[Any, Any], now: Mapping[Any, Any], dot: str
    ) -> Iterator[Apart]:
        if recorded.keys() != now.keys():
            before, after = (f"the fields {', '.join(map(str, names))}" for names in (recorded, now))
            yield Apart(at, before, after)
            return
        for name, value in recorded.items():
            yield from self.over(f"{at}{dot}{name}", value, now[name])

    def _over_arrays(self, at: str, recorded: ArrayDigest, now: ArrayDigest) -> Iterator[Apart]:
        if recorded == now:
            self.arrays += 1
            return
        if recorded.order != now.order:
            yield Apart(at, f"{recorded} in {recorded.order} order", f"{now} in {now.order} order")
            return
        same = (recorded.dtype, recorded.shape) == (now.dtype, now.shape)
        if not same or recorded.raw is None or now.raw is None:
            yield Apart(at, str(recorded), str(now))
            return
        parted = first_difference(recorded.dtype, recorded.shape, recorded.order, recorded.raw, now.raw)
        if parted is None:  # the recorded bytes are not those of the recorded hash
            yield Apart(at, f"{recorded}, but its bytes are others", str(now))
            return
        note = (
            f"first at {list(parted.at)}: recorded {parted.before!r}, now {parted.now!r}; "
            f"{parted.entries} of {math.prod(recorded.shape)} entries differ, by {parted.largest:.6g} at most"
        )
        yield Apart(at, str(recorded), str(now), parted.at, note)


def _shown(value: Any) -> str:
    if isinstance(value, Fields):
        return f"a {value.tag}"
    text = str(value) if isinstance(value, ArrayDigest | ActorRef) else repr(value)
    return text if len(text) <= SHOWN_CHARS_MAX else f"{text[:SHOWN_CHARS_MAX]} ..."
