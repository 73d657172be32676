"""What runs in threads: the arithmetic of a step, on buffers that the job owns.

Each method is one job. It takes its buffers from a pool, checks its token where it can be left, and
returns what it made; only the event loop decides whether anybody still wants it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from crystalline.model import (
    ModelConfig,
    Parameters,
    Workspace,
    layout_of,
    loss,
    loss_and_gradient,
    name_at,
)
from crystalline.optim import SLICE, AdamW, AdamWBuffers, adamw_update, slice_bounds, sum_of_squares
from crystalline.training.memory import Pool, Target
from crystalline.training.reduce import Node, covering_nodes, tree_sum

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors import JobToken
    from crystalline.training.messages import (
        ApplySlices,
        ComputeShards,
        EvaluateShards,
        NodeSum,
        ReduceSlices,
    )

__all__ = ["ShardWork", "Sums"]

Losses = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Gradients of tree nodes, in buffers from the pool, and losses of shards."""

    losses: Losses
    nodes: list[tuple[Node, Parameters]]
    busy_s: float


class ShardWork:
    """The jobs of one run. Methods may run in any number of threads at a time.

    Args:
        config: sizes of the model.
        shards: parts of a batch.
        rows_max: most sequences in a shard.
        weight_decay: for the optimizer.
        recompute: see `Workspace`.
    """

    def __init__(
        self, config: ModelConfig, *, shards: int, rows_max: int, weight_decay: float, recompute: bool = False
    ) -> None:
        self.config = config
        self.tree: Node = (0, shards)
        self.slices = slice_bounds(layout_of(config).size)
        self._decay_end = layout_of(config).decay_end
        self._weight_decay = weight_decay
        self._workspaces = Pool(lambda: Workspace(config, rows_max, recompute=recompute))
        self.gradients = Pool(lambda: Parameters(config, np.empty(layout_of(config).size, np.float32)))
        longest = min(SLICE, layout_of(config).size)
        self._sums = Pool(lambda: _SliceSums(longest))
        self._blocks = Pool(lambda: np.empty(longest, np.float32))

    def compute(self, token: JobToken, weights: Parameters, request: ComputeShards) -> Sums:
        """Losses and gradients of a run of shards, the gradients summed into the largest tree nodes.

        Raises:
            JobAbandoned: nobody waits any more.
        """
        begun_s = time.perf_counter()
        shards = list(request.shards)
        losses = np.zeros(len(shards))
        workspace = self._workspaces.take()
        scale = 1.0 / request.tokens_in_step

        def shard(node: Node) -> Parameters | None:
            at = node[0] - request.lo
            if node[1] - node[0] > 1 or not len(shards[at][0]):
                return None
            token.progress(f"step {request.step}, shard {at + 1} of {len(shards)}")
            gradient = self.gradients.take()
            losses[at] = loss_and_gradient(
                weights,
                gradient,
                *shards[at],
                workspace,
                loss_scale=scale,
                checkpoint=token.check,
            )
            return gradient

        try:
            with np.errstate(all="ignore"):  # what is not finite is found, named and refused by Root
                sums = [
                    (node, tree_sum(node, shard, self._add))
                    for node in covering_nodes(request.run, self.tree)
                ]
        finally:
            self._workspaces.give(workspace)
        nodes = [(node, total) for node, total in sums if total is not None]
        return Sums(losses, nodes, time.perf_counter() - begun_s)

    def _add(self, left: Parameters, right: Parameters) -> Parameters:
        np.add(left.flat, right.flat, out=left.flat)
        self.gradients.give(right)
        return left

    def evaluate(self, token: JobToken, weights: Parameters, request: EvaluateShards) -> Losses:
        """Losses of a run of shards.

        Raises:
            JobAbandoned: nobody waits any more.
        """
        workspace = self._workspaces.take()
        try:
            with np.errstate(all="ignore"):
                losses = [
                    loss(weights, inputs, targets, workspace, checkpoint=token.check) if len(inputs) else 0.0
                    for inputs, targets in request.shards
                ]
        finally:
            self._workspaces.give(workspace)
        return np.array(losses)

    def combine(
        self, token: JobToken, nodes: Sequence[NodeSum], run: Node
    ) -> tuple[list[tuple[Node, Any]], list[Parameters], float]:
        """Add nodes wherever both children of a tree node are there.

        Returns:
            The largest nodes within `run` with their flat gradients, the buffers that were taken from the
            pool for them, and the seconds that took.
        """
        begun_s = time.perf_counter()
        given = {(node.lo, node.hi): node.gradient for node in nodes}
        taken: dict[int, Parameters] = {}

        def add(left: Any, right: Any) -> Any:
            token.check()
            own = taken.get(id(left)) or self.gradients.take()
            taken[id(own.flat)] = own
            np.add(left, right, out=own.flat)
            return own.flat

        sums = [(node, tree_sum(node, given.get, add)) for node in covering_nodes(run, self.tree)]
        found = [(node, total) for node, total in sums if total is not None]
        return found, list(taken.values()), time.perf_counter() - begun_s

    def reduce(self, token: JobToken, target: Target, request: ReduceSlices) -> tuple[Losses, float]:
        """Sum the nodes' gradients over the tree, slice by slice, into the target's gradient.

        Returns:
            The sum of squares of each slice, float64, and the seconds that took.

        Raises:
            JobAbandoned: nobody waits any more.
        """
        begun_s = time.perf_counter()
        given = {(node.lo, node.hi): node.gradient for node in target.nodes}
        squares = np.zeros(request.hi - request.lo)
        sums = self._sums.take()
        try:
            with np.errstate(all="ignore"):
                for at, (lo, hi) in enumerate(self.slices[request.lo : request.hi]):
                    token.check()
                    total = sums.over_tree(self.tree, given, lo, hi)
                    out = target.gradient[lo:hi]
                    out[...] = 0.0 if total is None else total
                    squares[at] = sum_of_squares(out, sums.squares)
        finally:
            self._sums.give(sums)
        return squares, time.perf_counter() - begun_s

    def apply(
        self, token: JobToken, target: Target, current: AdamWBuffers, request: ApplySlices
    ) -> tuple[str, float]:
        """Write slices of the next weights and moments into the target.

        Returns:
            What would not be finite in them, empty when all is well; and the seconds that took.

        Raises:
            JobAbandoned: nobody waits any more.
        """
        begun_s = time.perf_counter()
        hyper = AdamW(learning_rate=request.learning_rate, weight_decay=self._weight_decay)
        scratch, trouble = self._blocks.take(), ""
        try:
            for lo, hi in self.slices[request.lo : request.hi]:
                token.check()
                part = target.buffers.part(lo, hi)
                with np.errstate(all="ignore"):  # what is not finite is found below
                    adamw_update(
                        part,
                        current.part(lo, hi),
                        target.gradient[lo:hi],
                        step=request.update,
                        hyper=hyper,
                        gradient_scale=request.gradient_scale,
                        decay_end=self._decay_end - lo,
                        scratch=scratch,
                    )
                trouble = self._trouble(lo, part, scratch)
                if trouble:
                    break
        finally:
            self._blocks.give(scratch)
        return trouble, time.perf_counter() - begun_s

    def _trouble(self, lo: int, part: AdamWBuffers, scratch: NDArray[np.float32]) -> str:
        for kind, made in zip(("weights", "first moment", "second moment"), part, strict=True):
            finite = np.isfinite(made, out=scratch.view(np.bool_)[: len(made)])
            if not finite.all():
                tensor = name_at(layout_of(self.config), lo + int(finite.argmin()))
                return f"the new {kind} of {tensor} would not be finite"
        return ""


class _SliceSums:
    """Tree sums of one slice of the flat buffer, in scratch that stays in the cache.

    Args:
        longest: floats of the longest slice.

    Attributes:
        squares: scratch for the squares of a slice, float64.
    """

    def __init__(self, longest: int) -> None:
        self.squares = np.empty(longest, np.float64)
        self._longest = longest
        self._scratch: list[NDArray[np.float32]] = []

    def over_tree(
        self, tree: Node, given: dict[Node, NDArray[np.float32]], lo: int, hi: int
    ) -> NDArray[np.float32] | None:
        """The sum, valid until the next call; None when no node has one."""
        free = list(self._scratch)
        own: set[int] = set()

        def known(node: Node) -> NDArray[np.float32] | None:
            gradient = given.get(node)
            return None if gradient is None else gradient[lo:hi]

        def add(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
            out = left if id(left) in own else self._take(free)[: hi - lo]
            own.add(id(out))
            kept.append(out)
            return np.add(left, right, out=out)

        kept: list[NDArray[np.float32]] = []  # ids are unique only among the living
        return tree_sum(tree, known, add)

    def _take(self, free: list[NDArray[np.float32]]) -> NDArray[np.float32]:
        if free:
            return free.pop()
        self._scratch.append(np.empty(self._longest, np.float32))
        return self._scratch[-1]
