"""`crystalline chat`: a conversation with a model."""

from __future__ import annotations

import json as json_format
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from threadpoolctl import threadpool_limits

from crystalline.cli import sampling_options as option  # noqa: TC001  (the same)
from crystalline.cli.dialogue import Answer, Dialogue
from crystalline.cli.model_argument import Model  # noqa: TC001  (typer reads the annotations at run time)
from crystalline.cli.opened import engine_of, text_model
from crystalline.cli.output import new_file, put_out, write_whole
from crystalline.cli.sampling_options import precision
from crystalline.cli.stopping import Interrupts
from crystalline.cli.vocabulary import valid_text
from crystalline.data import decoded
from crystalline.errors import InputError, SettingError
from crystalline.inference import SamplingOptions

with suppress(ImportError):  # gives `input` a history and keys that move the cursor, where it is installed
    import readline  # noqa: F401

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["chat"]

CONTEXT_USUAL: Final = 4096
"""The most positions of a conversation if nothing else is said: each takes memory."""

_SAMPLING: Final = SamplingOptions()
_PROMPT: Final = "> "
_UNTAUGHT: Final = "note: this model has no chat template: it was not taught to converse, and continues text"
_LEAVING: Final = "(Ctrl-C again, or Ctrl-D, leaves)"
_HELP: Final = """\
/help           this
/reset          forget the conversation, keep the system's message
/system TEXT    set the system's message; without TEXT, remove it
/save FILE      write the conversation to a file, as JSON
/quit           leave, as Ctrl-D does
Ctrl-C stops an answer. What there is of it stays in the conversation."""


def chat(
    model: Model,
    *,
    prompt: Annotated[str | None, typer.Option(help="Ask this alone, and leave.", show_default=False)] = None,
    system: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The system's message.", show_default=False)
    ] = None,
    tokens: option.Tokens = 1000,
    stop: option.Stop = None,
    context: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Most tokens of the conversation.",
            show_default=f"as the model, {CONTEXT_USUAL} at most",
        ),
    ] = None,
    temperature: option.Temperature = _SAMPLING.temperature,
    top_k: option.TopK = _SAMPLING.top_k,
    top_p: option.TopP = _SAMPLING.top_p,
    min_p: option.MinP = _SAMPLING.min_p,
    repetition_penalty: option.RepetitionPenalty = _SAMPLING.repetition_penalty,
    seed: option.Seed = 0,
    weights: option.Weights = "float32",
    threads: option.Threads = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object for each answer.")] = False,
) -> None:
    """Talk with a model.

    On a terminal you type, and answers come as they are made; /help names the commands. Ctrl-C stops an
    answer, twice at the prompt it leaves. With --prompt, or lines on standard input, each of which is a turn,
    there are the answers alone; then a line that begins with / is nothing special.

    The model's own chat template says how a conversation is written. A model without one was not taught to
    converse, which is said on standard error: it sees "User: ..." and "Assistant: ...". When a conversation
    outgrows the context its oldest turns are left out, which is said there as well.

    With --json each object has prompt, answer, finish ("stop", "length", "context" or "interrupted"), tokens,
    prompt_tokens and dropped (messages left out).
    """
    options = SamplingOptions(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
    )
    held = precision(weights)
    for what, text in (("--prompt", prompt), ("--system", system)):
        if text is not None:
            valid_text(text, what)
    if prompt is not None and not prompt.strip():
        raise SettingError("--prompt is empty: ask something")
    # One thread adds in one order: the same seed gives the same text whatever the number of cores.
    with threadpool_limits(1):
        loaded = text_model(model)
        room = min(loaded.config.seq_len, CONTEXT_USUAL) if context is None else context
        with engine_of(loaded, context=room, threads=threads, weights=held) as engine:
            if loaded.text.chat_template is None:
                typer.echo(_UNTAUGHT, err=True)
            dialogue = Dialogue(
                loaded, engine, options, tokens=tokens, seed=seed, stop=tuple(stop or ()), system=system
            )
            if prompt is not None:
                _answer_in_turn(dialogue, [prompt], json=json)
            elif not sys.stdin.isatty():
                _answer_in_turn(dialogue, _lines_of_input(), json=json)
            else:
                _converse(dialogue, json=json)


def _lines_of_input() -> Iterator[str]:
    """Turns from standard input, each as soon as its line is whole."""
    for line in decoded(sys.stdin.buffer, "standard input"):
        if line.strip():
            yield line.rstrip("\r\n")


def _answer_in_turn(dialogue: Dialogue, questions: Iterator[str] | list[str], *, json: bool) -> None:
    asked = False
    for question in questions:
        asked = True
        _answer(dialogue, question, json=json, plain=False)
    if not asked:
        raise SettingError("standard input has no line: write a turn on each")


def _answer(dialogue: Dialogue, question: str, *, json: bool, plain: bool) -> Answer:
    """Ask, show the answer as it comes, and say what was left out."""
    answer = dialogue.ask(question)
    if answer.newly_dropped:
        typer.echo(f"note: {answer.newly_dropped} older messages are left out, the context is full", err=True)
    for text in answer:
        if not json:
            put_out(_harmless(text) if plain else text, end="")
    if json:
        put_out(json_format.dumps(answer.to_json()))
    else:
        put_out("")
    return answer


def _harmless(text: str) -> str:
    """Text that cannot move the cursor or change the colour: the model's words are nobody's commands."""
    return "".join(each if each.isprintable() or each in "\n\t" else "?" for each in text)


def _converse(dialogue: Dialogue, *, json: bool) -> None:
    """Read and answer until the person leaves."""
    plain = sys.stdout.isatty()
    if not json:
        typer.echo("Ctrl-D leaves, Ctrl-C stops an answer, /help tells more.", err=True)
    with Interrupts() as interrupts:
        dialogue.stopped = lambda: interrupts.stopped
        while (line := _read(interrupts)) is not None:
            interrupts.clear()
            try:
                if not _take(dialogue, line.strip(), json=json, plain=plain):
                    return
            except InputError as error:
                typer.echo(f"error: {' '.join(str(error).split())}", err=True)


def _read(interrupts: Interrupts) -> str | None:
    """A line that was typed; None to leave, after Ctrl-D or a second Ctrl-C."""
    for hint in (f"\n{_LEAVING}", ""):
        try:
            with interrupts.reading():
                return input(_PROMPT)
        except EOFError:
            typer.echo("", err=True)
            return None
        except KeyboardInterrupt:
            typer.echo(hint, err=True)
    return None


def _take(dialogue: Dialogue, line: str, *, json: bool, plain: bool) -> bool:
    """Do what a line says; False to leave."""
    command, _, rest = line.partition(" ")
    rest = rest.strip()
    match command:
        case "":
            pass
        case "/quit" | "/exit":
            return False
        case "/help":
            typer.echo(_HELP, err=True)
        case "/reset":
            dialogue.reset()
            typer.echo("the conversation is forgotten", err=True)
        case "/system":
            dialogue.system = valid_text(rest, "the system's message") or None
            typer.echo("the system's message is set" if rest else "there is no system's message", err=True)
        case "/save":
            _save(dialogue, rest)
        case _ if command.startswith("/"):
            typer.echo(f"there is no command {command}: /help names them", err=True)
        case _:
            if _answer(dialogue, valid_text(line, "the message"), json=json, plain=plain).interrupted:
                typer.echo("(stopped)", err=True)
    return True


def _save(dialogue: Dialogue, name: str) -> None:
    if not name:
        raise SettingError("/save needs the name of a file")
    path = new_file(Path(name), force=False)
    write_whole(path, json_format.dumps(dialogue.messages, indent=2, ensure_ascii=False) + "\n")
    typer.echo(f"saved: {path}", err=True)
