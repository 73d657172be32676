"""Progress on standard error: a live display for a terminal, a line now and then for a file."""

from __future__ import annotations

from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from crystalline.cli.bars import run_bar, sphere_loads
from crystalline.cli.pace import Pace
from crystalline.training import EpochDone, Saved, StepDone

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console, RenderableType

    from crystalline.training.events import Event

__all__ = ["epoch_line", "progress", "step_line"]

_LINE_EVERY_S: Final = 5.0


@contextmanager
def progress(console: Console, preparing: str) -> Iterator[Callable[[Event], None]]:
    """Show a run while it lasts.

    Args:
        console: a terminal gets a display that renews itself, anything else plain lines, one every few
            seconds and one an epoch; a quiet console gets nothing.
        preparing: what is being done until the first step.

    Returns:
        A function to call with every event.
    """
    if console.is_terminal and not console.is_dumb_terminal and not console.quiet:
        display = _LiveDisplay(console, preparing)
        # Transient: what stays on the screen are the lines of the epochs.
        with Live(get_renderable=display.render, console=console, transient=True) as live:
            live.refresh()  # also what is prepared before the first tick of the display shall be seen
            yield display.show
    else:
        console.print(preparing, markup=False)
        yield _PlainLines(console).show


def step_line(pace: Pace, width: int | None = None) -> str:
    """Epoch, step, loss, speed and time left in one line; empty before the first step.

    Args:
        pace: what is known.
        width: columns; where they do not suffice, the time left stays and the speed goes first, then the
            losses, then the step. None for no limit.
    """
    step = pace.last
    if step is None:
        return ""
    fields = [
        f"epoch {step.epoch}/{step.epochs}",
        f"step {step.step}/{step.steps}",
        f"loss {step.loss:.3f}",
        f"epoch loss {pace.epoch_loss:.3f}",
        f"{pace.tokens_per_s:,.0f} tokens/s",
        f"{_clock(pace.left_s)} left",
    ]
    while width is not None and len(fields) > 1 and len("  ".join(fields)) > width:
        del fields[-2]
    return "  ".join(fields)


def epoch_line(done: EpochDone) -> str:
    """What an epoch came to, in one line."""
    validation = "" if done.val_loss is None else f", validation {done.val_loss:.3f}"
    speed = done.tokens / done.seconds if done.seconds > 0 else 0.0
    trained = "every step skipped" if done.train_loss is None else f"train {done.train_loss:.3f}"
    return (
        f"epoch {done.epoch}/{done.epochs} done: {trained}{validation} nats per token, "
        f"{done.step} steps, {speed:,.0f} tokens/s"
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _LiveDisplay:
    def __init__(self, console: Console, preparing: str) -> None:
        self._console = console
        self._preparing = preparing
        self._begun_s = monotonic()
        self._spinner = Spinner("dots")
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
        """Called by the display's own thread: reads, and changes nothing but the spinner."""
        step, width = self._pace.last, self._console.width
        if step is None:
            elapsed = _clock(monotonic() - self._begun_s)
            self._spinner.update(text=Text(f"{self._preparing} {elapsed}"))
            return self._spinner
        loads = sphere_loads(self._pace.busy, self._pace.waiting, width)
        rows = [run_bar(step.step / step.steps, width), *loads]
        return Group(Text(step_line(self._pace, width)), *rows, Text(self._saved))


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
