"""`crystalline generate`: a saved model goes on with a text."""

from __future__ import annotations

import json as json_format
from pathlib import Path  # noqa: TC003  (typer reads the annotations at run time)
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, TypedDict

import typer
from threadpoolctl import threadpool_limits

from crystalline.cli.output import put_out
from crystalline.inference import SamplingOptions, TextModel, complete, stream

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crystalline.inference import Overflow

__all__ = ["generate"]

_SAMPLING = SamplingOptions()


class _Settings(TypedDict):
    tokens: int
    options: SamplingOptions
    seed: int
    overflow: Overflow


def generate(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder that was --out of `crystalline train`.")
    ],
    *,
    prompt: Annotated[str, typer.Option(help="Text to go on with; without it, a new document.")] = "",
    tokens: Annotated[int, typer.Option(help="Most tokens to add.")] = 200,
    temperature: Annotated[
        float, typer.Option(help="Below 1 more cautious; 0 always takes the likeliest token.")
    ] = _SAMPLING.temperature,
    top_k: Annotated[
        int, typer.Option(help="Choose among this many likeliest tokens; 0: among all.")
    ] = _SAMPLING.top_k,
    top_p: Annotated[
        float, typer.Option(help="Choose among the fewest likeliest tokens of this total probability.")
    ] = _SAMPLING.top_p,
    seed: Annotated[int, typer.Option(help="Same seed, same text.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Let a trained model go on with a text.

    The prompt is printed first, then the model's text as it comes, so that both read as one. With --json
    the text comes as one object instead: prompt, text (without the prompt), tokens, seed, tokens_per_s,
    model.

    The model sees only as many tokens as its --seq-len was in training. Of a longer prompt these are the last
    ones, which is said on standard error. Where a text grows longer, the model goes on with the newer half.
    """
    options = SamplingOptions(temperature=temperature, top_k=top_k, top_p=top_p)
    # One thread adds in one order: the same seed gives the same text whatever the number of cores.
    with threadpool_limits(1):
        model = TextModel.load(folder)
        settings: _Settings = {"tokens": tokens, "options": options, "seed": seed, "overflow": "slide"}
        _warn_of_a_long_prompt(model, prompt)
        if not json:
            _print_as_it_comes(prompt, (piece.text for piece in stream(model, prompt, **settings)))
            return
        begun_s = perf_counter()
        done = complete(model, prompt, **settings)
        tokens_per_s = len(done.ids) / (perf_counter() - begun_s)
    answer = {
        "prompt": prompt,
        "text": done.text,
        "tokens": len(done.ids),
        "seed": seed,
        "tokens_per_s": tokens_per_s,
        "model": str(folder),
    }
    put_out(json_format.dumps(answer))


def _warn_of_a_long_prompt(model: TextModel, prompt: str) -> None:
    length, seen = len(model.tokenizer.encode(prompt).ids), model.config.seq_len
    if length > seen:
        typer.echo(f"note: the prompt has {length} tokens, only the last {seen} are used", err=True)


def _print_as_it_comes(prompt: str, pieces: Iterable[str]) -> None:
    put_out(prompt, end="")
    for piece in pieces:
        put_out(piece, end="")
    put_out("")
