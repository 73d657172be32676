"""`crystalline`, in which one of four spheres takes 30 ms longer for its shards than it need."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

from crystalline.cli import main
from crystalline.training.work import ShardWork, Sums

if TYPE_CHECKING:
    from crystalline.training.messages import ComputeShards

FIRST_SHARD = 6  # of twelve, which four spheres share: sphere-2 has 6, 7 and 8
whole = ShardWork.compute


@functools.wraps(whole)  # in a trace it has the name of what it stands for
def compute_slowly(work: ShardWork, token: Any, weights: Any, request: ComputeShards) -> Sums:
    if request.lo == FIRST_SHARD:
        time.sleep(0.03)
    return whole(work, token, weights, request)


ShardWork.compute = compute_slowly  # type: ignore[method-assign,assignment]  # that is what is slow

if __name__ == "__main__":
    main()
