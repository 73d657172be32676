"""`crystalline models rename`, `remove`: names that change."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from crystalline.cli.models import Models, Name  # noqa: TC001  (typer reads the annotations at run time)
from crystalline.cli.output import put_out
from crystalline.cli.tables import printable
from crystalline.errors import SettingError
from crystalline.models import Store

__all__ = ["remove", "rename"]


def rename(
    name: Name,
    new: Annotated[str, typer.Argument(metavar="NEW", help="What to call it from now on.")],
    *,
    models: Models = Path("models"),
) -> None:
    """Give a model another name.

    A command that uses the model just now goes on undisturbed.
    """
    Store(models).rename(name, new)
    put_out(f"{printable(name)} is now {printable(new)}")


def remove(
    name: Name,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    models: Models = Path("models"),
) -> None:
    """Delete a model.

    Asks before, on a terminal; elsewhere --yes is needed. A command that uses the model just now goes on
    undisturbed.
    """
    store = Store(models)
    store.place(name)  # no question about what is not there
    if not yes:
        _ask(name)
    store.remove(name)
    put_out(f"{printable(name)} is removed")


def _ask(name: str) -> None:
    """Return if the answer is yes.

    Raises:
        SettingError: nobody is there to answer.
        Exit: the answer is no.
    """
    if not sys.stdin.isatty():
        raise SettingError(f"nobody is there to confirm that {name} is to be deleted: add --yes")
    if not typer.confirm(f"delete {printable(name)}?", err=True):
        put_out(f"{printable(name)} is kept")
        raise typer.Exit
