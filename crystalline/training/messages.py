"""What Root and the spheres say to each other. Arrays travel by reference, read-only, as raw buffers."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from actors import Request, freeze, message
from crystalline.training.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "ApplySlices",
    "ComputeShards",
    "Disturbed",
    "EpochReport",
    "EvaluateShards",
    "Flush",
    "Keep",
    "Kept",
    "NodeSum",
    "ReduceSlices",
    "Save",
    "SaveReport",
    "ShardLosses",
    "ShardSums",
    "Shards",
    "SliceSquares",
    "SlicesApplied",
    "TrainEpoch",
    "Written",
]

Array = np.ndarray[Any, Any]


@message("crystalline.train_epoch")
class TrainEpoch(Request["EpochReport"]):
    """Asked of Root from outside: train the next epoch.

    Attributes:
        epoch: its number, from 1.
        timeout_s: for the whole of it.
    """

    epoch: int
    timeout_s: float


@message("crystalline.epoch_report")
class EpochReport:
    """Root's answer when an epoch is over.

    Attributes:
        epoch: its number.
        step: steps of the run so far.
        train_loss: mean cross-entropy over the epoch's training tokens, nats; None when every step was
            skipped.
        val_loss: the same over the held-out tokens, after the epoch; None without any.
        tokens: training tokens of the epoch.
        seconds: how long the training part took.
        usage: (spheres, 2) float64: seconds computing, and seconds waiting with work at hand.
    """

    epoch: int
    step: int
    train_loss: float | None
    val_loss: float | None
    tokens: int
    seconds: float
    usage: Array


@message("crystalline.save")
class Save(Request["SaveReport"]):
    """Asked of Root: write a checkpoint of where it stands now."""


@message("crystalline.save_report")
class SaveReport:
    """The checkpoint that holds Root's state.

    Attributes:
        folder: where it is; None when the run keeps no files.
        step: steps of the run in it.
        weights_sha256: hash of its weights.
        tokens: training tokens of the run so far.
        seconds: what its training steps took so far.
        usage: as in `EpochReport`, over the run so far.
        skipped: steps that did not change the weights.
        spikes: steps whose loss was far above those before.
        validated: whether the epoch under way is over.
    """

    folder: str | None
    step: int
    weights_sha256: str
    tokens: int
    seconds: float
    usage: Array
    skipped: int
    spikes: int
    validated: bool


@message("crystalline.keep")
class Keep(Request["Kept"]):
    """Asked of the archive: copy the weights as they are now, and write them in your own time.

    Attributes:
        progress: where the run stands with these weights.
    """

    progress: Progress


@message("crystalline.kept")
class Kept:
    """The answer to `Keep`: a copy was made, and the weights may change."""

    step: int


@message("crystalline.flush")
class Flush(Request["Written"]):
    """Asked of the archive: answer when what was kept has been written."""


@message("crystalline.written")
class Written:
    """The answer to `Flush`: the newest checkpoint on the disk.

    Attributes:
        folder: where it is; empty when this life of the archive has written none.
        step: steps of the run in it.
        weights_sha256: hash of its weights.
    """

    folder: str
    step: int
    weights_sha256: str


@message("crystalline.shards")
class Shards:
    """The sequences of a run of shards, one shard after the other.

    Attributes:
        inputs: (n, T) int32, token ids.
        targets: (n, T) int32; -1 is padding.
        bounds: the row at which each shard begins, and the end of the last; one more than there are shards.
    """

    inputs: Array
    targets: Array
    bounds: tuple[int, ...]

    @classmethod
    def of(cls, inputs: Sequence[Array], targets: Sequence[Array]) -> Shards:
        """Lay the arrays of each shard, (n, T) with any n, end to end."""
        bounds = (0, *accumulate(map(len, inputs)))
        return cls(freeze(np.concatenate(inputs)), freeze(np.concatenate(targets)), bounds)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        """Inputs and targets of each shard, views."""
        return ((self.inputs[lo:hi], self.targets[lo:hi]) for lo, hi in pairwise(self.bounds))

    def part(self, lo: int, hi: int) -> Shards:
        """The shards from `lo` to before `hi`, counted from the first one here; views."""
        begin, end = self.bounds[lo], self.bounds[hi]
        bounds = tuple(bound - begin for bound in self.bounds[lo : hi + 1])
        return Shards(self.inputs[begin:end], self.targets[begin:end], bounds)


@message("crystalline.compute_shards")
class ComputeShards(Request["ShardSums"]):
    """Asked downwards: compute the gradients of a run of shards.

    Attributes:
        epoch: the epoch under way.
        step: the step of the run, from 1.
        version: of the weights to compute on.
        tokens_in_step: real tokens of the whole batch; the loss is the mean over them.
        lo: first shard.
        shards: the shards from `lo` on; some may have no sequences.
    """

    epoch: int
    step: int
    version: int
    tokens_in_step: int
    lo: int
    shards: Shards

    @property
    def run(self) -> tuple[int, int]:
        """The shards asked for, [lo, hi)."""
        return self.lo, self.lo + len(self.shards)

    def part(self, run: tuple[int, int]) -> ComputeShards:
        """The same for a run within this one."""
        return _of_shards(self, run)


@message("crystalline.node_sum")
class NodeSum:
    """The gradient of one node of the reduction tree.

    Attributes:
        lo: first shard.
        hi: behind the last shard.
        gradient: the flat gradient, float32.
    """

    lo: int
    hi: int
    gradient: Array


@message("crystalline.shard_sums")
class ShardSums:
    """The answer to `ComputeShards`.

    Attributes:
        epoch: as asked.
        step: as asked.
        lo: first shard.
        hi: behind the last shard.
        losses: (hi - lo,) float64, the summed token losses of each shard.
        nodes: gradients of the largest tree nodes within the run; nodes without sequences are left out.
        usage: (n, 3) float64: sphere, seconds computing, seconds waiting, for each sphere at work.
    """

    epoch: int
    step: int
    lo: int
    hi: int
    losses: Array
    nodes: tuple[NodeSum, ...]
    usage: Array


@message("crystalline.evaluate_shards")
class EvaluateShards(Request["ShardLosses"]):
    """Asked downwards: compute the losses of a run of shards alone.

    Fields as in `ComputeShards`; `batch` counts the batches of the held-out text.
    """

    epoch: int
    batch: int
    version: int
    lo: int
    shards: Shards

    @property
    def run(self) -> tuple[int, int]:
        """The shards asked for, [lo, hi)."""
        return self.lo, self.lo + len(self.shards)

    def part(self, run: tuple[int, int]) -> EvaluateShards:
        """The same for a run within this one."""
        return _of_shards(self, run)


@message("crystalline.shard_losses")
class ShardLosses:
    """The answer to `EvaluateShards`: (hi - lo,) float64, the summed token losses of each shard."""

    epoch: int
    batch: int
    lo: int
    hi: int
    losses: Array


@message("crystalline.reduce_slices")
class ReduceSlices(Request["SliceSquares"]):
    """Asked downwards: add the nodes' gradients on a run of slices of the flat buffer.

    Attributes:
        step: the step of the run.
        attempt: names the memory with the nodes, which is also the one to write to.
        lo: first slice.
        hi: behind the last slice.
    """

    step: int
    attempt: int
    lo: int
    hi: int

    @property
    def run(self) -> tuple[int, int]:
        """The slices asked for."""
        return self.lo, self.hi

    def part(self, run: tuple[int, int]) -> ReduceSlices:
        """The same for a run within this one."""
        return replace(self, lo=run[0], hi=run[1])


@message("crystalline.slice_squares")
class SliceSquares:
    """The answer to `ReduceSlices`: (hi - lo,) float64, the sum of squares of each slice."""

    step: int
    attempt: int
    lo: int
    hi: int
    squares: Array
    usage: Array


@message("crystalline.apply_slices")
class ApplySlices(Request["SlicesApplied"]):
    """Asked downwards: make a run of slices of the next weights.

    Attributes:
        step: the step of the run, from 1.
        update: counts the steps that change the weights, from 1.
        attempt: names the memory to read the gradient from and to write to.
        lo: first slice.
        hi: behind the last slice.
        learning_rate: of this step.
        gradient_scale: factor of the gradient, from clipping.
    """

    step: int
    update: int
    attempt: int
    lo: int
    hi: int
    learning_rate: float
    gradient_scale: float

    @property
    def run(self) -> tuple[int, int]:
        """The slices asked for."""
        return self.lo, self.hi

    def part(self, run: tuple[int, int]) -> ApplySlices:
        """The same for a run within this one."""
        return replace(self, lo=run[0], hi=run[1])


@message("crystalline.slices_applied")
class SlicesApplied:
    """The answer to `ApplySlices`.

    `trouble` says what would not be finite in the new weights or moments; it is empty when all is well.
    """

    step: int
    attempt: int
    lo: int
    hi: int
    usage: Array
    trouble: str = ""


@message("crystalline.disturbed")
class Disturbed:
    """Another answer to `ReduceSlices` and `ApplySlices`: one below was lost, so this attempt is void.

    Attributes:
        step: as in the request.
        attempt: as in the request.
        reason: who was lost, and why.
        notes: what else is known of that.
    """

    step: int
    attempt: int
    reason: str
    notes: tuple[str, ...] = ()


S = TypeVar("S", ComputeShards, EvaluateShards)


def _of_shards(whole: S, run: tuple[int, int]) -> S:
    lo, hi = run[0] - whole.lo, run[1] - whole.lo
    return replace(whole, lo=run[0], shards=whole.shards.part(lo, hi))
