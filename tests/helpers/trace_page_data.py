"""Reads a page that `write_html` has written, without a browser: its head, and its columns."""

from __future__ import annotations

import base64
import json
import re
import struct
import zlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["PageData"]

_HEAD = re.compile(r'<script type="application/json" id="head">(.*?)</script>', re.DOTALL)
_COLUMN = re.compile(
    r'<script type="text/plain" data-column="([\w.]+)" data-type="(\w+)">([^<]*)</script>', re.DOTALL
)


class PageData:
    """What is in a page.

    Attributes:
        html: all of it.
        head: its head.
        strings: its texts.
        columns: its columns, by name.
    """

    def __init__(self, path: Path) -> None:
        self.html = path.read_text(encoding="utf-8")
        head = _HEAD.search(self.html)
        assert head is not None
        self.head: dict[str, Any] = json.loads(head[1])
        self.strings: list[str] = []
        self.columns: dict[str, list[float]] = {}
        for name, type_, text in _COLUMN.findall(self.html):
            data = zlib.decompress(base64.b64decode(text, validate=True))
            if type_ == "json":
                self.strings = json.loads(data)
            else:
                letter, size = {"f8": ("d", 8), "i4": ("i", 4)}[type_]
                self.columns[name] = list(struct.unpack(f"<{len(data) // size}{letter}", data))

    def texts(self, name: str) -> list[str]:
        """A column of texts."""
        return [self.strings[int(index)] for index in self.columns[name]]

    def table(self, name: str) -> dict[str, list[float]]:
        """The columns of a table."""
        prefix = f"{name}."
        found = {key.removeprefix(prefix): of for key, of in self.columns.items() if key.startswith(prefix)}
        assert len({len(of) for of in found.values()}) == 1, "columns of one table are as long as each other"
        return found
