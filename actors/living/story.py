"""A picture in words, and the dump: the picture, and where every thread, handler and job stands."""

from __future__ import annotations

import sys
import threading
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from actors.exits import stacks_of
from actors.living.looking import Look, from_outside

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actors.system import ActorSystem

__all__ = ["DUMP_CHARS_MAX", "actor_line", "dump_text", "loop_line", "picture_lines", "wait_lines"]

DUMP_CHARS_MAX: Final = 1_000_000
_DEPTH_MAX: Final = 100


def dump_text(system: ActorSystem, look: Look | None = None) -> str:
    """Everything that helps to see why a system stands still: tree, waits, and all stacks.

    To be called in any thread but that of the event loop, which need not answer.
    """
    host = system.host
    try:
        parts = picture_lines((look or Look(system)).picture())
    except Exception as error:  # noqa: BLE001 - the stacks are worth having all the same
        parts = [f"no picture: {type(error).__name__}: {error}"]
    tasks = from_outside(lambda: stacks_of(dict(host.tasks)))
    strays = from_outside(lambda: stacks_of(dict(host.strays)))
    parts += ["", "handlers:", *_stacks(tasks)]
    if strays:
        parts += ["", "handlers that were given up and have not ended:", *_stacks(strays)]
    parts += ["", "jobs:", *_stacks(host.executor.stacks()), "", "threads:", *_stacks(thread_stacks())]
    text = "\n".join(parts)
    return text if len(text) <= DUMP_CHARS_MAX else f"{text[:DUMP_CHARS_MAX]}\n... cut off"


def picture_lines(picture: dict[str, Any]) -> list[str]:
    """A picture as lines of text."""
    moment = datetime.fromtimestamp(picture["time"], UTC).isoformat(timespec="milliseconds")
    lines = [
        f"actor system {picture['system']!r}, process {picture['pid']}, {moment}",
        loop_line(picture["loop"]),
    ]
    lines += ["", "actors:", *_tree(picture["tree"], 0)]
    lines += ["", "waits:", *(wait_lines(picture["waits"]) or ["none"])]
    lines += ["", "statistics:", *(f"{name}: {value}" for name, value in picture["statistics"].items())]
    left_out = {what: number for what, number in picture["left_out"].items() if number}
    return lines + [f"left out: {number} {what}" for what, number in left_out.items()]


def loop_line(loop: dict[str, Any]) -> str:
    """Whether the event loop answers, and if not, who holds it."""
    if loop["answers"]:
        return "the event loop answers"
    held = f"the event loop has not answered for {loop['silent_s']:.1f} s: {loop['actor']} {loop['place']}"
    return held.rstrip()


def actor_line(node: dict[str, Any]) -> str:
    """An actor in words, without its path."""
    words = [f"{node['actor']}, life {node['incarnation']}", node["state"]]
    if node["phase"] != "live":
        words.append(node["phase"])
    words.append(f"{node['queued']} queued")
    if (handles := node["handles"]) is not None:
        what = f"message {handles['message']} ({handles['type']})" if handles["message"] else "a hook"
        words.append(f"handles {what} for {handles['since_s']:.1f} s")
    if (wait := node["wait"]) is not None:
        more = f" and {node['waits'] - 1} more" if node["waits"] > 1 else ""
        words.append(f"waits for {wait['target']} for {wait['since_s']:.1f} s{more}")
    return ", ".join(words)


def wait_lines(waits: Sequence[dict[str, Any]]) -> list[str]:
    """Waits as a forest: below each wait those of whoever is waited for; the oldest first."""
    by_waiter: dict[str, list[dict[str, Any]]] = {}
    for wait in waits:
        by_waiter.setdefault(wait["waiter"], []).append(wait)
    targets = {wait["target"] for wait in waits}
    roots = [wait for wait in waits if wait["waiter"] not in targets]
    shown: set[int] = set()
    lines = [line for wait in roots for line in _wait_tree(wait, by_waiter, shown, 0)]
    # In a circle everybody is waited for.
    return lines + [line for wait in waits for line in _wait_tree(wait, by_waiter, shown, 0)]


def thread_stacks() -> dict[str, str]:
    """Where every Python thread stands."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    return {
        f"thread {names.get(ident, 'of another kind')} ({ident})": "".join(traceback.format_stack(frame))
        for ident, frame in sys._current_frames().items()  # noqa: SLF001 - the documented way to look at other threads
    }


def _wait_tree(
    wait: dict[str, Any], by_waiter: dict[str, list[dict[str, Any]]], shown: set[int], depth: int
) -> Iterator[str]:
    if id(wait) in shown or depth > _DEPTH_MAX:
        return
    shown.add(id(wait))
    yield (
        f"{'    ' * depth}{wait['waiter']} waits for {wait['target']} ({wait['reason']}) "
        f"for {wait['since_s']:.1f} s, {wait['left_s']:.1f} s left"
    )
    for below in by_waiter.get(wait["target"], ()):
        yield from _wait_tree(below, by_waiter, shown, depth + 1)


def _tree(nodes: Sequence[dict[str, Any]], depth: int) -> Iterator[str]:
    for node in nodes:
        yield f"{'    ' * depth}{node['path']}: {actor_line(node)}"
        yield from _tree(node["children"], depth + 1)


def _stacks(stacks: dict[str, str]) -> list[str]:
    return [f"{name}:\n{stack.rstrip()}" for name, stack in stacks.items()] or ["none"]
