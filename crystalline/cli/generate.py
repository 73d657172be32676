"""`crystalline generate`: a saved model goes on with a text, or with many."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Final

import typer
from threadpoolctl import threadpool_limits

from crystalline.cli import sampling_options as option  # noqa: TC001  (typer reads the annotations)
from crystalline.cli.long import ending_cleanly
from crystalline.cli.model_argument import Model  # noqa: TC001  (typer reads the annotations at run time)
from crystalline.cli.opened import engine_of, text_model
from crystalline.cli.output import put_out, put_out_of_model
from crystalline.cli.prompts import (
    Wish,
    answer_all,
    answer_of,
    context_for,
    continued,
    read_prompts,
    request_of,
)
from crystalline.cli.sampling_options import precision
from crystalline.errors import SettingError
from crystalline.inference import SamplingOptions
from crystalline.inference.batch import complete_all
from crystalline.inference.engine import CONTEXT_MAX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crystalline.inference import Piece, Request, TextModel
    from crystalline.inference.weights import Precision

__all__ = ["generate"]

_SAMPLING: Final = SamplingOptions()


_Prompt = Annotated[
    str | None, typer.Option(help="Text to go on with; without it, a new document.", show_default=False)
]
_Batch = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Go on with many: a prompt a line, or JSON lines in a file named .jsonl."
    ),
]
_Context = Annotated[
    str,
    typer.Option(
        metavar="refuse|slide",
        help="When the text is longer than the model sees: end there, or forget its older half.",
    ),
]
_Logprobs = Annotated[
    int | None,
    typer.Option(metavar="K", help="With --json or --batch: log-probabilities, and K alternatives each."),
]


def generate(
    model: Model,
    *,
    prompt: _Prompt = None,
    batch: _Batch = None,
    tokens: option.Tokens = 200,
    stop: option.Stop = None,
    temperature: option.Temperature = _SAMPLING.temperature,
    top_k: option.TopK = _SAMPLING.top_k,
    top_p: option.TopP = _SAMPLING.top_p,
    min_p: option.MinP = _SAMPLING.min_p,
    repetition_penalty: option.RepetitionPenalty = _SAMPLING.repetition_penalty,
    seed: option.Seed = 0,
    context: _Context = "slide",
    logprobs: _Logprobs = None,
    weights: option.Weights = "float32",
    threads: option.Threads = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Let a trained model go on with a text.

    The prompt is printed first, then the model's text as it comes, so that both read as one. With --json
    the text comes as one object instead: prompt, text (without the prompt), tokens, seed, tokens_per_s,
    model, finish ("stop", "length" or "context"), prompt_tokens, and logprobs if they were asked for.

    The model sees only as many tokens as its --seq-len was in training. Of a longer prompt these are the last
    ones, which is said on standard error; where a text grows longer, the model goes on with the newer half.
    With --context refuse a longer prompt is an error, and a text ends where the context is full.

    With --batch prompts share the steps of the engine, and each is answered as if it were alone. Answers are
    JSON lines in the order of the file, blank lines of which do not count. A JSON line is an object with
    prompt, and any of tokens, stop, temperature, top_k, top_p, min_p, repetition_penalty, seed, context and
    logprobs, which go before the options here. A line that cannot be used is an error before anything runs.
    """
    if prompt is not None and batch is not None:
        raise SettingError("--prompt and --batch are given: choose one of them")
    if logprobs is not None and not json and batch is None:
        raise SettingError("--logprobs is given, but the text is printed plainly: add --json")
    wish = Wish(
        prompt=prompt or "",
        tokens=tokens,
        stop=tuple(stop or ()),
        seed=seed,
        context=context,
        logprobs=logprobs,
        sampling={
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "min_p": min_p,
            "repetition_penalty": repetition_penalty,
        },
    )
    held = precision(weights)
    wishes = None if batch is None else read_prompts(batch, wish)
    # One thread adds in one order: the same seed gives the same text whatever the number of cores.
    with threadpool_limits(1):
        loaded = text_model(model)
        if wishes is not None:
            with ending_cleanly("interrupted; the answers so far are written"):
                answer_all(loaded, wishes, held, threads)
            return
        _answer(loaded, model, wish, held, threads, json=json)


def _answer(
    model: TextModel, path: Path, wish: Wish, weights: Precision, threads: int | None, *, json: bool
) -> None:
    request = request_of(model, wish)
    _note_a_long_prompt(model, request)
    context = context_for(model, [request])
    with engine_of(model, context=context, threads=threads, weights=weights) as engine:
        if not json:
            _print_as_it_comes(wish.prompt, continued(model, request, engine))
            return
        begun_s = perf_counter()
        ((_, done),) = complete_all(model, [request], engine)
        seconds = perf_counter() - begun_s
    answer = answer_of(model, wish, request, done)
    speed = done.usage.generated_tokens / seconds
    put_out(json_format.dumps({**answer, "tokens_per_s": speed, "model": str(path)}))


def _note_a_long_prompt(model: TextModel, request: Request) -> None:
    length, seen = len(request.prompt), min(model.config.seq_len, CONTEXT_MAX)
    if length <= seen:
        return
    if request.overflow == "refuse":
        raise SettingError(
            f"the prompt has {length} tokens and the model sees {seen}: shorten it, or use --context slide"
        )
    typer.echo(f"note: the prompt has {length} tokens, only the last {seen} are used", err=True)


def _print_as_it_comes(prompt: str, pieces: Iterable[Piece]) -> None:
    put_out(prompt, end="")
    for piece in pieces:
        put_out_of_model(piece.text)
    put_out("")
