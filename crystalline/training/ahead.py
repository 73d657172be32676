"""One thing ahead: the next is being made while the present one is in use."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator

__all__ = ["ahead"]

A = TypeVar("A")
T = TypeVar("T")

_CANCEL_S: Final = 1.0


async def ahead(make: Callable[[A], Coroutine[Any, Any, T]], wanted: Iterable[A]) -> AsyncGenerator[T]:
    """Yield what `make` makes of each of `wanted`, in order; the next one is begun before each yield.

    To be closed by `contextlib.aclosing`: that cancels what is being made and waits until it has ended.

    Args:
        make: makes one. An error of it is raised where the thing would have been yielded.
        wanted: what to make.
    """
    left = iter(wanted)
    under_way = _begun(make, left)
    try:
        while under_way is not None:
            made = await under_way
            under_way = _begun(make, left)
            yield made
    finally:
        if under_way is not None:
            under_way.cancel()
            await asyncio.wait([under_way], timeout=_CANCEL_S)
            if under_way.done() and not under_way.cancelled():
                under_way.exception()  # it has ended before; nobody wants to know how any more


def _begun(make: Callable[[A], Coroutine[Any, Any, T]], left: Iterator[A]) -> asyncio.Task[T] | None:
    for each in left:
        return asyncio.create_task(make(each))
    return None
