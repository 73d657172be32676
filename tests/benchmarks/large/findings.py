"""From what the parts have measured to figures and goals. Pure."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks.cost.rounds import Samples, ratio, ratio_of_bests
from tests.benchmarks.speed.turns import arithmetic_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.benchmarks.large.text import Manifest

__all__ = ["NAMES", "PREPARING", "epoch_part", "findings", "step_part"]

NAMES: Final = {
    "many": "ours N = 2",
    "one": "ours N = 1",
    "plain": "plain numpy",
    "torch": "torch eager",
}
PREPARING: Final = "preparing"
_EPOCHS: Final = ("many", "one")
_MEASURE: Final = "us_per_token"


def epoch_part(way: str) -> str:
    """Name of the part in which `way` trains for the epoch."""
    return f"epoch {way}"


def step_part(way: str, round_: int) -> str:
    """Name of the part in which `way` takes its steps of a round."""
    return f"steps {way} {round_}"


def findings(
    parts: Mapping[str, Any], manifest: Manifest, *, rounds: int, batch_size: int, least_bytes: int
) -> dict[str, Any]:
    """Figures and goals of whatever has been measured.

    A goal that was not measured is None, and then they are not reached.
    """
    epochs = {way: parts[epoch_part(way)] for way in _EPOCHS if epoch_part(way) in parts}
    preparing = parts.get(PREPARING)
    same_weights = _same_weights(epochs)
    goals = {
        f"at least {least_bytes / 1e6:g} MB of text": manifest["bytes"] >= least_bytes,
        **_goals_of_epochs(preparing, epochs, batch_size),
        "the same weights for N = 1 and N = 2": same_weights,
    }
    return {
        "text": manifest,
        "arithmetic": arithmetic_of(parts.values()),
        "taken_out": dict(pin for part in parts.values() for pin in part.get("taken_out", {}).items()),
        "preparing": preparing,
        "epochs": epochs,
        "times_one": _times_one(epochs),
        "same_weights": same_weights,
        "steps": _steps(parts, rounds),
        "goals": goals,
        "goal_reached": all(held is True for held in goals.values()),
    }


def _goals_of_epochs(preparing: Any, epochs: Mapping[str, Any], batch_size: int) -> dict[str, bool | None]:
    """What must hold of each epoch; None of one that was not measured."""
    goals: dict[str, bool | None] = {}
    before = None if preparing is None else preparing["initial_val_loss"]
    for way in _EPOCHS:
        steps, after = (epochs.get(way, {}).get(key) for key in ("steps", "val_loss"))
        known = preparing is not None and steps is not None
        goals[f"{NAMES[way]}: one whole epoch"] = (
            steps == -(-preparing["training_windows"] // batch_size) if known else None
        )
        goals[f"{NAMES[way]}: the loss on held-out text falls"] = (
            None if before is None or after is None else after < before
        )
    return goals


def _same_weights(epochs: Mapping[str, Any]) -> bool | None:
    """Whether all epochs ended with the same weights; None when one of them was not measured."""
    hashes = {found["weights_sha256"] for found in epochs.values()}
    return len(hashes) == 1 if len(epochs) == len(_EPOCHS) else None


def _times_one(epochs: Mapping[str, Any]) -> float | None:
    """How many times as many tokens a second two spheres train on as one does."""
    if epochs.keys() != {"many", "one"}:
        return None
    return _rounded(epochs["many"]["tokens_per_s"] / epochs["one"]["tokens_per_s"])


def _steps(parts: Mapping[str, Any], rounds: int) -> dict[str, Any]:
    """Tokens/s of each way in interleaved rounds, and how many times as fast ours with two spheres is."""
    samples: Samples = {}
    for way in NAMES:
        found = [parts[name] for at in range(rounds) if (name := step_part(way, at)) in parts]
        if found:
            samples[way, _MEASURE] = [
                statistics.median(of["step_s"]) / of["tokens_per_step"] * 1e6 for of in found
            ]
    whole = {cell: us for cell, us in samples.items() if len(us) == rounds}
    own = ("many", _MEASURE)
    return {
        way: {
            "tokens_per_s_median": round(1e6 / statistics.median(us)),
            "tokens_per_s_best": round(1e6 / min(us)),
            "ours_times": _rounded(ratio(whole, (way, _MEASURE), own)),
            "ours_times_of_bests": _rounded(ratio_of_bests(whole, (way, _MEASURE), own)),
            "rounds": len(us),
        }
        for (way, _), us in samples.items()
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
