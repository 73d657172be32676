"""`crystalline`, in which one of three spheres rounds its gradient another way, in step 3."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from crystalline.cli import main
from crystalline.training.work import ShardWork, Sums

if TYPE_CHECKING:
    from crystalline.training.messages import ComputeShards

FIRST_SHARD, STEP = 4, 3  # of twelve shards, which three spheres share: sphere-1 has 4 to 7
whole = ShardWork.compute


@functools.wraps(whole)  # in a trace it has the name of what it stands for
def compute_otherwise(work: ShardWork, token: Any, weights: Any, request: ComputeShards) -> Sums:
    sums = whole(work, token, weights, request)
    if (request.lo, request.step) == (FIRST_SHARD, STEP):
        gradient = sums.nodes[0][1].flat
        np.nextafter(gradient, np.float32(np.inf), out=gradient)  # the last bit of each number
    return sums


ShardWork.compute = compute_otherwise  # type: ignore[method-assign,assignment]  # that is what differs

if __name__ == "__main__":
    main()
