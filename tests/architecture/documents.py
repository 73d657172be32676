"""The documents for users, and the code blocks in them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.architecture.tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<code>.*?)^```$", flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        info: what stands behind the opening fence, such as `python`, `sh` or `sh run`.
        code: the lines between the fences.
        line: number of the first of them in its document, from 1.
    """

    info: str
    code: str
    line: int


def documents() -> list[Path]:
    """README.md, tests/README.md and everything below docs/."""
    return [ROOT / "README.md", ROOT / "tests" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(path: Path) -> list[Block]:
    """The fenced blocks of a document, in order."""
    text = path.read_text(encoding="utf-8")
    return [
        Block(found["info"].strip(), found["code"], text.count("\n", 0, found.start("code")) + 1)
        for found in FENCE.finditer(text)
    ]


def programs(path: Path) -> list[str]:
    """The programs in a document, each line at the number it has there.

    A document's `python` blocks form one program; those of README.md are each one of their own, since people
    copy them alone.
    """
    found = [block for block in blocks(path) if block.info == "python"]
    if path == ROOT / "README.md":
        return [_joined([block]) for block in found]
    return [_joined(found)] if found else []


def _joined(parts: list[Block]) -> str:
    rows: list[str] = []
    for block in parts:
        rows += [""] * (block.line - 1 - len(rows))
        rows += block.code.splitlines()
    return "\n".join(rows) + "\n"
