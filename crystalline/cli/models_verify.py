"""`crystalline models verify`: whether every file is as it was written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from crystalline.cli.models import Models, check_named, working
from crystalline.cli.output import put_out
from crystalline.cli.tables import printable
from crystalline.errors import ModelFolderError
from crystalline.models import Store, damages

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["verify"]


def verify(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Which models; without names, all.")
    ] = None,
    *,
    models: Models = Path("models"),
) -> None:
    """Read models again, and compare every file with its SHA-256.

    Prints a line a model: ok, or what is wrong with which file. Exit code 0: all is as it was written; 1:
    something is damaged; 2: there is no such model.
    """
    check_named(ctx, models)
    store = Store(models)
    chosen = names or store.names()
    for name in chosen:
        store.place(name)
    whole = True
    with working() as show:
        for name in chosen:
            found = _damages(store, name, show)
            whole = whole and not found
            put_out("\n".join(f"{printable(name)}: {printable(each)}" for each in found or ["ok"]))
    if not chosen:
        put_out(f"no models in {printable(str(models))}")
    if not whole:
        raise typer.Exit(1)


def _damages(store: Store, name: str, show: Callable[[str, float], None]) -> list[str]:
    try:
        with store.reading(name) as folder:
            total = sum(file.stat().st_size for file in folder.iterdir()) or 1
            done = 0

            def count(size: int) -> None:
                nonlocal done
                done += size
                show(name, done / total)

            return damages(folder, count)
    except ModelFolderError as error:  # its folder is gone, or it was removed meanwhile
        return [str(error)]
