"""Addresses with the numbers that they had in the record. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from actors.messages import ActorRef
from actors.tracing.payloads import Fields, read_payload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["Refs"]

# Beyond any number that a system gives.
UNKNOWN_FROM: Final = 1 << 62


class Refs:
    """Which ref is meant by a path: the one in recorded messages, so that those compare equal to it.

    Args:
        payloads: of the record; those that are empty say nothing.

    Raises:
        ProtocolError: one of them is damaged.
    """

    def __init__(self, payloads: Iterable[bytes]) -> None:
        self._known = {
            ref.path: ref for data in payloads if data for ref in _refs_in(read_payload(data).fields)
        }
        self._unknown = itertools.count(UNKNOWN_FROM)

    def of(self, path: str) -> ActorRef[Any]:
        """The address; with a number of its own if no message has it."""
        if path not in self._known:
            self._known[path] = ActorRef(path, next(self._unknown))
        return self._known[path]


def _refs_in(value: Any) -> Iterator[ActorRef[Any]]:
    if isinstance(value, ActorRef):
        yield value
    elif isinstance(value, Fields):
        yield from _refs_in(tuple(value.values.values()))
    elif isinstance(value, tuple):
        for entry in value:
            yield from _refs_in(entry)
    elif isinstance(value, Mapping):
        yield from _refs_in(tuple(value.values()))
