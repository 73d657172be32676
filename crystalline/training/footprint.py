"""How much memory a run takes: what its buffers will hold, known beforehand, and what was in use at most."""

from __future__ import annotations

import os
import resource
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from crystalline.model import Workspace
from crystalline.optim import SLICE
from crystalline.training.plan import TreePlan
from crystalline.training.reduce import covering_nodes, tree_sum

if TYPE_CHECKING:
    from crystalline.model import ModelConfig
    from crystalline.training.config import TrainConfig
    from crystalline.training.reduce import Node

__all__ = ["Footprint", "footprint", "gradients_at_once", "peak_rss_bytes", "rows_in_a_shard"]

_FLOAT_BYTES: Final = 4
_STATUS: Final = Path("/proc/self/status")


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes that the buffers of a run take when it has taken a few steps.

    The token ids and what the interpreter needs are not counted; neither is what a lost sphere leaves behind,
    nor what the files of a checkpoint pass through while they are written.

    Attributes:
        weights: weights and both moments in two versions, and the gradient of the step.
        gradients: those of tree nodes, in the hands of spheres.
        workspaces: activations and their gradients.
        slices: scratch of the jobs that sum the gradients and make the next weights, slice by slice.
        archive: the copy of weights and moments that becomes a checkpoint.
    """

    weights: int
    gradients: int
    workspaces: int
    slices: int
    archive: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.workspaces + self.slices + self.archive


def footprint(
    model: ModelConfig, train: TrainConfig, *, rows: int | None, keeps_files: bool, threads: int | None = None
) -> Footprint:
    """What the buffers of a run will take.

    A workspace is made and dropped for it: memory that nobody has written to costs nothing.

    Args:
        model: sizes, with the vocabulary that the text has given.
        train: settings.
        rows: most sequences in a shard, see `rows_in_a_shard`; None, when the text is not known yet, leaves
            workspaces out.
        keeps_files: whether checkpoints are written.
        threads: how many jobs run at a time; default: the number of cores, as an `ActorSystem` has it.

    Raises:
        MemoryError: the system would not even promise the memory of one workspace.
    """
    threads = threads or os.cpu_count() or 1
    flat = model.parameter_count() * _FLOAT_BYTES
    plan = TreePlan(train.spheres)
    at_work = min(threads, len(_working_leaves(plan, train.shards)))
    workspace = Workspace(model, rows, recompute=train.recompute).nbytes if rows is not None else 0
    return Footprint(
        weights=7 * flat,
        gradients=gradients_at_once(plan, train.shards, threads) * flat,
        workspaces=at_work * workspace,
        slices=_slice_scratch(plan, train.shards, model.parameter_count(), threads),
        archive=3 * flat if keeps_files else 0,
    )


def rows_in_a_shard(train: TrainConfig, windows: int) -> int:
    """Most sequences in a shard, of a text with so many windows."""
    return -(-min(train.batch_size, windows) // train.shards)


def gradients_at_once(plan: TreePlan, shards: int, threads: int) -> int:
    """How many gradients of tree nodes are alive at a time, at the most.

    A sphere keeps what it has sent upwards until the next step. The worst moment is when all others have
    theirs ready and as many leaves as there are threads are each at the point where they hold the most.
    """
    runs, tree = plan.runs(shards), (0, shards)
    leaves = [_of_leaf(runs[leaf], tree) for leaf in _working_leaves(plan, shards)]
    added = sum(
        _of_control(runs[sphere], [runs[child] for child in below], tree)
        for sphere, below in plan.below.items()
        if sphere is not None and below
    )
    beyond = sorted((most - kept for most, kept in leaves), reverse=True)
    return added + sum(kept for _, kept in leaves) + sum(beyond[:threads])


def peak_rss_bytes() -> int:
    """The most memory that this process has had resident since it was started."""
    if _STATUS.exists():  # Linux: getrusage counts there what the parent had when it started this process
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _working_leaves(plan: TreePlan, shards: int) -> list[int]:
    runs = plan.runs(shards)
    return [leaf for leaf, (lo, hi) in runs.items() if lo < hi and not plan.below[leaf]]


def _of_leaf(run: Node, tree: Node) -> tuple[int, int]:
    """How many gradients `ShardWork.compute` holds at most, and at its end."""
    alive = most = 0

    def compute(node: Node) -> bool | None:
        nonlocal alive, most
        if node[1] - node[0] > 1:
            return None
        alive += 1
        most = max(most, alive)
        return True

    def add(left: bool, _right: bool) -> bool:  # noqa: FBT001 - called by `tree_sum`
        nonlocal alive
        alive -= 1
        return left

    for node in covering_nodes(run, tree):
        tree_sum(node, compute, add)
    return most, alive


def _slice_scratch(plan: TreePlan, shards: int, size: int, threads: int) -> int:
    """Bytes of scratch for `ShardWork.reduce` and `ShardWork.apply` on a flat buffer of `size` floats."""
    slices = -(-size // SLICE)  # not as a list: the size may be an absurd one
    runs, tree = plan.runs(shards), (0, shards)
    sums = _of_control(tree, [runs[top] for top in plan.below[None]], tree)
    # A reduction has squares in float64 beside its sums, an update one block.
    floats = 2 + sums + 1
    return min(threads, len(_working_leaves(plan, slices))) * floats * min(SLICE, size) * _FLOAT_BYTES


def _of_control(run: Node, parts: list[Node], tree: Node) -> int:
    """How many gradients `ShardWork.combine` takes: one for each sum whose left part was given.

    Slices of gradients are summed in the same way by `ShardWork.reduce`.
    """
    given = {node for part in parts for node in covering_nodes(part, tree)}
    taken = 0

    def add(left: bool, _right: bool) -> bool:  # noqa: FBT001 - called by `tree_sum`
        nonlocal taken
        taken += not left
        return True

    for node in covering_nodes(run, tree):
        tree_sum(node, lambda child: False if child in given else None, add)
    return taken
