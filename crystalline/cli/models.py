"""`crystalline models`: the group, and the options that its commands share."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from crystalline.cli.output import put_out
from crystalline.errors import ModelFolderError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Json", "Models", "Name", "check_named", "models", "working"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
# Not the constant of `crystalline.models`: the help of the group must not wait for numpy.
Models = Annotated[
    Path, typer.Option("--models", metavar="DIR", envvar="CRYSTALLINE_MODELS", help="The models folder.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A model of the models folder.")]


def models(ctx: typer.Context) -> None:
    """Keep models under names: import, export, list, check them.

    The models folder is `models` in the current folder, unless --models or the environment variable
    CRYSTALLINE_MODELS names another. Wherever a command takes the path of a model, it takes a name as well.
    """
    if ctx.invoked_subcommand is None:
        put_out(ctx.get_help())


def check_named(ctx: typer.Context, models: Path) -> None:
    """Do nothing if the models folder is there, or is the usual one, which is made by the first import.

    Raises:
        ModelFolderError: it was named by --models or the environment variable, and is no folder.
    """
    source = ctx.get_parameter_source("models")
    if source is not None and source.name.startswith("DEFAULT"):
        return
    if not models.is_dir():
        raise ModelFolderError(
            f"there is no folder {models.absolute()}: name another one with --models or CRYSTALLINE_MODELS, "
            f"or import a model into it"
        )


@contextmanager
def working() -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error for what takes a while; nothing where that is no terminal.

    Returns:
        A function to call with what is being done, and the part of it that is done, from 0 to 1.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal or console.is_dumb_terminal
    ) as progress:
        task = progress.add_task("", total=None)

        def show(doing: str, part: float) -> None:
            # A total of None lets the bar move without saying how far it is.
            progress.update(task, description=doing, completed=part, total=1.0 if part > 0 else None)

        yield show
