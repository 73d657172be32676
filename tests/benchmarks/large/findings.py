"""From what the parts have measured to figures and goals. Pure."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks.cost.rounds import Samples, ratio, ratio_of_bests

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
    """Figures and goals of whatever has been measured."""
    epochs = {way: parts[epoch_part(way)] for way in ("many", "one") if epoch_part(way) in parts}
    preparing = parts.get(PREPARING)
    goals = _goals(preparing, epochs, manifest, batch_size, least_bytes)
    hashes = {found["weights_sha256"] for found in epochs.values()}
    return {
        "text": manifest,
        "preparing": preparing,
        "epochs": epochs,
        "times_one": _times_one(epochs),
        "same_weights": len(hashes) == 1 if len(epochs) > 1 else None,
        "steps": _steps(parts, rounds),
        "goals": goals,
        "goal_reached": all(goals.values()),
    }


def _goals(
    preparing: Any, epochs: Mapping[str, Any], manifest: Manifest, batch_size: int, least_bytes: int
) -> dict[str, bool]:
    """What must hold of what was measured; nothing is said of the rest."""
    goals = {f"at least {least_bytes / 1e6:g} MB of text": manifest["bytes"] >= least_bytes}
    for way, found in epochs.items():
        if preparing is not None:
            steps = -(-preparing["training_windows"] // batch_size)
            goals[f"{NAMES[way]}: one whole epoch"] = found["steps"] == steps
        before = None if preparing is None else preparing["initial_val_loss"]
        if before is not None and found["val_loss"] is not None:
            goals[f"{NAMES[way]}: the loss on held-out text falls"] = found["val_loss"] < before
    if len(epochs) > 1:
        hashes = {found["weights_sha256"] for found in epochs.values()}
        goals["the same weights for N = 1 and N = 2"] = len(hashes) == 1
    return goals


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
