"""Other ways to get the gradient of a sphere's shards, whose bits depend on how many spheres there are.

They take turns with the fixed tree, step by step, in one run. Everything else is the same: Root, spheres,
messages, the sum over the spheres, norm, clipping, AdamW.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from crystalline.model import Workspace, loss_and_gradient
from crystalline.training.memory import Pool
from crystalline.training.reduce import covering_nodes
from crystalline.training.work import ShardWork, Sums

if TYPE_CHECKING:
    from actors import JobToken
    from crystalline.model import ModelConfig, Parameters
    from crystalline.training.messages import ComputeShards

__all__ = ["OTHERS", "TREE", "TakingTurns", "way_of"]

TREE: Final = "tree"
OTHERS: Final = ("naive", "at_once")

Losses = np.ndarray[Any, np.dtype[np.float64]]


def way_of(step: int, other: str) -> str:
    """Whose turn it is: a round has two steps, and each second round the opposite order.

    >>> [way_of(step, "naive") for step in range(1, 5)]
    ['tree', 'naive', 'naive', 'tree']
    """
    return TREE if step % 4 in {0, 1} else other


class TakingTurns(ShardWork):
    """Work that computes by the tree and by another way, in turn.

    Args:
        config: as for `ShardWork`, like the settings that are not named here.
        shards: likewise.
        rows_max: likewise.
        other: `naive`: shard after shard, each added to one buffer. `at_once`: all sequences of a sphere in
            one pass, as trainers do that know no shards.

    Attributes:
        computed: how often each way computed.
    """

    def __init__(
        self, config: ModelConfig, *, shards: int, rows_max: int, other: str, **settings: Any
    ) -> None:
        super().__init__(config, shards=shards, rows_max=rows_max, **settings)
        self._other = other
        self._large = Pool(lambda: Workspace(config, shards * rows_max))
        self.computed: Counter[str] = Counter()

    def compute(self, token: JobToken, weights: Parameters, request: ComputeShards) -> Sums:
        """Losses of the shards, and their gradients summed.

        Raises:
            ValueError: the shards are no node of the tree, as with three spheres: nobody could add them up.
        """
        way = way_of(request.step, self._other)
        self.computed[way] += 1
        if way == TREE:
            return super().compute(token, weights, request)
        if covering_nodes(request.run, self.tree) != [request.run]:
            raise ValueError(f"the shards {request.run} are no node of the tree: choose 1, 2 or 4 spheres")
        begun_s = time.perf_counter()
        accumulate = self._one_by_one if way == "naive" else self._at_once
        with np.errstate(all="ignore"):  # as the tree has it
            losses, total = accumulate(token, weights, request)
        return Sums(losses, [(request.run, total)], time.perf_counter() - begun_s)

    def _one_by_one(
        self, token: JobToken, weights: Parameters, request: ComputeShards
    ) -> tuple[Losses, Parameters]:
        losses, total = np.zeros(len(request.shards)), self.gradients.take()
        scale, begun, workspace = 1.0 / request.tokens_in_step, False, self._workspaces.take()
        for at, (inputs, targets) in enumerate(request.shards):
            if not len(inputs):
                continue
            gradient = self.gradients.take() if begun else total
            losses[at] = loss_and_gradient(
                weights, gradient, inputs, targets, workspace, loss_scale=scale, checkpoint=token.check
            )
            if begun:
                self._add(total, gradient)
            begun = True
        if not begun:
            total.flat[...] = 0.0
        self._workspaces.give(workspace)
        return losses, total

    def _at_once(
        self, token: JobToken, weights: Parameters, request: ComputeShards
    ) -> tuple[Losses, Parameters]:
        """The loss of the pass counts for its first shard."""
        losses, total = np.zeros(len(request.shards)), self.gradients.take()
        if not len(request.shards.inputs):
            total.flat[...] = 0.0
            return losses, total
        workspace = self._large.take()
        losses[0] = loss_and_gradient(
            weights,
            total,
            request.shards.inputs,
            request.shards.targets,
            workspace,
            loss_scale=1.0 / request.tokens_in_step,
            checkpoint=token.check,
        )
        self._large.give(workspace)
        return losses, total
