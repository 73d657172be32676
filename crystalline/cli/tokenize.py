"""`crystalline tokenize`: a text as a model sees it, and ids as text."""

from __future__ import annotations

import json as json_format
import re
import sys
from contextlib import ExitStack
from pathlib import Path  # noqa: TC003  (typer reads the annotations at run time)
from typing import TYPE_CHECKING, Annotated, BinaryIO, Final

import typer

from crystalline.cli.model_argument import ModelOrTokenizer  # noqa: TC001  (typer reads the annotations at run time)
from crystalline.cli.output import put_out
from crystalline.cli.vocabulary import Entries, open_tokenizer, readable_as_special, valid_text, visible
from crystalline.data import decoded, encode_stream
from crystalline.errors import CorpusError, SettingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from tokenizers import Tokenizer

__all__ = ["parsed_ids", "tokenize"]

_CHUNK_BYTES: Final = 1 << 16
_STANDARD_INPUT: Final = "-"
_PLACE_WIDTH: Final = 8


def tokenize(
    model: ModelOrTokenizer,
    text: Annotated[
        str | None,
        typer.Argument(
            metavar="TEXT", help="The text; without it, or for -, standard input.", show_default=False
        ),
    ] = None,
    *,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Read the text from a file instead; - as above.")
    ] = None,
    ids: Annotated[bool, typer.Option("--ids", help="Print the ids alone, on one line.")] = False,
    count: Annotated[bool, typer.Option("--count", help="Print the number of tokens alone.")] = False,
    decode: Annotated[
        str | None, typer.Option(metavar="IDS", help="Print the text of these ids, such as 17,4,301.")
    ] = None,
    special: Annotated[
        bool,
        typer.Option("--special", help="Read special tokens that are written in the text as such."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Show a text as a model sees it: in tokens.

    A line for each token: its place, its id, its piece of the text. White space is made visible as ␣, ⏎ and
    ⇥; a byte that is a part of a character is written as <E2>.

    The tokens are those of the text alone: what a model puts before a prompt is not shown. A text of any
    length is read bit by bit.

    With --json the object has tokens (a list of id and piece), count and bytes; with --count the last two.
    """
    _check(ids=ids, count=count, json=json, text=text, file=file, decode=decode)
    tokenizer = readable_as_special(open_tokenizer(model), special=special)
    if decode is not None:
        put_out(_text_of(tokenizer, parsed_ids(decode, Entries(tokenizer).size), json=json))
        return
    with ExitStack() as stack:
        texts = _Counted(_texts(text, file, stack))
        runs = encode_stream(tokenizer, texts)
        if count:
            tokens = sum(map(len, runs))
            put_out(json_format.dumps({"count": tokens, "bytes": texts.size}) if json else str(tokens))
        else:
            show = _show_json if json else _show_ids if ids else _show_table
            show(Entries(tokenizer), runs, lambda: texts.size)


def _check(
    *, ids: bool, count: bool, json: bool, text: str | None, file: Path | None, decode: str | None
) -> None:
    sources = [
        name for name, given in (("TEXT", text), ("--file", file), ("--decode", decode)) if given is not None
    ]
    if len(sources) > 1:
        raise SettingError(f"{' and '.join(sources)} are given: choose one of them")
    forms = [name for name, given in (("--ids", ids), ("--count", count), ("--json", json)) if given]
    if len(forms) > 1 and forms != ["--count", "--json"]:
        raise SettingError(f"{' and '.join(forms)} are given: choose one of them")
    if decode is not None and (ids or count):
        raise SettingError(f"--decode and {forms[0]} are given: choose one of them")


def parsed_ids(text: str, size: int) -> list[int]:
    """Token ids with commas or spaces between them.

    Raises:
        SettingError: one is not a number in [0, size).
    """
    words = [word for word in re.split(r"[\s,]+", text.strip().strip("[]")) if word]
    for word in words:
        if not (word.isascii() and word.isdigit() and len(word) <= len(str(size)) and int(word) < size):
            raise SettingError(f"--decode: {word!r} is no token id: give numbers from 0 to {size - 1}")
    return [int(word) for word in words]


def _text_of(tokenizer: Tokenizer, ids: list[int], *, json: bool) -> str:
    text = tokenizer.decode(ids, skip_special_tokens=False)
    return json_format.dumps({"text": text}) if json else text


class _Counted:
    """Texts, and how many bytes have gone by."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = texts
        self.size = 0

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            self.size += len(text.encode())
            yield text


def _texts(text: str | None, file: Path | None, stack: ExitStack) -> Iterable[str]:
    if text is not None and text != _STANDARD_INPUT:
        return [valid_text(text, "TEXT")]
    if file is None or str(file) == _STANDARD_INPUT:
        return decoded(_chunks(sys.stdin.buffer), "standard input")
    try:
        opened = stack.enter_context(file.open("rb"))
    except OSError as error:
        raise CorpusError(f"{file} cannot be read ({error.strerror}): name a text file") from error
    return decoded(_chunks(opened), str(file))


def _chunks(opened: BinaryIO) -> Iterator[bytes]:
    while chunk := opened.read(_CHUNK_BYTES):
        yield chunk


def _show_table(entries: Entries, runs: Iterable[list[int]], _size: Callable[[], int]) -> None:
    width = max(len(str(entries.size)), len("id"))
    place, head = 0, f"{'place':>{_PLACE_WIDTH}}  {'id':>{width}}  piece\n"
    for run in runs:
        lines = (
            f"{place + number:>{_PLACE_WIDTH}}  {token:>{width}}  {visible(entries.content(token))}"
            for number, token in enumerate(run)
        )
        put_out(head + "\n".join(lines))
        place, head = place + len(run), ""


def _show_ids(_entries: Entries, runs: Iterable[list[int]], _size: Callable[[], int]) -> None:
    before = ""
    for run in runs:
        put_out(before + " ".join(map(str, run)), end="")
        before = " "
    put_out("")


def _show_json(entries: Entries, runs: Iterable[list[int]], size: Callable[[], int]) -> None:
    """One object, written while the text is read."""
    count, before = 0, '{"tokens": ['
    for run in runs:
        pieces = ({"id": token, "piece": visible(entries.content(token))} for token in run)
        put_out(before + ", ".join(map(json_format.dumps, pieces)), end="")
        count, before = count + len(run), ", "
    opening = "" if count else '{"tokens": ['
    put_out(f'{opening}], "count": {count}, "bytes": {size()}}}')
