"""The command group: its help, its version, and the way from a failed command to an exit code."""

from __future__ import annotations

import inspect
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer
from typer.core import TyperGroup
from typer.main import get_command

from crystalline.cli.failures import failure_of
from crystalline.cli.lazy import COMMANDS, Outline, load
from crystalline.cli.output import put_out
from crystalline.cli.word_order import command_first

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["LazyGroup", "app", "run"]

_HELP_OPTIONS = {"help_option_names": ["-h", "--help"]}


class LazyGroup(TyperGroup):
    """A group that lists its commands from their outlines and imports the one that is called.

    Attributes:
        outlines: by name; set by the subclass that `_listing` makes of each group.
        alone: the command that is meant where a file stands alone; empty where none may.
    """

    outlines: ClassVar[Mapping[str, Outline]] = {}
    alone: ClassVar[str] = ""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in front where the file may be."""
        return super().parse_args(ctx, command_first(args, self.outlines, self.alone) if self.alone else args)

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Exchange the outline that the name stands for with the command itself."""
        name, outline, rest = super().resolve_command(ctx, args)
        if name is None:
            return name, outline, rest
        return name, command_of(name, self.outlines[name]), rest


def command_of(name: str, outline: Outline) -> Any:
    """Import a command, or a group, whose own commands stay outlines."""
    function = load(outline.place)
    if outline.commands:
        group = _listing(outline.commands, outline.alone, help=_flowing(function))
        group.callback(invoke_without_command=True)(function)
        return get_command(group)
    single = typer.Typer(add_completion=False)
    single.command(name, help=_flowing(function), epilog=_examples(outline), context_settings=_HELP_OPTIONS)(
        function
    )
    return get_command(single)


def _listing(outlines: Mapping[str, Outline], alone: str = "", **settings: Any) -> typer.Typer:
    """A group whose help tells what is known of its commands."""
    group = typer.Typer(
        cls=type("Commands", (LazyGroup,), {"outlines": outlines, "alone": alone}),
        add_completion=False,
        rich_markup_mode="rich",
        epilog=_examples(*outlines.values()),
        context_settings=_HELP_OPTIONS,
        **settings,
    )
    for name, outline in outlines.items():
        group.command(name, help=outline.summary)(lambda: None)
    return group


def _flowing(function: Any) -> str:
    """The docstring with a line for each paragraph: the terminal's width breaks them, not the source's."""
    paragraphs = (inspect.getdoc(function) or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _examples(*outlines: Outline) -> str:
    shown = (example for outline in outlines for example in outline.examples)
    return "\n\n".join(["[bold]Examples[/]", *shown])


app = _listing(COMMANDS)


def _print_version(wanted: bool) -> None:  # noqa: FBT001  (the library calls it with the option's value)
    if wanted:
        put_out(f"crystalline {metadata.version('crystalline')}")
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
        put_out(ctx.get_help())


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
