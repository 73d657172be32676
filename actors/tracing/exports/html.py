"""A trace as one HTML page that needs nothing else: `page/` beside this file has its parts."""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from actors.tracing.exports.export import replacing
from actors.tracing.exports.page_columns import columns
from actors.tracing.exports.page_head import head_of
from actors.tracing.exports.spans import spans

if TYPE_CHECKING:
    from pathlib import Path

    from actors.tracing.reading import Trace

__all__ = ["write_html"]

# In the order in which they are read: each uses names of those before it, and only functions those after it.
_SCRIPTS: Final = (
    "base",
    "theme",
    "data",
    "model",
    "filter",
    "lanes",
    "layout",
    "view",
    "symbols",
    "arrows",
    "painter",
    "hit",
    "minimap",
    "story",
    "search",
    "rows",
    "panel",
    "address",
    "input",
    "app",
    "main",
)


def write_html(trace: Trace, path: Path, *, title: str = "") -> None:
    """Write a page that shows a trace: a timeline of every actor, arrows, search, and the story of anything.

    The page is one file that works without a network, which it is also forbidden to use. It shows a million
    events; docs/decisions/0059-a-page-of-a-million-events.md says how.

    Args:
        trace: what is to be shown.
        path: the file; it is replaced when the page is complete.
        title: what stands above the page, by default the name of the file without its ending.

    Raises:
        OSError: it cannot be written; what was there is still there.
        ProtocolError: the trace cannot be read.
    """
    tables = columns(spans(trace))
    head = head_of(trace, tables, title or path.stem)
    style = _text("page.css")
    script = _script()
    page = _text("page.html")
    before, _, after = page.partition("@DATA@")
    with replacing(path) as file:
        file.write(before.replace("@POLICY@", _policy(script, style)).replace("@STYLE@", style))
        file.write(f'<script type="application/json" id="head">{_json(head)}</script>\n')
        for name, type_, data in tables.packed():
            file.write(
                f'<script type="text/plain" data-column="{name}" data-type="{type_}">{data}</script>\n'
            )
        file.write(after.replace("@SCRIPT@", script))


def _text(name: str) -> str:
    return (resources.files("actors.tracing.exports") / "page" / name).read_text(encoding="utf-8")


def _script() -> str:
    """All scripts as one, whose names nothing else can see."""
    parts = "\n".join(_text(f"{name}.js") for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}}})();'


def _policy(script: str, style: str) -> str:
    """What the page may do: run this script, have this style, and nothing else."""
    hashes = {
        name: base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for name, text in (("script", script), ("style", style))
    }
    return (
        f"default-src 'none'; script-src 'sha256-{hashes['script']}'; style-src 'sha256-{hashes['style']}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _json(value: Any) -> str:
    """JSON that may stand inside a script element: no text in it can end that."""
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
