"""The memory of a run as it was: weights of any version, computed once more from a checkpoint before it.

The result of a run has the same bits for any number of spheres, so one thread gets at any version that the
run ever had: by the gradients of whole batches, in the order of the run.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from actors import JobToken
from crystalline.data import batch_indices, epoch_order, steps_per_epoch
from crystalline.errors import TrainingError
from crystalline.optim import clip_scale, global_norm, learning_rate
from crystalline.training.cutting import cut_batch
from crystalline.training.memory import RunMemory
from crystalline.training.messages import (
    ApplySlices,
    ComputeShards,
    EvaluateShards,
    NodeSum,
    ReduceSlices,
    Shards,
)
from crystalline.training.plan import steps_planned

if TYPE_CHECKING:
    from actors.tracing import Payload
    from crystalline.data import Windows
    from crystalline.model import Parameters
    from crystalline.training.config import TrainConfig
    from crystalline.training.memory import Target
    from crystalline.training.work import ShardWork

__all__ = ["Recalled", "RecalledMemory"]

COMPUTE: Final = "crystalline.compute_shards"
EVALUATE: Final = "crystalline.evaluate_shards"


class RecalledMemory(RunMemory):
    """Memory in which there is one target, whatever the record calls the attempt."""

    def target(self, attempt: int) -> Target:  # noqa: ARG002 - attempts were counted in the record
        """Where to write."""
        return self._target


class Recalled:
    """A run, as far as its spheres share it.

    Args:
        train: settings of the run.
        windows: the text.
        work: the jobs.
        memory: weights and moments to begin with.
        step: steps of the run, skipped ones included, that made them.

    Attributes:
        memory: as given; moved on by `ready_for`.
    """

    def __init__(
        self, train: TrainConfig, windows: Windows, work: ShardWork, memory: RecalledMemory, step: int
    ) -> None:
        self.memory = memory
        self._train = train
        self._windows = windows
        self._work = work
        self._token = JobToken(math.inf)
        per_epoch = steps_per_epoch(len(windows.train), train.batch_size)
        self._planned = steps_planned(per_epoch, train.epochs, train.steps)
        self._done = step
        self._staged = 0  # the step that the target is for, 0 for none
        self._gradients: list[Parameters] = []
        self._norm = 0.0
        self._finite = False

    def ready_for(self, request: object) -> None:
        """Bring the memory to where it was when a sphere was asked for this.

        Raises:
            TrainingError: the run has no such version or step.
        """
        if isinstance(request, ComputeShards | EvaluateShards):
            while self.memory.version < request.version:
                self._take(self._done + 1)
        elif isinstance(request, ReduceSlices | ApplySlices):
            while self._done < request.step - 1:
                self._take(self._done + 1)
            self._stage(request.step)

    def rebuild(self, payload: Payload) -> Any:
        """Make a request once more whose arrays were recorded as hashes; None if it is none of a sphere's."""
        values = payload.fields.values
        if payload.tag == COMPUTE:
            request = self._request(values["step"], values["version"])
        elif payload.tag == EVALUATE:
            shards = self._cut(self._windows.validation, values["batch"])
            request = EvaluateShards(values["epoch"], values["batch"], values["version"], 0, shards)
        else:
            return None
        count = len(values["shards"].values["bounds"]) - 1
        return request.part((values["lo"], values["lo"] + count))

    def _request(self, step: int, version: int) -> Any:
        """What Root asks of all spheres together."""
        epoch, before = 1, 0
        while epoch <= len(self._planned) and before + self._planned[epoch - 1] < step:
            before += self._planned[epoch - 1]
            epoch += 1
        if epoch > len(self._planned):
            raise TrainingError(f"the trace has step {step}, and the run {sum(self._planned)} steps")
        order = epoch_order(len(self._windows.train), self._train.seed, epoch)
        shards = self._cut(self._windows.train[order], step - before - 1)
        tokens = int(np.count_nonzero(shards.targets >= 0))
        return ComputeShards(epoch, step, version, tokens, 0, shards)

    def _cut(self, order: np.ndarray[Any, Any], at: int) -> Shards:
        return cut_batch(self._windows, batch_indices(order, at, self._train.batch_size), self._train.shards)

    def _stage(self, step: int) -> None:
        """Have the gradient of a step in the target."""
        if self._staged == step:
            return
        sums = self._work.compute(
            self._token, self.memory.weights(self.memory.version), self._request(step, self.memory.version)
        )
        nodes = tuple(NodeSum(*node, gradient.flat) for node, gradient in sums.nodes)
        self.memory.stage(nodes)
        reduce = ReduceSlices(step, 0, 0, len(self._work.slices))
        squares, _ = self._work.reduce(self._token, self.memory.target(0), reduce)
        self._norm = global_norm(squares.tolist()) if np.isfinite(squares).all() else math.nan
        self._finite = bool(np.isfinite(sums.losses).all()) and math.isfinite(self._norm)
        self._gradients = [gradient for _, gradient in sums.nodes]
        self._staged = step

    def _take(self, step: int) -> None:
        """Take a step; one that is not finite leaves the weights as they are."""
        self._stage(step)
        rate = learning_rate(
            step - 1,
            peak=self._train.lr,
            warmup_steps=self._train.warmup,
            total_steps=sum(self._planned),
        )
        if self._finite:
            update, scale = self.memory.version + 1, clip_scale(self._norm, self._train.clip)
            apply = ApplySlices(step, update, 0, 0, len(self._work.slices), rate, scale)
            trouble, _ = self._work.apply(self._token, self.memory.target(0), self.memory.current, apply)
            if not trouble:
                self.memory.commit()
        for gradient in self._gradients:
            self._work.gradients.give(gradient)
        self._done, self._staged = step, 0
