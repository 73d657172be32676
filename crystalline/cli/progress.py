"""Progress on standard error: a live display for a terminal, a line now and then for a file."""

from __future__ import annotations

from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from crystalline.cli.pace import Pace
from crystalline.training import EpochDone, Saved, StepDone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console, RenderableType

    from crystalline.training.events import Event

__all__ = ["epoch_line", "progress", "spheres_shown", "step_line"]

_LINE_EVERY_S: Final = 5.0
_BARS_MAX: Final = 12  # more lines than this push everything else off a small terminal
_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"


@contextmanager
def progress(console: Console) -> Iterator[Callable[[Event], None]]:
    """Show a run while it lasts.

    Args:
        console: a terminal gets a display that renews itself, anything else plain lines, one every few
            seconds and one an epoch; a quiet console gets nothing.

    Returns:
        A function to call with every event.
    """
    if console.is_terminal and not console.is_dumb_terminal and not console.quiet:
        display = _LiveDisplay(console)
        # Transient: what stays on the screen are the lines of the epochs.
        with Live(get_renderable=display.render, console=console, transient=True):
            yield display.show
    else:
        yield _PlainLines(console).show


def step_line(pace: Pace) -> str:
    """Epoch, step, loss, speed and time left in one line; empty before the first step."""
    step = pace.last
    if step is None:
        return ""
    return (
        f"epoch {step.epoch}  step {step.step}/{step.steps}  loss {step.loss:.3f} "
        f"(epoch {pace.epoch_loss:.3f})  {pace.tokens_per_s:,.0f} tokens/s  {_clock(pace.left_s)} left"
    )


def epoch_line(done: EpochDone) -> str:
    """What an epoch came to, in one line."""
    validation = "" if done.val_loss is None else f", validation {done.val_loss:.3f}"
    speed = done.tokens / done.seconds if done.seconds > 0 else 0.0
    return (
        f"epoch {done.epoch}/{done.epochs} done: train {done.train_loss:.3f}{validation} nats per token, "
        f"{done.step} steps, {speed:,.0f} tokens/s"
    )


def spheres_shown(busy: Sequence[float]) -> RenderableType:
    """How busy each sphere is: a bar each, or one character each where bars would fill the screen.

    Args:
        busy: a fraction in [0, 1] for each sphere.
    """
    if len(busy) > _BARS_MAX:
        eighths = "".join(_EIGHTHS[round(8 * min(max(part, 0.0), 1.0))] for part in busy)
        return Text(f"{len(busy)} spheres, busy: {eighths}")
    bars = Table.grid(padding=(0, 1))
    for number, part in enumerate(busy):
        bars.add_row(f"sphere-{number}", ProgressBar(total=1.0, completed=part, width=30), f"{part:4.0%}")
    return bars


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _LiveDisplay:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._pace = Pace()
        self._saved = ""

    def show(self, event: Event) -> None:
        match event:
            case StepDone():
                self._pace.take(event)
            case EpochDone():
                self._console.print(epoch_line(event), markup=False)
            case Saved():
                self._saved = f"last checkpoint: {event.folder}"

    def render(self) -> RenderableType:
        """Called by the display's own thread: reads, never changes."""
        step = self._pace.last
        if step is None:
            return Text("the first step is under way ...")
        overall = ProgressBar(total=step.steps, completed=step.step, width=60)
        return Group(Text(step_line(self._pace)), overall, spheres_shown(step.busy), Text(self._saved))


class _PlainLines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._pace = Pace()
        self._next_line_s = monotonic() + _LINE_EVERY_S

    def show(self, event: Event) -> None:
        match event:
            case StepDone():
                self._pace.take(event)
                if monotonic() >= self._next_line_s:
                    self._print(step_line(self._pace))
            case EpochDone():
                self._print(epoch_line(event))

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, soft_wrap=True)
        self._next_line_s = monotonic() + _LINE_EVERY_S
