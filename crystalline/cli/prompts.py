"""Prompts with their settings: from options and from lines of a file, and their answers as JSON."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, cast

from crystalline.cli.long import bar
from crystalline.cli.opened import engine_of
from crystalline.cli.output import put_out
from crystalline.errors import CorpusError, InputError, SettingError
from crystalline.inference import Request, SamplingOptions, stream
from crystalline.inference.batch import complete_all
from crystalline.inference.engine import CONTEXT_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from crystalline.inference import Completion, Engine, Piece, TextModel, TokenLogprob
    from crystalline.inference.request import Overflow
    from crystalline.inference.weights import Precision

__all__ = ["Wish", "answer_all", "answer_of", "context_for", "continued", "read_prompts", "request_of"]

_SLOTS: Final = 8
_STANDARD_INPUT: Final = "-"

# What a JSON line may say, and of which type it is.
_SAMPLING: Final[dict[str, tuple[type, ...]]] = {
    "temperature": (int, float),
    "top_k": (int,),
    "top_p": (int, float),
    "min_p": (int, float),
    "repetition_penalty": (int, float),
}
_KEYS: Final[dict[str, tuple[type, ...]]] = {
    "prompt": (str,),
    "tokens": (int,),
    "stop": (str, list),
    "seed": (int,),
    "context": (str,),
    "logprobs": (int, type(None)),
    **_SAMPLING,
}


@dataclass(frozen=True, slots=True)
class Wish:
    """A prompt and how it is to be continued, as a person writes it; a request is made of it.

    Attributes:
        prompt: the text.
        tokens: most tokens to add.
        stop: texts at which it ends.
        seed: of the draws.
        context: "refuse" or "slide".
        logprobs: how many alternatives of each token are told; None for no log-probabilities.
        sampling: the settings of `SamplingOptions`, by name.
        place: where it stands, for errors: such as "prompts.txt line 3".
        line: the number of its line, 0 without a file.
    """

    prompt: str
    tokens: int
    stop: tuple[str, ...]
    seed: int
    context: str
    logprobs: int | None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    place: str = ""
    line: int = 0


def read_prompts(path: Path, usual: Wish) -> list[Wish]:
    """The prompts of a file, a line each; blank lines do not count.

    Args:
        path: text; JSON lines if its name ends in .jsonl; - is standard input, as text.
        usual: the settings of lines that say nothing else.

    Raises:
        SettingError: a line cannot be used; names it.
        CorpusError: the file cannot be read, is no text, or has no line.
    """
    name = "standard input" if str(path) == _STANDARD_INPUT else str(path)
    lines = [(number, line) for number, line in enumerate(_lines(path, name), start=1) if line.strip()]
    if not lines:
        raise CorpusError(f"{name} has no prompt: write one a line")
    read = _wish_of_json if path.suffix == ".jsonl" else _wish_of_text
    wishes = []
    for number, line in lines:
        place = f"{name} line {number}"
        wishes.append(replace(_placed(read, line, usual, place), place=place, line=number))
    return wishes


def _lines(path: Path, name: str) -> list[str]:
    try:
        content = sys.stdin.buffer.read() if str(path) == _STANDARD_INPUT else path.read_bytes()
        return content.decode("utf-8-sig").replace("\r\n", "\n").split("\n")
    except OSError as error:
        raise CorpusError(f"{name} cannot be read ({error.strerror}): name a file of prompts") from error
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise CorpusError(f"{name} line {line} is not UTF-8 text: convert it") from error


def _placed(read: Any, line: str, usual: Wish, place: str) -> Wish:
    try:
        return cast("Wish", read(line, usual))
    except SettingError as error:
        raise SettingError(f"{place}: {error}") from error


def _wish_of_text(line: str, usual: Wish) -> Wish:
    return replace(usual, prompt=line)


def _wish_of_json(line: str, usual: Wish) -> Wish:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SettingError(f"this is not JSON ({error})") from error
    if not isinstance(found, dict) or "prompt" not in found:
        raise SettingError('this is no object with a prompt, such as {"prompt": "Once"}')
    for key, value in found.items():
        _check_entry(key, value)
    stop = found.get("stop", usual.stop)
    sampling = {key: found[key] for key in _SAMPLING if key in found}
    others = {key: value for key, value in found.items() if key not in {*_SAMPLING, "stop"}}
    return replace(
        usual,
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        sampling={**usual.sampling, **sampling},
        **others,
    )


def _check_entry(key: str, value: Any) -> None:
    if key not in _KEYS:
        raise SettingError(f"there is no setting {key!r}: choose from {', '.join(_KEYS)}")
    texts = isinstance(value, list) and not all(isinstance(each, str) for each in value)
    if not isinstance(value, _KEYS[key]) or isinstance(value, bool) or texts:
        raise SettingError(f"{key} is {value!r}, which is of the wrong kind")


def request_of(model: TextModel, wish: Wish) -> Request:
    """The request that a model is asked.

    Raises:
        SettingError: something of it is out of range; names the line that it stands in.
    """
    try:
        return Request(
            prompt=tuple(model.encode(wish.prompt)),
            tokens=wish.tokens,
            options=SamplingOptions(**wish.sampling),
            seed=wish.seed,
            stop=wish.stop,
            stop_ids=frozenset(model.text.end_ids),
            logprobs=wish.logprobs,
            overflow=cast("Overflow", wish.context),  # which the request checks
        )
    except InputError as error:
        raise SettingError(f"{wish.place}: {error}" if wish.place else str(error)) from error


def context_for(model: TextModel, requests: Sequence[Request]) -> int:
    """Positions that suffice for some requests, within what the model has: more would only take memory."""
    longest = max(len(request.prompt) + request.tokens for request in requests)
    return min(model.config.seq_len, CONTEXT_MAX, longest)


def continued(model: TextModel, request: Request, engine: Engine) -> Iterator[Piece]:
    """What a model adds to a prompt, piece by piece."""
    return stream(
        model,
        request.prompt,
        tokens=request.tokens,
        options=request.options,
        seed=request.seed,
        stop=request.stop,
        logprobs=request.logprobs,
        overflow=request.overflow,
        engine=engine,
    )


def answer_of(model: TextModel, wish: Wish, request: Request, done: Completion) -> dict[str, Any]:
    """An answer as JSON has it."""
    answer: dict[str, Any] = {
        "prompt": wish.prompt,
        "text": done.text,
        "tokens": done.usage.generated_tokens,
        "prompt_tokens": done.usage.prompt_tokens,
        "finish": done.finish,
        "seed": wish.seed,
    }
    if request.logprobs is not None:
        answer["logprobs"] = [_logprob(model, each) for each in done.logprobs]
    return answer


def _logprob(model: TextModel, found: TokenLogprob) -> dict[str, Any]:
    def named(token: int, logprob: float) -> dict[str, Any]:
        text = model.tokenizer.decode([token], skip_special_tokens=False)
        return {"id": token, "text": text, "logprob": logprob}

    return {**named(found.id, found.logprob), "top": [named(*each) for each in found.top]}


def answer_all(model: TextModel, wishes: Sequence[Wish], weights: Precision, threads: int | None) -> None:
    """Answer prompts, and write each answer as a line of JSON as soon as all before it are there.

    Raises:
        SettingError: one of them cannot be used; names its line. Nothing was computed.
    """
    requests = [request_of(model, wish) for wish in wishes]
    context = context_for(model, requests)
    for wish, request in zip(wishes, requests, strict=True):
        if request.overflow == "refuse" and len(request.prompt) > context:
            raise SettingError(
                f"{wish.place}: the prompt has {len(request.prompt)} tokens and the model sees {context}: "
                "shorten it, or let the context slide"
            )
    slots = min(_SLOTS, len(requests))
    with (
        engine_of(model, slots=slots, context=context, threads=threads, weights=weights) as engine,
        bar(f"answering {len(requests)} prompts") as show,
    ):
        _write_in_order(model, wishes, requests, engine, show)


def _write_in_order(
    model: TextModel, wishes: Sequence[Wish], requests: Sequence[Request], engine: Engine, show: Any
) -> None:
    done: dict[int, Completion] = {}
    written, tokens, begun_s = 0, 0, perf_counter()
    for ended, (number, completion) in enumerate(complete_all(model, requests, engine), start=1):
        done[number] = completion
        while written in done:
            wish = wishes[written]
            answer = answer_of(model, wish, requests[written], done.pop(written))
            put_out(json.dumps({"line": wish.line, **answer}))
            written += 1
        tokens += completion.usage.generated_tokens
        show(ended / len(requests), f"{tokens / (perf_counter() - begun_s):,.0f} tokens/s")
