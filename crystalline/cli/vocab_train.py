"""`crystalline vocab train`: a tokenizer without a model."""

from __future__ import annotations

import json as json_format
import threading
from pathlib import Path  # noqa: TC003  (typer reads the annotations at run time)
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from crystalline.cli.long import bar, ending_cleanly
from crystalline.cli.output import new_file, put_out, write_whole
from crystalline.data import Corpus, train_tokenizer
from crystalline.model import ModelConfig

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["train"]

_T = TypeVar("_T")


def train(
    data: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DATA",
            help="Text files, or folders of them. Without any: text that Python itself carries.",
            show_default=False,
        ),
    ] = None,
    *,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write it.")],
    vocab_size: Annotated[int, typer.Option(help="Most entries.")] = ModelConfig().vocab_size,
    force: Annotated[bool, typer.Option("--force", help="Replace the file in --out.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Learn a tokenizer from text.

    It is the one that `crystalline train` learns from the same text: byte-level BPE, which every program
    that reads tokenizer.json opens. A small text may give fewer entries than --vocab-size, since pairs that
    are seen once are not merged.

    The file is written as a whole or not at all.
    """
    new_file(out, force=force)
    with ending_cleanly():
        corpus = Corpus.from_paths(data) if data else Corpus.builtin()
        begun_s = perf_counter()
        with bar(f"learning from {corpus.name}, {corpus.size_bytes:,} bytes") as show:
            tokenizer = _beside(lambda: train_tokenizer(corpus, vocab_size, heard=_telling(show)))
        seconds = perf_counter() - begun_s
    write_whole(out, tokenizer.to_str())
    entries = tokenizer.get_vocab_size()
    if json:
        answer = {"tokenizer": str(out), "entries": entries, "bytes": corpus.size_bytes, "seconds": seconds}
        put_out(json_format.dumps(answer))
        return
    typer.echo(f"{entries:,} entries from {corpus.size_bytes:,} bytes in {seconds:.1f} s", err=True)
    typer.echo(f"tokenizer: {out}", err=True)


def _telling(show: Callable[[float | None, str], None]) -> Callable[[float], None]:
    return lambda part: show(part, "reading") if part < 1 else show(None, "learning merges")


def _beside(work: Callable[[], _T]) -> _T:
    """The result of some work in a thread, so that this one hears signals while it lasts."""
    ended: list[_T | BaseException] = []

    def do() -> None:
        try:
            ended.append(work())
        except BaseException as error:  # noqa: BLE001  (raised below, in the thread that asked)
            ended.append(error)

    thread = threading.Thread(target=do, daemon=True)
    thread.start()
    thread.join()
    if isinstance(ended[0], BaseException):
        raise ended[0]
    return ended[0]
