"""The last words of `crystalline train`: for people, and for programs."""

from __future__ import annotations

import json
import shlex
from statistics import fmean
from typing import TYPE_CHECKING, Final

from crystalline.lattice import parents

if TYPE_CHECKING:
    from crystalline.training import TrainReport

__all__ = ["conclusion", "json_line", "whereabouts"]

_SPHERES_MAX: Final = 4  # more lines than these are a table that nobody asked for


def json_line(report: TrainReport) -> str:
    """The report as one line of JSON."""
    return json.dumps(report.to_json())


def conclusion(report: TrainReport) -> list[str]:
    """What was learned; one string a line."""
    end = "stopped early" if report.interrupted else "done"
    learned = f"{report.parameters:,} parameters, {report.tokens:,} tokens in {report.steps} steps"
    lines = [f"{end}: {learned}, {report.wall_s:.1f} s", *_losses(report)]
    lines += [*_loads(report), _memory(report)]
    if report.skipped:
        lines.append(f"note: {report.skipped} steps were skipped, because a number was not finite")
    if report.spikes:
        lines.append(f"note: in {report.spikes} steps the loss stood out; see spike in metrics.jsonl")
    if report.resting:
        lines.append(
            f"note: {report.resting} of {report.spheres} spheres rested, there were {report.shards} shards "
            "to share; more --shards would give them work"
        )
    return lines


def whereabouts(report: TrainReport) -> list[str]:
    """Where the model is, and how to talk to it; to be copied, hence never to be broken over lines.

    Returns:
        One string a line; none when the run kept no files.
    """
    if report.model is None:
        return []
    folder = shlex.quote(report.model)
    further = [f"go on: crystalline train --resume {folder}"] if report.interrupted else []
    return [
        f"model: {report.model}",
        f"talk to it: crystalline generate {folder} --prompt 'The'",
        *further,
    ]


def _loads(report: TrainReport) -> list[str]:
    """How the spheres have spent the time of the training steps; a line each, or a few for many."""
    kinds = {"busy": report.sphere_busy, "waiting": report.sphere_waiting, "idle": report.sphere_idle}
    if report.spheres <= _SPHERES_MAX:
        return [
            f"sphere-{number}: " + ", ".join(f"{kind} {parts[number]:.0%}" for kind, parts in kinds.items())
            for number in range(report.spheres)
        ]
    control = set(parents(report.spheres))
    computing = [number for number in range(report.spheres) if number not in control]
    lines = [f"{report.spheres} spheres, of which {len(computing)} have none below them and compute:"]
    for kind, parts in kinds.items():
        found = [parts[number] for number in computing]
        lines.append(f"  {kind:<7} {min(found):4.0%} to {max(found):4.0%}, mean {fmean(found):4.0%}")
    return lines


def _memory(report: TrainReport) -> str:
    peak, planned = report.peak_rss_bytes / 1e6, report.planned_bytes / 1e6
    return f"peak memory: {peak:,.0f} MB; the buffers of the training take {planned:,.0f} MB"


def _losses(report: TrainReport) -> list[str]:
    lines = []
    if report.train_loss is not None:
        lines.append(f"training loss: {report.train_loss:.3f} nats per token in the last epoch")
    if report.val_loss is not None and report.unigram_loss is not None:
        lines.append(
            f"validation loss: {report.val_loss:.3f} nats per token, against {report.unigram_loss:.3f} "
            "of the unigram distribution of the training tokens"
        )
    return lines
