"""`crystalline runs list`: one row a run."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crystalline.cli.output import put_out
from crystalline.cli.runs import Json  # noqa: TC001  (typer reads the annotations at run time)
from crystalline.cli.tables import NOTHING, moment, number, printable, short_hash, table
from crystalline.errors import InputError, RunFolderError
from crystalline.runs import RunSummary, find_runs, open_run, summarise

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["list_runs"]

_HEADS = (
    *("run", "steps", "epoch", "last loss", "best val loss"),
    *("tokens/s", "spheres", "when", "weights"),
)


def list_runs(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Where to look, with all folders below it.")
    ] = Path("runs"),
    *,
    json: Json = False,
) -> None:
    """List the training runs below a folder.

    For each its steps, the loss of the last one, the lowest validation loss, its speed, when it was last
    written to, and the beginning of the hash of its latest checkpoint's weights.

    A damaged run has a row without numbers; what is wrong with it stands on standard error, and the exit
    code is 2.
    """
    found: dict[str, RunSummary | InputError] = {str(path): _looked_at(path) for path in find_runs(folder)}
    if json:
        put_out(json_format.dumps({"folder": str(folder), "runs": _objects(found)}, allow_nan=False))
    elif found:
        put_out("\n".join(table(_HEADS, [_row(name, run) for name, run in found.items()])))
    else:
        put_out(f"no runs below {printable(str(folder))}")
    damages = [run for run in found.values() if isinstance(run, InputError)]
    if damages:
        raise RunFolderError("; ".join(map(str, damages)))


def _looked_at(path: Path) -> RunSummary | InputError:
    try:
        return summarise(open_run(path))
    except InputError as error:
        return error


def _objects(found: Mapping[str, RunSummary | InputError]) -> list[dict[str, Any]]:
    return [
        run.to_json() if isinstance(run, RunSummary) else {"run": name, "error": str(run)}
        for name, run in found.items()
    ]


def _row(name: str, run: RunSummary | InputError) -> list[str]:
    if isinstance(run, InputError):
        return [printable(name), "damaged", *[NOTHING] * (len(_HEADS) - 2)]
    return [
        printable(name),
        number(run.steps, "d"),
        number(run.epoch, "d"),
        number(run.last_loss),
        number(run.best_val_loss),
        number(run.tokens_per_s, ",.0f"),
        number(run.spheres, "d"),
        moment(run.time),
        short_hash(run.weights_sha256),
    ]
