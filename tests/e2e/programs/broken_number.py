"""`crystalline`, in which the loss of shard 0 in step 2 is not a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from crystalline.cli import main
from crystalline.training.work import ShardWork, Sums

if TYPE_CHECKING:
    from crystalline.training.messages import ComputeShards

whole = ShardWork.compute


def broken(work: ShardWork, token: Any, weights: Any, request: ComputeShards) -> Sums:
    sums = whole(work, token, weights, request)
    if request.step == 2 and request.lo == 0:
        sums.losses[0] = np.nan
    return sums


ShardWork.compute = broken  # type: ignore[method-assign,assignment]  # that is what breaks

if __name__ == "__main__":
    main()
