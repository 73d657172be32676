"""The memory of a run: the weights with their versions, and pools of buffers for jobs.

Messages name memory by version and attempt, never by pointer. The current version is read-only for
everybody. A step writes the next version into a target that belongs to one attempt; when a sphere is lost
on the way, its job may still be writing, so that target is thrown away with its memory and the step starts
over on a fresh one. Nothing that was left behind can reach memory that is in use.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from actors import freeze
from crystalline.errors import TrainingError
from crystalline.model import ModelConfig, Parameters
from crystalline.optim import AdamWBuffers

if TYPE_CHECKING:
    from collections.abc import Callable

    from crystalline.training.messages import NodeSum

__all__ = ["Pool", "RunMemory", "Target"]

T = TypeVar("T")
Flat = NDArray[np.float32]


class Pool(Generic[T]):
    """Things that are costly to make and can be used again. Any thread may take and give back.

    Args:
        make: makes one when none is free.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._free: list[T] = []

    def take(self) -> T:
        """Return one that nobody else has. What it holds is arbitrary."""
        with self._lock:
            if self._free:
                return self._free.pop()
        return self._make()

    def give(self, thing: T) -> None:
        """Hand one back; the caller must not use it any more."""
        with self._lock:
            self._free.append(thing)


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Where one attempt at a step writes.

    Attributes:
        buffers: weights and moments of the next version.
        gradient: the sum over all shards.
        nodes: what it is the sum of; together they cover all shards. They are not in the messages that ask
            for the sum, of which each sphere gets one.
    """

    buffers: AdamWBuffers
    gradient: Flat
    nodes: tuple[NodeSum, ...] = ()


class RunMemory:
    """Weights and moments of the current version, and the target of the next.

    Args:
        config: sizes of the model.
        flat: the weights to begin with; taken over, not copied.
        moments: first and second moments to begin with, taken over; zeros by default.
        version: of these weights.

    Attributes:
        config: as given.
        version: of the weights: how many steps made them.
        attempt: names the present target.
    """

    def __init__(
        self,
        config: ModelConfig,
        flat: Flat,
        *,
        moments: tuple[Flat, Flat] | None = None,
        version: int = 0,
    ) -> None:
        self.config = config
        self.version = version
        self.attempt = 0
        self._current = AdamWBuffers(flat, *(moments or (np.zeros_like(flat), np.zeros_like(flat))))
        self._target = self._fresh()
        self._parameters: dict[int, Parameters] = {}

    @property
    def size(self) -> int:
        """Entries of the flat buffer."""
        return len(self._current.weights)

    @property
    def current(self) -> AdamWBuffers:
        """Read-only views of weights and moments."""
        return AdamWBuffers(*map(freeze, self._current))

    def weights(self, version: int) -> Parameters:
        """Read-only views of the weights.

        Raises:
            TrainingError: `version` is not the current one.
        """
        if version != self.version:
            raise TrainingError(f"asked to compute on weights {version}, but {self.version} is current")
        key = self._current.weights.ctypes.data
        if key not in self._parameters:
            self._parameters[key] = Parameters(self.config, freeze(self._current.weights))
        return self._parameters[key]

    def target(self, attempt: int) -> Target:
        """Where to write.

        Raises:
            TrainingError: `attempt` is not the present one.
        """
        if attempt != self.attempt:
            raise TrainingError(f"asked to write for attempt {attempt}, but {self.attempt} is under way")
        return self._target

    def stage(self, nodes: tuple[NodeSum, ...]) -> None:
        """Say what the gradient of the present attempt is to be the sum of."""
        self._target = replace(self._target, nodes=nodes)

    def discard_target(self) -> None:
        """Begin another attempt, on memory that no earlier one has seen."""
        self._target = self._fresh()
        self.attempt += 1

    def commit(self) -> None:
        """Make the target the current version. The old version's memory becomes the next target."""
        old = self._current
        self._current = self._target.buffers
        self._target = Target(old, self._target.gradient)
        self.version += 1
        self.attempt += 1
        self._parameters = {key: value for key, value in self._parameters.items() if key in self._addresses()}

    def _addresses(self) -> set[int]:
        return {self._current.weights.ctypes.data, self._target.buffers.weights.ctypes.data}

    def _fresh(self) -> Target:
        buffers = AdamWBuffers(*(np.empty(self.size, np.float32) for _ in range(3)))
        return Target(buffers, np.empty(self.size, np.float32))
