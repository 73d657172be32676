"""The command group: its help, its version, and the way from a failed command to an exit code."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from crystalline.cli.failures import failure_of
from crystalline.cli.lazy import COMMANDS, load

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["LazyGroup", "app", "run"]

_EPILOG = """
[bold]Examples[/]

crystalline train notes.txt essays/ --out runs/mine

crystalline generate runs/mine --prompt "Once upon a time"
"""


class LazyGroup(TyperGroup):
    """A group that lists its commands from their outlines and imports the one that is called."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Exchange the outline that the name stands for with the command itself."""
        name, outline, rest = super().resolve_command(ctx, args)
        if name is None:
            return name, outline, rest
        return name, command_named(name), rest


def command_named(name: str) -> Any:
    """Import a command of `COMMANDS`."""
    single = typer.Typer(add_completion=False)
    single.command(name)(load(COMMANDS[name].place))
    return get_command(single)


app = typer.Typer(cls=LazyGroup, add_completion=False, rich_markup_mode="rich", epilog=_EPILOG)

for _name, _outline in COMMANDS.items():
    app.command(_name, help=_outline.summary)(lambda: None)


def _print_version(wanted: bool) -> None:  # noqa: FBT001  (the library calls it with the option's value)
    if wanted:
        typer.echo(f"crystalline {metadata.version('crystalline')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def crystalline(
    ctx: typer.Context,
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train and run small language models on a tree of actors whose waits always end."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Args:
        arguments: the words after the program's name.

    Returns:
        The exit code. Why it is not 0 stands on standard error.
    """
    try:
        code = get_command(app).main(list(arguments), prog_name="crystalline", standalone_mode=False)
    except Exception as error:
        failure = failure_of(error)
        if failure is None:
            raise
        sys.stderr.write(f"error: {failure.text}\n")
        return failure.code
    return code or 0
