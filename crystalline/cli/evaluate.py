"""`crystalline eval`: how well a model predicts a text."""

from __future__ import annotations

import json as json_format
import math
from dataclasses import replace
from pathlib import Path  # noqa: TC003  (typer reads the annotations at run time)
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer
from threadpoolctl import threadpool_limits

from crystalline.cli import sampling_options as option  # noqa: TC001  (typer reads the annotations)
from crystalline.cli.long import bar, ending_cleanly
from crystalline.cli.model_argument import Model  # noqa: TC001  (typer reads the annotations at run time)
from crystalline.cli.opened import text_model
from crystalline.cli.output import put_out
from crystalline.cli.sampling_options import precision
from crystalline.cli.tables import number, table
from crystalline.data import Corpus
from crystalline.errors import SettingError
from crystalline.inference.evaluate import SEQ_LEN_MAX, documents_of, evaluate
from crystalline.inference.weights import restored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystalline.inference import TextModel
    from crystalline.inference.evaluate import Document, Evaluation

__all__ = ["evaluate_model"]


def evaluate_model(
    model: Model,
    data: Annotated[list[Path], typer.Argument(metavar="DATA...", help="Text files, or folders of them.")],
    *,
    seq_len: Annotated[
        int | None,
        typer.Option(
            help="Most tokens that the model sees at once.",
            show_default=f"as the model, {SEQ_LEN_MAX} at most",
        ),
    ] = None,
    stride: Annotated[
        int | None,
        typer.Option(help="Tokens from one window to the next.", show_default="half of --seq-len"),
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Stop after so many tokens.")] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads that multiply matrices.", show_default="all cores")
    ] = None,
    weights: option.Weights = "float32",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")] = False,
) -> None:
    """Measure how well a model predicts a text.

    Loss is the mean of -log p over the tokens, in nats; perplexity is exp(loss); bits per byte is all nats
    / ln 2 / the bytes of the text, which can be compared between models of different tokenizers.

    Each file is read by itself, after the token that begins a text. Windows of --seq-len tokens begin every
    --stride tokens: the first predicts all of its tokens, each later one those that none before it did. So
    every token but the very first is predicted once, and those after the first window with at least
    --seq-len less --stride tokens before them.

    With --weights int8 the weights are those that int8 stands for, so that what it costs can be seen.
    """
    if threads is not None and threads < 1:
        raise SettingError(f"threads is {threads}: choose a positive number")
    with ending_cleanly("interrupted; nothing is reported"), threadpool_limits(threads):
        corpus = Corpus.from_paths(data)
        loaded = text_model(model)
        loaded = replace(loaded, parameters=restored(loaded.parameters, precision(weights)))
        documents = documents_of(loaded, corpus.documents, tokens_max=max_tokens)
        begun_s = perf_counter()
        found = _evaluated(loaded, documents, corpus.name, seq_len, stride)
        seconds = perf_counter() - begun_s
    speed = found.tokens / seconds if seconds > 0 else 0.0
    if json:
        perplexity = found.perplexity if math.isfinite(found.perplexity) else None
        answer = {
            "model": str(model),
            "loss": found.loss,
            "perplexity": perplexity,
            "bits_per_byte": found.bits_per_byte,
            "tokens": found.tokens,
            "bytes": found.size_bytes,
            "seconds": seconds,
            "tokens_per_s": speed,
        }
        put_out(json_format.dumps(answer, allow_nan=False))
    else:
        put_out("\n".join(_lines(found, speed)))


def _evaluated(
    model: TextModel, documents: Sequence[Document], name: str, seq_len: int | None, stride: int | None
) -> Evaluation:
    total = sum(max(len(document.ids) - 1, 0) for document in documents)
    begun_s = perf_counter()
    with bar(f"evaluating {name}") as show:

        def heard(tokens: int) -> None:
            speed = tokens / max(perf_counter() - begun_s, 1e-9)
            show(tokens / total, f"{speed:,.0f} tokens/s")

        return evaluate(model, documents, seq_len=seq_len, stride=stride, heard=heard)


def _lines(found: Evaluation, speed: float) -> list[str]:
    rows = [
        ("perplexity", number(found.perplexity, ",.3f")),
        ("loss (nats per token)", number(found.loss)),
        ("bits per byte", number(found.bits_per_byte)),
        ("tokens", f"{found.tokens:,}"),
        ("bytes", f"{found.size_bytes:,}"),
        ("tokens/s", number(speed, ",.0f")),
    ]
    return table(("measure", "value"), rows)
