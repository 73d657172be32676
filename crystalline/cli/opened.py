"""Models as commands open them: by path or by name, with a word about what takes long."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

import typer

from crystalline.inference import Engine, TextModel
from crystalline.inference.prefill import PREFILL_PIECE
from crystalline.models import reading_model

if TYPE_CHECKING:
    from pathlib import Path

    from crystalline.inference.weights import Precision

__all__ = ["engine_of", "text_model"]

_CLEAN_LINE: Final = "\r\x1b[2K"


def text_model(model: Path) -> TextModel:
    """Open a model by its path, or by its name in the models folder.

    Raises:
        ModelFolderError: there is none, or it cannot be opened.
    """
    with reading_model(model) as path:
        return TextModel.load(path)


def engine_of(
    model: TextModel, *, slots: int = 1, context: int, threads: int | None, weights: Precision
) -> Engine:
    """Make an engine that is ready to work, and say on standard error when it must be compiled first."""
    engine = Engine(model.parameters, slots=slots, context=context, threads=threads, weights=weights)
    if engine.compiles_first:
        typer.echo("note: steps of large models are compiled once, which takes some ten seconds", err=True)
    engine.warm()
    if sys.stderr.isatty():
        engine.heard = _show_reading
    return engine


def _show_reading(read: int, tokens: int) -> None:
    """One line that goes away when the prompt has been read; a short prompt takes no time worth a word."""
    if tokens > PREFILL_PIECE:
        done = read >= tokens
        text = "" if done else f"reading the prompt: {read:,} of {tokens:,} tokens"
        typer.echo(f"{_CLEAN_LINE}{text}", nl=False, err=True)
