"""Progress on standard error: a live display for a terminal, a line now and then for a file."""

from __future__ import annotations

from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.live import Live
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
_BAR_WIDTH: Final = 40
_EIGHTHS: Final = " ▁▂▃▄▅▆▇█"


@contextmanager
def progress(console: Console, preparing: str) -> Iterator[Callable[[Event], None]]:
    """Show a run while it lasts.

    Args:
        console: a terminal gets a display that renews itself, anything else plain lines, one every few
            seconds and one an epoch; a quiet console gets nothing.
        preparing: what the live display says until the first step.

    Returns:
        A function to call with every event.
    """
    if console.is_terminal and not console.is_dumb_terminal and not console.quiet:
        display = _LiveDisplay(console, preparing)
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
        f"epoch {step.epoch}/{step.epochs}  step {step.step}/{step.steps}  loss {step.loss:.3f} "
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


def spheres_shown(busy: Sequence[float]) -> list[Text]:
    """How busy each sphere is: a bar each, or one character each where bars would fill the screen.

    Args:
        busy: a fraction in [0, 1] for each sphere.
    """
    if len(busy) <= _BARS_MAX:
        return [_bar(f"sphere-{number}", part) for number, part in enumerate(busy)]
    eighths = "".join(_EIGHTHS[round(8 * _clipped(part))] for part in busy)
    return [Text(f"{len(busy)} spheres: {eighths}")]


def _bar(name: str, part: float) -> Text:
    full = round(_BAR_WIDTH * _clipped(part))
    bar = Text("━" * full, style="cyan").append("━" * (_BAR_WIDTH - full), style="bright_black")
    return Text(f"{name:<10}").append(bar).append(f"{part:5.0%}")


def _clipped(part: float) -> float:
    return min(max(part, 0.0), 1.0)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class _LiveDisplay:
    def __init__(self, console: Console, preparing: str) -> None:
        self._console = console
        self._preparing = preparing
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
            return Text(self._preparing)
        rows = [_bar("run", step.step / step.steps), *spheres_shown(self._pace.busy)]
        return Group(Text(step_line(self._pace)), *rows, Text(self._saved))


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
