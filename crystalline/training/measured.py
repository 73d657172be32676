"""What the messages of a training may say otherwise each time: what was measured, and where files are."""

from __future__ import annotations

from typing import Final

__all__ = ["MEASURED"]

MEASURED: Final = frozenset(
    f"crystalline.{name}"
    for name in (
        "shard_sums.usage",
        "slice_squares.usage",
        "slices_applied.usage",
        "step_done.seconds",
        "step_done.busy",
        "step_done.waiting",
        "epoch_done.seconds",
        "epoch_done.spheres",
        "epoch_report.seconds",
        "epoch_report.usage",
        "keep.progress",
        "write.progress",
        "written.folder",
        "saved.folder",
        "save_report.folder",
        "save_report.seconds",
        "save_report.usage",
    )
)
"""Fields, each as `tag.field`. In all others two runs with one seed, data and settings agree to the bit."""
