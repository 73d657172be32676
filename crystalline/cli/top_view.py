"""The picture of a living training as a table. Pure: pictures in, something to print out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.table import Table
from rich.text import Text

from actors.living.story import loop_line
from crystalline.cli.tables import printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import RenderableType

__all__ = ["head_lines", "messages_per_s", "rows", "view", "worry"]

# With the columns that each one keeps when the terminal is narrow.
_HEADS: Final = (
    *(("actor", 12), ("state", 11), ("life", 4), ("queued", 6), ("handles", 10), ("for", 6)),
    *(("waits for", 10), ("for", 6), ("", 2)),
)
_NUMBERS: Final = {"life", "queued", "for"}
# Told apart by the sign at the end of the line; colours only help.
_LOOKS: Final = {"": "", "!": "yellow", "!!": "bold red"}
_OTHER_LINES: Final = 8


def view(picture: Mapping[str, Any], before: Mapping[str, Any] | None, height: int) -> RenderableType:
    """Head, a row for each actor, and the jobs.

    Args:
        picture: as `actors.living.picture` makes it.
        before: an earlier one of the same process, from which rates are taken; None if there is none.
        height: lines; what does not fit is counted.
    """
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="bold")
    for head, width in _HEADS:
        table.add_column(head, justify="right" if head in _NUMBERS else "left", min_width=width)
    found = list(rows(picture))
    room = max(height - _OTHER_LINES, 3)
    for row in found[:room]:
        table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in row), style=_LOOKS[row[-1]])
    lines = [Text(line) for line in head_lines(picture, before)]
    if not picture["loop"]["answers"]:
        lines[-1].stylize(_LOOKS["!!"])
    hidden = len(found) - room + picture["left_out"]["actors"]
    more = [Text(f"and {hidden} actors more")] if hidden > 0 else []
    return Group(*lines, Text(), table, *more)


def head_lines(picture: Mapping[str, Any], before: Mapping[str, Any] | None) -> list[str]:
    """Counts and rates in words; the last line is about the event loop."""
    numbers = picture["statistics"]
    jobs, dead = numbers["jobs"], numbers["dead_letters"]
    rate = messages_per_s(picture, before)
    letters = ", ".join(f"{count} {printable(reason)}" for reason, count in dead.items())
    return [
        (
            f"{printable(picture['system'])}, process {picture['pid']}: {numbers['actors']} actors, "
            f"{numbers['messages']:,} messages{'' if rate is None else f', {rate:,.1f} a second'}, "
            f"{numbers['open_waits']} waits"
        ),
        (
            f"jobs: {jobs['running']} at work, {jobs['queued']} queued, {jobs['abandoned']} left behind; "
            f"dead letters: {letters or 'none'}"
        ),
        *[printable(f"job of {job['actor']}: {job['name']}, {job['seen']}") for job in picture["jobs"][:3]],
        printable(loop_line(picture["loop"])),
    ]


def messages_per_s(picture: Mapping[str, Any], before: Mapping[str, Any] | None) -> float | None:
    """Messages a second since an earlier picture; None without one of the same process."""
    if before is None or before["pid"] != picture["pid"]:
        return None
    passed_s: float = picture["time"] - before["time"]
    sent: int = picture["statistics"]["messages"] - before["statistics"]["messages"]
    return sent / passed_s if passed_s > 0 and sent >= 0 else None


def rows(picture: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """One for each actor, children below their parent and further to the right."""
    for node in picture["tree"]:
        yield from _rows(node, 0)


def _rows(node: Mapping[str, Any], depth: int) -> Iterator[tuple[str, ...]]:
    name = node["path"] if depth == 0 else node["path"].rpartition("/")[2]
    handles, wait = node["handles"], node["wait"]
    others = f" +{node['waits'] - 1}" if node["waits"] > 1 else ""
    yield (
        printable("  " * depth + name),
        printable(node["state"] if node["phase"] == "live" else f"{node['state']}, {node['phase']}"),
        str(node["incarnation"]),
        str(node["queued"]),
        printable(_handled(handles)),
        "" if handles is None else f"{handles['since_s']:.1f} s",
        "" if wait is None else printable(f"{wait['target']}{others}"),
        "" if wait is None else f"{wait['since_s']:.1f} s",
        worry(node),
    )
    for child in node["children"]:
        yield from _rows(child, depth + 1)


def _handled(handles: Mapping[str, Any] | None) -> str:
    if handles is None:
        return ""
    return f"{handles['type']} #{handles['message']}" if handles["message"] else "a hook"


def worry(node: Mapping[str, Any]) -> str:
    """`!!` for an actor that has used up more than half of its time, or whose mailbox is full; `!` for less.

    The time is that of the message it handles, when it waits for no other actor: then it is the one that all
    above it wait for. `!` marks one that is not live, or whose mailbox is half full.
    """
    handles, wait = node["handles"], node["wait"]
    last = wait is None or not wait["target"].startswith("/")
    if node["queued"] >= node["capacity"]:
        return "!!"
    if last and handles is not None and handles["since_s"] > handles["left_s"]:
        return "!!"
    return "!" if node["phase"] != "live" or 2 * node["queued"] >= node["capacity"] else ""
