"""From the markup that Debian's documents come in to their text. Pure."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Final

__all__ = ["dictionary_text", "html_text", "plain_text"]

# Each begins a paragraph and ends one, or begins a line; everything else stands within a line.
_PARAGRAPHS: Final = frozenset(
    {"address", "article", "blockquote", "body", "caption", "div", "dl", "footer", "form", "h1", "h2", "h3"}
    | {"h4", "h5", "h6", "header", "hr", "main", "nav", "ol", "p", "pre", "section", "table", "ul"}
)
_LINES: Final = frozenset({"br", "dd", "dt", "li", "td", "th", "tr"})
_UNREAD: Final = frozenset({"head", "script", "style"})
_SPACE: Final = re.compile(r"[ \t\r\f\v\n]+")
_BLANK_LINES: Final = re.compile(r"\n(?:[ \t]*\n){2,}")
_REFERENCE: Final = re.compile(r"\{([^{}]*)\}")
# Which edition a paragraph is from, on a line by itself: some 200,000 of them in one dictionary.
_EDITION: Final = re.compile(r"^ *\[[^\]\n]*(?:Webster|WordNet|PJC)[^\]\n]*\]$\n?", re.MULTILINE)


class _Reader(HTMLParser):
    """Collects text; `pre` keeps its lines, all other white space is one space."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.parts: list[str] = []
        self._unread = self._verbatim = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        del attrs
        self._unread += tag in _UNREAD
        self._verbatim += tag == "pre"
        if tag in _LINES:
            self.parts.append("\n")
        self._paragraph(tag)

    def handle_endtag(self, tag: str) -> None:
        self._unread = max(0, self._unread - (tag in _UNREAD))
        self._verbatim = max(0, self._verbatim - (tag == "pre"))
        self._paragraph(tag)

    def handle_data(self, data: str) -> None:
        if not self._unread:
            self.parts.append(data if self._verbatim else _SPACE.sub(" ", data))

    def _paragraph(self, tag: str) -> None:
        if tag in _PARAGRAPHS:
            self.parts.append("\n\n")


def html_text(content: bytes) -> str:
    """The text of a page, a blank line between paragraphs; what stands in its head is left out.

    >>> html_text(b"<head><title>T</title></head><p>One &amp;\\n <i>two</i>.</p><p>Three.")
    'One & two.\\n\\nThree.\\n'
    """
    reader = _Reader()
    reader.feed(_decoded(content))
    reader.close()
    lines = (line.strip(" ") for line in "".join(reader.parts).split("\n"))
    return _tidy("\n".join(lines))


def dictionary_text(content: bytes) -> str:
    """The text of a dictd dictionary, without the braces of its references and the names of its editions.

    >>> dictionary_text(b"Feel\\n   1. See {Feeler}.\\n   [1913 Webster]\\n")
    'Feel\\n   1. See Feeler.\\n'
    """
    return _tidy(_EDITION.sub("", _REFERENCE.sub(r"\1", _decoded(content))))


def plain_text(content: bytes) -> str:
    """A text that needs no change, such as reStructuredText, but for too many blank lines."""
    return _tidy(_decoded(content))


def _decoded(content: bytes) -> str:
    # A stray byte of another encoding is left out; a replacement character would be learnt.
    return content.decode(errors="ignore").removeprefix("\ufeff").replace("\r\n", "\n").replace("\0", "")


def _tidy(text: str) -> str:
    text = _BLANK_LINES.sub("\n\n", text).strip("\n")
    return f"{text}\n" if text.strip() else ""
