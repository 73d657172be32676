"""Long texts cut where the pre-tokenizer cuts as well, so that nothing needs to see a whole one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["pieces"]

# The library's records of a text take many times its memory; those of a piece are soon given back.
_PIECE_CHARACTERS = 1 << 16
# The pre-tokenizer never joins a space or a newline to what stands before it, other than white space.
_WORD_END = re.compile(r"(?<=\S)(?=[ \n])")


def pieces(text: str) -> Iterator[str]:
    """Cut a text so that the words, and hence the tokens, of the pieces are those of the text.

    Yields:
        At least one piece; a little over 65,536 characters each, where the text has spaces or newlines.
    """
    begin = 0
    while cut := _WORD_END.search(text, begin + _PIECE_CHARACTERS):
        yield text[begin : cut.start()]
        begin = cut.start()
    yield text[begin:]
