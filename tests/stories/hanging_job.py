"""`crystalline`, in which a job of sphere-1 waits for a lock that nobody gives back. It says so in a file."""

from __future__ import annotations

import functools
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystalline.cli import main
from crystalline.training.work import ShardWork, Sums

if TYPE_CHECKING:
    from crystalline.training.messages import ComputeShards

FIRST_SHARD, STEP = 4, 5  # of twelve shards, which three spheres share: sphere-1 has 4 to 7
lock = threading.Lock()
lock.acquire()
whole = ShardWork.compute


@functools.wraps(whole)  # in a trace it has the name of what it stands for
def compute_behind_a_lock(work: ShardWork, token: Any, weights: Any, request: ComputeShards) -> Sums:
    if (request.lo, request.step) == (FIRST_SHARD, STEP):
        Path("hangs").touch()
        lock.acquire()
    return whole(work, token, weights, request)


ShardWork.compute = compute_behind_a_lock  # type: ignore[method-assign,assignment]  # that is what hangs

if __name__ == "__main__":
    main()
