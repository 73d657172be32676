"""The settings of a training run."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from crystalline.errors import SettingError

__all__ = ["TrainConfig"]

# A message names each shard's arrays and each sphere's times, and a message's head is limited.
_SHARDS_MAX = _SPHERES_MAX = 1024
# Root lists the steps of every epoch.
_EPOCHS_MAX = 1_000_000
# 31 years: beyond any use, and deadlines still fit the clock.
_TIMEOUT_MAX_S = 1e9

_LEAST = {"spheres": 1, "shards": 1, "epochs": 1, "batch_size": 1, "keep": 1}
_LEAST |= {"warmup": 0, "seed": 0, "save_every": 0}
_TIMEOUTS = ("epoch_timeout_s", "job_timeout_s")
_NUMBERS = ("lr", "weight_decay", "clip", "val_fraction", "save_every_s", *_TIMEOUTS)
_CHOICES: dict[str, tuple[object, ...]] = {
    "on_loss": ("fail", "redistribute"),
    "on_nonfinite": ("fail", "skip"),
    "recompute": (False, True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """How to train. Sizes of the model are in `ModelConfig`.

    Everything here decides the result but `spheres`, `recompute`, `save_every`, `save_every_s`, `keep`,
    `on_loss` and the two timeouts, which do not change a bit of it. `on_nonfinite` matters only where a run
    would end.

    Attributes:
        spheres: workers in the tree, 1 to 1024.
        shards: parts that each batch is cut into, 1 to 1024. More spheres than shards rest.
        epochs: passes over the training text, at most a million.
        steps: at most this many optimizer steps in the whole run; None for no limit.
        batch_size: sequences in a step.
        lr: peak learning rate.
        warmup: steps until the peak is reached.
        weight_decay: of matrices, by AdamW; norm gains are not decayed.
        clip: largest norm of the gradient; 0 does not clip.
        val_fraction: part of the text's windows held out for validation, in [0, 1).
        seed: of the initial weights and of the order of the data.
        recompute: compute a layer's activations once more in the backward pass instead of keeping them:
            slower by about a fifth, and far less memory where there are many layers.
        save_every: steps between checkpoints; 0 does not count steps. One is saved after each epoch, too.
        save_every_s: seconds between checkpoints; 0 does not count seconds.
        keep: checkpoints that stay, the newest ones.
        on_loss: what happens when a sphere is lost for good: `fail` ends the training, `redistribute` gives
            its work to its siblings.
        on_nonfinite: what happens when a loss or a gradient is not finite: `fail` ends the training, `skip`
            leaves the weights as they are and goes on with the next step.
        epoch_timeout_s: an epoch that takes longer fails.
        job_timeout_s: a sphere whose work on one step takes longer is restarted.

    Raises:
        SettingError: a number is impossible; the text names it.
    """

    spheres: int = 2
    shards: int = 12
    epochs: int = 3
    steps: int | None = None
    batch_size: int = 24
    lr: float = 3e-3
    warmup: int = 50
    weight_decay: float = 0.1
    clip: float = 1.0
    val_fraction: float = 0.05
    seed: int = 0
    recompute: bool = False
    save_every: int = 0
    save_every_s: float = 600.0
    keep: int = 2
    on_loss: str = "fail"
    on_nonfinite: str = "fail"
    epoch_timeout_s: float = 86_400.0
    job_timeout_s: float = 600.0

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            _check_whole(name, getattr(self, name), least)
        if self.steps is not None:
            _check_whole("steps", self.steps, 1)
        for name, most in (("spheres", _SPHERES_MAX), ("shards", _SHARDS_MAX), ("epochs", _EPOCHS_MAX)):
            if getattr(self, name) > most:
                raise SettingError(f"{name} is {getattr(self, name)}: choose at most {most}")
        for name in _NUMBERS:
            _check_number(name, getattr(self, name))
        for name in _TIMEOUTS:
            _check_timeout(name, getattr(self, name))
        for name, choices in _CHOICES.items():
            _check_choice(name, getattr(self, name), choices)
        if self.val_fraction >= 1:
            raise SettingError(f"val_fraction is {self.val_fraction}: choose a part in [0, 1)")


def _check_whole(name: str, value: object, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SettingError(f"{name} is {value!r}: choose a whole number, {least} or more")


def _check_number(name: str, value: object) -> None:
    # A whole number may be too large to become a float, but never too large to be compared with one.
    fits = isinstance(value, int | float) and 0 <= value <= sys.float_info.max
    if isinstance(value, bool) or not fits:
        raise SettingError(f"{name} is {value!r}: choose a finite number, 0 or more")


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if not any(value is choice or (isinstance(choice, str) and value == choice) for choice in choices):
        raise SettingError(f"{name} is {value!r}: choose {' or '.join(map(str, choices))}")


def _check_timeout(name: str, value: float) -> None:
    if not 0 < value <= _TIMEOUT_MAX_S:
        raise SettingError(
            f"{name} is {value!r}: choose a number of seconds above 0, at most {_TIMEOUT_MAX_S:.0f}"
        )
