"""`crystalline vocab show`: what is in a vocabulary, and how it fits a text."""

from __future__ import annotations

import json as json_format
from collections import Counter
from dataclasses import dataclass
from pathlib import Path  # noqa: TC003  (typer reads the annotations at run time)
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import typer

from crystalline.cli.long import bar, ending_cleanly
from crystalline.cli.model_argument import ModelOrTokenizer  # noqa: TC001  (typer reads the annotations at run time)
from crystalline.cli.output import put_out
from crystalline.cli.tables import number, table
from crystalline.cli.vocabulary import (
    Entries,
    Kind,
    open_tokenizer,
    readable_as_special,
    valid_text,
    visible,
)
from crystalline.data import Corpus, encode_stream

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from tokenizers import Tokenizer

__all__ = ["Fit", "bars", "measure_fit", "show"]

_LISTED_MAX: Final = 10
_FOUND_MAX: Final = 50
_BAR_WIDTH: Final = 40
_EIGHTHS: Final = " ▏▎▍▌▋▊▉█"
_LENGTHS_SHOWN: Final = 16


def show(
    model: ModelOrTokenizer,
    data: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="DATA", help="Text files, or folders of them, to measure it on.", show_default=False
        ),
    ] = None,
    *,
    search: Annotated[
        str | None, typer.Option(metavar="TEXT", help="List the entries that contain this text.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Show what is in a vocabulary, and how it fits a text.

    How many entries there are and of which kinds, how long they are, and the longest ones. With DATA also:
    bytes per token, tokens per word (what stands between white space), the most frequent tokens, and how
    many entries the text never uses.

    White space is made visible as ␣, ⏎ and ⇥; a byte that is a part of a character is written as <E2>.
    """
    sought = None if search is None else valid_text(search, "--search").encode()
    tokenizer = readable_as_special(open_tokenizer(model), special=True)
    entries = Entries(tokenizer)
    with ending_cleanly("interrupted"):
        fit = measure_fit(tokenizer, entries, Corpus.from_paths(data)) if data else None
    found = None if sought is None else [token for token in entries if sought in entries.content(token)]
    if json:
        put_out(json_format.dumps(_object(model, entries, fit, found), allow_nan=False))
        return
    parts = [_kinds(entries), _lengths(entries), _listed(entries, "longest entries", _longest(entries))]
    if fit is not None:
        parts += [_fit_lines(fit), _frequent_lines(entries, fit)]
    if found is not None:
        parts.append(_found_lines(entries, search or "", found))
    put_out("\n\n".join("\n".join(part) for part in parts))


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """How a vocabulary fits a text.

    Attributes:
        text_bytes: the text's length in UTF-8.
        words: what stands between white space.
        counts: how often each id occurs (size,).
        unused: ids of entries that never occur, rising.
    """

    text_bytes: int
    words: int
    counts: NDArray[np.int64]
    unused: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """The text's length in tokens."""
        return int(self.counts.sum())

    def frequent(self, most: int) -> list[int]:
        """The ids that occur most often, the most frequent first; of equals the lower id first."""
        ranked = np.argsort(-self.counts, kind="stable")[:most]
        return [int(token) for token in ranked if self.counts[token]]


def measure_fit(tokenizer: Tokenizer, entries: Entries, corpus: Corpus) -> Fit:
    """Count the tokens of a text. Shows how far it is on standard error."""
    counts, words, seen = np.zeros(entries.size, np.int64), 0, 0
    with bar(f"counting in {corpus.name}") as shown:
        for document in corpus.documents:
            words += len(document.split())
            for run in encode_stream(tokenizer, [document]):
                counts += np.bincount(np.array(run, np.int64), minlength=entries.size)
                seen += sum(len(entries.content(token)) for token in run)
                shown(min(seen / corpus.size_bytes, 1.0))
    unused = tuple(token for token in entries if not counts[token])
    return Fit(corpus.size_bytes, words, counts, unused)


def bars(amounts: Sequence[int], width: int = _BAR_WIDTH) -> list[str]:
    """A bar for each amount, the longest of `width` columns; an amount above 0 is never without a bar."""
    most = max(amounts, default=0) or 1
    return [_bar(8 * width * amount / most) if amount else "" for amount in amounts]


def _bar(eighths: float) -> str:
    whole, rest = divmod(max(round(eighths), 1), 8)
    return "█" * whole + _EIGHTHS[rest].strip()


def _kinds(entries: Entries) -> list[str]:
    kinds = Counter(entries.kind(token) for token in entries)
    rows = [(each.value, f"{kinds[each]:,}") for each in Kind if kinds[each]]
    return table(("kind", "entries"), [*rows, ("all", f"{entries.count:,}")])


def _lengths(entries: Entries) -> list[str]:
    lengths = Counter(len(entries.content(token)) for token in entries)
    shown = range(min(lengths, default=0), min(max(lengths, default=0), _LENGTHS_SHOWN) + 1)
    amounts = [(str(length), lengths[length]) for length in shown]
    if longer := sum(amount for length, amount in lengths.items() if length > _LENGTHS_SHOWN):
        amounts.append((f"more than {_LENGTHS_SHOWN}", longer))
    return _pictured("bytes", amounts)


def _pictured(head: str, amounts: Sequence[tuple[str, int]]) -> list[str]:
    pictures = bars([amount for _, amount in amounts])
    lines = table((head, "entries"), [(name, f"{amount:,}") for name, amount in amounts])
    return [lines[0], *(f"{line}  {each}".rstrip() for line, each in zip(lines[1:], pictures, strict=True))]


def _longest(entries: Entries) -> list[int]:
    return sorted(entries, key=lambda token: (-len(entries.content(token)), token))[:_LISTED_MAX]


def _listed(entries: Entries, head: str, tokens: Iterable[int]) -> list[str]:
    rows = [
        (str(token), str(len(entries.content(token))), visible(entries.content(token))) for token in tokens
    ]
    width = max((len(row[0]) for row in rows), default=2)
    return [head, *(f"{token:>{max(width, 2)}}  {size:>5} bytes  {piece}" for token, size, piece in rows)]


def _fit_lines(fit: Fit) -> list[str]:
    used = len(fit.counts.nonzero()[0])
    return table(
        ("text", ""),
        [
            ("bytes", f"{fit.text_bytes:,}"),
            ("tokens", f"{fit.tokens:,}"),
            ("words", f"{fit.words:,}"),
            ("bytes per token", number(_ratio(fit.text_bytes, fit.tokens), ".2f")),
            ("tokens per word", number(_ratio(fit.tokens, fit.words), ".2f")),
            ("entries used", f"{used:,}"),
            ("entries never used", f"{len(fit.unused):,}"),
        ],
    )


def _frequent_lines(entries: Entries, fit: Fit) -> list[str]:
    tokens = fit.frequent(_LISTED_MAX)
    amounts = [(visible(entries.content(token)), int(fit.counts[token])) for token in tokens]
    lines = _pictured("most frequent", amounts)
    return [lines[0].replace("entries", "  times"), *lines[1:]]


def _found_lines(entries: Entries, sought: str, found: Sequence[int]) -> list[str]:
    head = f"entries with {visible(sought.encode())}: {len(found):,}"
    lines = _listed(entries, head, found[:_FOUND_MAX])
    return [*lines, f"and {len(found) - _FOUND_MAX:,} more"] if len(found) > _FOUND_MAX else lines


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _object(path: Path, entries: Entries, fit: Fit | None, found: Sequence[int] | None) -> dict[str, Any]:
    kinds = Counter(entries.kind(token) for token in entries)
    lengths = Counter(len(entries.content(token)) for token in entries)
    answer: dict[str, Any] = {
        "tokenizer": str(path),
        "entries": entries.count,
        "kinds": {each.value: kinds[each] for each in Kind},
        "lengths": {str(length): lengths[length] for length in sorted(lengths)},
        "longest": [_entry(entries, token) for token in _longest(entries)],
    }
    if fit is not None:
        answer["data"] = {
            "bytes": fit.text_bytes,
            "tokens": fit.tokens,
            "words": fit.words,
            "bytes_per_token": _ratio(fit.text_bytes, fit.tokens),
            "tokens_per_word": _ratio(fit.tokens, fit.words),
            "frequent": [
                {**_entry(entries, token), "times": int(fit.counts[token])}
                for token in fit.frequent(_LISTED_MAX)
            ],
            "unused": list(fit.unused),
        }
    if found is not None:
        answer["found"] = [_entry(entries, token) for token in found]
    return answer


def _entry(entries: Entries, token: int) -> dict[str, Any]:
    content = entries.content(token)
    return {"id": token, "piece": visible(content), "bytes": len(content)}
