"""Work that stops at gates, where all spheres wait while limits are measured and clocks are put on or off."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from crystalline.training.work import ShardWork

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors import JobToken
    from crystalline.model import ModelConfig, Parameters
    from crystalline.training.messages import ComputeShards
    from crystalline.training.work import Sums

__all__ = ["WARM", "GatedWork", "Schedule"]

WARM: Final = 2
"""Steps before the first gate: buffers are allocated in them."""

_GATE_MAX_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Which step is what. A block is a step that waits at a gate and does not count, and some that count.

    Attributes:
        rounds: of two blocks each, one plain and one with clocks; every second round the other way round.
        steps: that count in a block.
    """

    rounds: int
    steps: int

    @property
    def blocks(self) -> int:
        """Of all rounds."""
        return 2 * self.rounds

    @property
    def total(self) -> int:
        """All steps; the last one is a gate, so that there is one on both sides of each block."""
        return WARM + self.blocks * (1 + self.steps) + 1

    def gate(self, step: int) -> int | None:
        """The number of the gate before a step, from 0; None without one."""
        block, place = divmod(step - WARM - 1, 1 + self.steps)
        return block if step > WARM and place == 0 else None

    def start(self, step: int) -> bool:
        """Whether a step is the first that counts in its block."""
        return self.gate(step - 1) is not None and step <= self.total

    def block(self, step: int) -> int | None:
        """The block in which a step counts; None when it does not count."""
        block, place = divmod(step - WARM - 1, 1 + self.steps)
        return block if step > WARM and place > 0 else None

    def clocked(self, block: int) -> bool:
        """Whether the clocks are on in a block; they are off behind the last one.

        >>> [Schedule(2, 1).clocked(block) for block in range(5)]
        [False, True, True, False, False]
        """
        return block % 4 in {1, 2} and block < self.blocks


class GatedWork(ShardWork):
    """As `ShardWork`, but at a gate all spheres wait until something is done.

    Args:
        config: as for `ShardWork`, like the next three.
        shards: likewise.
        rows_max: likewise.
        weight_decay: likewise.
        schedule: where gates are.
        spheres: that compute in each step.
        at_gate: is called with the gate's number, in one of the threads, while the others wait.
        at_start: is called likewise, before the first step of a block that counts.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        schedule: Schedule,
        spheres: int,
        at_gate: Callable[[int], None],
        at_start: Callable[[], None],
        **settings: Any,
    ) -> None:
        super().__init__(config, **settings)
        self._schedule = schedule
        self._gates = [
            threading.Barrier(spheres, partial(at_gate, number)) for number in range(schedule.blocks + 1)
        ]
        self._starts = threading.Barrier(spheres, at_start)

    def compute(self, token: JobToken, weights: Parameters, request: ComputeShards) -> Sums:
        """Losses and gradients of shards, behind the gate if there is one.

        Raises:
            BrokenBarrierError: another sphere did not come to the gate, or what was done there failed.
        """
        gate = self._schedule.gate(request.step)
        if gate is not None:
            self._gates[gate].wait(_GATE_MAX_S)
        elif self._schedule.start(request.step):
            self._starts.wait(_GATE_MAX_S)
        return super().compute(token, weights, request)
