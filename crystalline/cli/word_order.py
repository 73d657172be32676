"""Commands about a file, which may be named first: `FILE COMMAND` is as good as `COMMAND FILE`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["command_first"]


def command_first(words: Sequence[str], commands: Collection[str], alone: str) -> list[str]:
    """The words with the command in front.

    Args:
        words: as they were typed.
        commands: the names of all commands. A file of such a name is written as `./NAME`.
        alone: the command that is meant where there is a file and no command.

    >>> command_first(["run.trace", "why", "/root"], {"why", "summary"}, "summary")
    ['why', 'run.trace', '/root']
    >>> command_first(["run.trace", "--json"], {"why", "summary"}, "summary")
    ['summary', 'run.trace', '--json']
    """
    first, rest = words[:1], list(words[1:])
    if not first or first[0] in commands or first[0].startswith("-"):
        return list(words)
    if not rest or rest[0].startswith("-"):
        return [alone, first[0], *rest]
    if rest[0] in commands or Path(first[0]).exists():  # what follows a file is a command, perhaps misspelt
        return [rest[0], first[0], *rest[1:]]
    return list(words)
