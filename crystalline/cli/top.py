"""`crystalline top`: what a training does just now, in a terminal, or as JSON."""

from __future__ import annotations

import json as json_format
import math
import threading
from pathlib import Path  # noqa: TC003  (typer reads the annotations at run time)
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.console import Console
from rich.live import Live

from actors import ProtocolError
from actors.living import NotServed, fetch_picture
from crystalline.cli.long import ending_cleanly
from crystalline.cli.output import put_out
from crystalline.cli.tables import printable
from crystalline.cli.top_view import view
from crystalline.errors import RunFolderError, SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["top"]

_INTERVAL_MIN_S: Final = 0.05
_ANSWER_S: Final = 5.0
_WIDE: Final = 240


def top(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder that is its --out.")],
    *,
    interval: Annotated[float, typer.Option(metavar="SECONDS", help="Time between two looks.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, print that and end.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print each look as one line of JSON.")] = False,
) -> None:
    """Watch a living training: who does what, who waits for whom.

    The actors stand below their parents, with state, life, queued messages, the message that is handled and
    for how long, and the oldest wait. Two signs !! mark those that have used up more than half of their time,
    or whose mailbox is full. When the event loop does not answer, it is said who holds it, and where.

    The training must run on this machine, and belong to the same user. Ctrl-C ends this, not the training.
    """
    if not _INTERVAL_MIN_S <= interval < math.inf:
        raise SettingError(f"--interval is {interval:g}: give a time from {_INTERVAL_MIN_S:g} s on")
    with ending_cleanly(""):
        first = _first(run)
        if json:
            _print_json(first, _looks(run, interval), once=once)
        elif once:
            _console().print(view(first, None, 10**6))
        else:
            _show(run, first, _looks(run, interval))
        if not once:
            Console(stderr=True, highlight=False).print(
                f"the training in {printable(str(run))} has ended", markup=False, soft_wrap=True
            )


def _first(run: Path) -> dict[str, Any]:
    try:
        return fetch_picture(run, timeout_s=_ANSWER_S)
    except NotServed:
        raise RunFolderError(
            f"no living training in {run}: it has ended, or has not begun yet; "
            "name the folder that is its --out"
        ) from None
    except TimeoutError as error:
        raise RunFolderError(f"{error}: its process may be stopped (kill -CONT PID lets it go on)") from None
    except ProtocolError as error:
        raise RunFolderError(str(error)) from error


def _looks(run: Path, interval_s: float) -> Iterator[dict[str, Any] | None]:
    pause = threading.Event()
    while not pause.wait(interval_s):
        try:
            yield fetch_picture(run, timeout_s=_ANSWER_S)
        except NotServed:
            return
        except TimeoutError:
            yield None
        except ProtocolError as error:
            raise RunFolderError(str(error)) from error


def _print_json(first: dict[str, Any], looks: Iterator[dict[str, Any] | None], *, once: bool) -> None:
    put_out(json_format.dumps(first))
    if not once:
        for picture in looks:
            if picture is not None:
                put_out(json_format.dumps(picture))


def _show(run: Path, first: dict[str, Any], looks: Iterator[dict[str, Any] | None]) -> None:
    """On a terminal one display that renews itself, elsewhere one table after the other."""
    console, before = _console(), first
    if not console.is_terminal or console.is_dumb_terminal:
        console.print(view(first, None, 10**6))
        for picture in looks:
            if picture is not None:
                console.print("", view(picture, before, 10**6), sep="\n")
                before = picture
        return
    with Live(view(first, None, console.height), console=console, auto_refresh=False, screen=False) as live:
        for picture in looks:
            if picture is None:
                live.console.print(
                    f"process {before['pid']} of {printable(str(run))} does not answer", markup=False
                )
            else:
                live.update(view(picture, before, console.height), refresh=True)
                before = picture


def _console() -> Console:
    """On a terminal as wide as that is; elsewhere nothing is cut off."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDE)
