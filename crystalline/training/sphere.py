"""The spheres: leaves that compute, and control spheres that pass work down and partial sums up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from actors import Actor, ActorRef, Context, State, Supervision, freeze, on
from actors.notes import NOTES_MAX
from crystalline.training.gather import ask_once, gather
from crystalline.training.messages import (
    ApplySlices,
    ComputeShards,
    Disturbed,
    EvaluateShards,
    NodeSum,
    ReduceSlices,
    ShardLosses,
    ShardSums,
    SlicesApplied,
    SliceSquares,
)
from crystalline.training.team import Team

if TYPE_CHECKING:
    from collections.abc import Sequence

    from crystalline.model import Parameters
    from crystalline.training.gather import Reasons
    from crystalline.training.memory import RunMemory
    from crystalline.training.plan import TreePlan
    from crystalline.training.work import ShardWork

__all__ = ["ControlSphere", "Sphere", "spawn_spheres"]

Usage = np.ndarray[Any, Any]

_STORY_CHARS = 2_000


class Seat:
    """What every sphere is given when it is started, and again when it is restarted.

    Attributes:
        plan: the whole tree.
        memory: of the run.
        work: the jobs.
        job_timeout_s: limit of one job.
        redistribute: whether siblings take over the work of a sphere that is lost for good.
    """

    def __init__(
        self,
        plan: TreePlan,
        memory: RunMemory,
        work: ShardWork,
        job_timeout_s: float,
        *,
        redistribute: bool = False,
    ) -> None:
        self.plan = plan
        self.memory = memory
        self.work = work
        self.job_timeout_s = job_timeout_s
        self.redistribute = redistribute


async def spawn_spheres(ctx: Context, parent: int | None, seat: Seat) -> Team:
    """Start the spheres below `parent` (None: below Root)."""
    members: dict[ActorRef[Any], int] = {}
    # A part that fails every time must exhaust the restarts, even if each try takes as long as it may, and
    # even if it is a child that fails so, and takes its parent along.
    window_s = 60.0 + 20.0 * seat.job_timeout_s
    supervision = Supervision(max_restarts=3, window_s=window_s, backoff_s=0.02)
    for index in seat.plan.below[parent]:
        actor = ControlSphere if seat.plan.below[index] else Sphere
        ref = await ctx.spawn(actor, index, seat, name=f"sphere-{index}", supervision=supervision)
        members[ref] = seat.plan.leaves[index]
    return Team(members, redistribute=seat.redistribute)


class _Published:
    """Buffers that were sent upwards, until whoever has them is done with their step."""

    def __init__(self, work: ShardWork) -> None:
        self._work = work
        self._step = 0
        self._buffers: list[Parameters] = []

    def recycle(self, step: int) -> None:
        """Work for a later step means that the earlier ones were reduced: their buffers are free."""
        if step > self._step:
            for buffer in self._buffers:
                self._work.gradients.give(buffer)
            self._buffers.clear()
            self._step = step

    def add(self, buffers: Sequence[Parameters]) -> None:
        self._buffers.extend(buffers)


class Sphere(Actor):
    """A leaf of the tree: computes its shards, and its slices of the update, as jobs in threads."""

    def __init__(self, index: int, seat: Seat) -> None:
        self._index = index
        self._seat = seat
        self._published = _Published(seat.work)

    @on(ComputeShards, when=State.RUNNING)
    async def compute(self, msg: ComputeShards, ctx: Context) -> ShardSums:
        """Compute the gradients of a run of shards."""
        begun_s = time.perf_counter()
        self._published.recycle(msg.step)
        weights = self._seat.memory.weights(msg.version)
        sums = await ctx.offload_within(self._seat.job_timeout_s, self._seat.work.compute, weights, msg)
        self._published.add([gradient for _, gradient in sums.nodes])
        nodes = tuple(NodeSum(*node, freeze(gradient.flat)) for node, gradient in sums.nodes)
        usage = self._usage(begun_s, sums.busy_s)
        return ShardSums(msg.epoch, msg.step, *msg.run, freeze(sums.losses), nodes, usage)

    @on(EvaluateShards, when=State.RUNNING)
    async def evaluate(self, msg: EvaluateShards, ctx: Context) -> ShardLosses:
        """Compute the losses of a run of shards."""
        weights = self._seat.memory.weights(msg.version)
        losses = await ctx.offload_within(self._seat.job_timeout_s, self._seat.work.evaluate, weights, msg)
        return ShardLosses(msg.epoch, msg.batch, *msg.run, freeze(losses))

    @on(ReduceSlices, when=State.RUNNING)
    async def reduce(self, msg: ReduceSlices, ctx: Context) -> SliceSquares:
        """Sum the gradient on a run of slices."""
        begun_s = time.perf_counter()
        target = self._seat.memory.target(msg.attempt)
        limit_s = self._seat.job_timeout_s
        squares, busy_s = await ctx.offload_within(limit_s, self._seat.work.reduce, target, msg)
        return SliceSquares(msg.step, msg.attempt, *msg.run, freeze(squares), self._usage(begun_s, busy_s))

    @on(ApplySlices, when=State.RUNNING)
    async def apply(self, msg: ApplySlices, ctx: Context) -> SlicesApplied:
        """Make a run of slices of the next weights."""
        begun_s = time.perf_counter()
        target, current = self._seat.memory.target(msg.attempt), self._seat.memory.current
        limit_s = self._seat.job_timeout_s
        trouble, busy_s = await ctx.offload_within(limit_s, self._seat.work.apply, target, current, msg)
        return SlicesApplied(msg.step, msg.attempt, *msg.run, self._usage(begun_s, busy_s), trouble)

    def _usage(self, begun_s: float, busy_s: float) -> Usage:
        waiting_s = max(0.0, time.perf_counter() - begun_s - busy_s)
        return freeze(np.array([[self._index, busy_s, waiting_s]]))


class ControlSphere(Actor):
    """A sphere with children: shares its run out among them and adds what belongs together."""

    def __init__(self, index: int, seat: Seat) -> None:
        self._index = index
        self._seat = seat
        self._published = _Published(seat.work)
        self._team = Team({}, redistribute=False)

    async def on_start(self, ctx: Context) -> None:
        """Start the spheres below."""
        self._team = await spawn_spheres(ctx, self._index, self._seat)

    @on(ComputeShards, when=State.RUNNING)
    async def compute(self, msg: ComputeShards, ctx: Context) -> ShardSums:
        """Have a run of shards computed below."""
        begun_s = time.perf_counter()
        self._published.recycle(msg.step)
        sums = await gather(ctx, self._team, msg)
        given = [node for part in sums for node in part.nodes]
        nodes, taken, busy_s = await ctx.offload_within(
            self._seat.job_timeout_s, self._seat.work.combine, given, msg.run
        )
        self._published.add(taken)
        return ShardSums(
            msg.epoch,
            msg.step,
            *msg.run,
            freeze(np.concatenate([part.losses for part in sums])),
            tuple(NodeSum(*node, freeze(gradient)) for node, gradient in nodes),
            self._usage(begun_s, busy_s, sums),
        )

    @on(EvaluateShards, when=State.RUNNING)
    async def evaluate(self, msg: EvaluateShards, ctx: Context) -> ShardLosses:
        """Have the losses of a run of shards computed below."""
        parts = await gather(ctx, self._team, msg)
        losses = np.concatenate([part.losses for part in parts])
        return ShardLosses(msg.epoch, msg.batch, *msg.run, freeze(losses))

    @on(ReduceSlices, when=State.RUNNING)
    async def reduce(self, msg: ReduceSlices, ctx: Context) -> SliceSquares | Disturbed:
        """Have a run of slices summed below; one who is lost may still write, so then the attempt is void."""
        begun_s = time.perf_counter()
        parts, reasons = await ask_once(ctx, self._team, msg)
        if parts is None:
            return _disturbed(msg, reasons)
        squares = np.concatenate([part.squares for part in parts])
        return SliceSquares(
            msg.step, msg.attempt, *msg.run, freeze(squares), self._usage(begun_s, 0.0, parts)
        )

    @on(ApplySlices, when=State.RUNNING)
    async def apply(self, msg: ApplySlices, ctx: Context) -> SlicesApplied | Disturbed:
        """Have a run of slices of the next weights made below, once, as in `reduce`."""
        begun_s = time.perf_counter()
        parts, reasons = await ask_once(ctx, self._team, msg)
        if parts is None:
            return _disturbed(msg, reasons)
        trouble = next((part.trouble for part in parts if part.trouble), "")
        return SlicesApplied(msg.step, msg.attempt, *msg.run, self._usage(begun_s, 0.0, parts), trouble)

    def _usage(self, begun_s: float, busy_s: float, parts: Sequence[Any]) -> Usage:
        waiting_s = max(0.0, time.perf_counter() - begun_s - busy_s)
        own = np.array([[self._index, busy_s, waiting_s]])
        return freeze(np.concatenate([own, *(part.usage for part in parts)]))


def _disturbed(msg: ReduceSlices | ApplySlices, reasons: Reasons) -> Disturbed:
    story = "; ".join(f"lost {ref}: {setback.story}" for ref, setback in reasons.items())
    notes = dict.fromkeys(note for setback in reasons.values() for note in setback.notes)
    return Disturbed(msg.step, msg.attempt, story[:_STORY_CHARS], tuple(notes)[:NOTES_MAX])
