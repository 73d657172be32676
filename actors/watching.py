"""Who hears of whose ends, besides parents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from actors.delivery import Recipient
from actors.host import Phase
from actors.messages import Down

if TYPE_CHECKING:
    from actors.cell import Cell
    from actors.host import Host
    from actors.messages import ActorRef
    from actors.waits import Origin

__all__ = ["Watcher", "forget", "unwatch", "unwatch_all", "watch"]


class Watcher(Recipient, Protocol):
    """Whoever may hear of ends: an actor, or a receiver outside the tree."""

    @property
    def watched(self) -> list[Cell]:
        """Of whose ends this incarnation hears."""

    @property
    def hears(self) -> bool:
        """Whether it still reads what it is told."""

    @property
    def origin(self) -> Origin:
        """On whose behalf it watches."""


def watch(host: Host, watcher: Watcher, ref: ActorRef[Any]) -> None:
    """Have this incarnation of `watcher` hear of the ends of `ref`; at once, when nobody lives there now."""
    target = host.cells.get(ref.path)
    if target is None or target.ref != ref:
        down = Down(ref, 0, "no such actor", restarting=False)
        host.delivery.tell_system(watcher.origin, watcher, down)
        return
    if target in watcher.watched:
        return  # or whoever watches again whenever it hears of an end would hear of the same one for ever
    target.watchers[watcher.ref.path] = (watcher, watcher.incarnation)
    watcher.watched.append(target)
    _trace(host, "watch", watcher, ref)
    if target.phase is Phase.RESTARTING and target.parent is not watcher:  # a parent has heard of it
        down = Down(ref, target.incarnation, "between two lives", restarting=True)
        host.delivery.tell_system(watcher.origin, watcher, down)


def unwatch(host: Host, watcher: Watcher, ref: ActorRef[Any]) -> None:
    """Hear no more of the ends of `ref`; nothing happens when it was not watched."""
    target = host.cells.get(ref.path)
    if target is not None and target.ref == ref and target in watcher.watched:
        watcher.watched[:] = [other for other in watcher.watched if other is not target]
        target.watchers.pop(watcher.ref.path, None)
        _trace(host, "unwatch", watcher, ref)


def unwatch_all(watcher: Watcher) -> None:
    """Forget everything that an incarnation watched: it has ended."""
    for target in watcher.watched:
        target.watchers.pop(watcher.ref.path, None)
    watcher.watched.clear()


def forget(target: Cell) -> None:
    """Nobody watches an actor that has ended for good and has said so."""
    for watcher, _ in target.watchers.values():
        watcher.watched[:] = [other for other in watcher.watched if other is not target]
    target.watchers.clear()


def _trace(host: Host, kind: str, watcher: Watcher, ref: ActorRef[Any]) -> None:
    if host.tracer is not None:
        origin = watcher.origin
        host.tracer.emit(
            kind, origin.name, origin.incarnation, 0, origin.cause_id, ref.path, state=origin.state
        )
