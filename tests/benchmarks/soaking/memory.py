"""Whether memory stays flat: the resident set, once a second, in bounded memory of its own.

Beside it stands the number of blocks that Python has allocated: where the resident set grows and these do
not, memory is fragmented and nothing leaks.
"""

from __future__ import annotations

import math
import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any, Final

PAGE_KIB: Final = os.sysconf("SC_PAGE_SIZE") / 1024
BUCKET_KIB: Final = 16.0
STATM: Final = Path("/proc/self/statm")


def resident_kib() -> float:
    """The resident set of this process."""
    return int(STATM.read_text().split()[1]) * PAGE_KIB


class Flatness:
    """Samples before and after the end of the warm-up.

    Args:
        warm_s: how long memory may grow.
    """

    def __init__(self, warm_s: float) -> None:
        self.warm_s = warm_s
        self.warm_kib = 0.0
        self.last_kib = 0.0
        self.max_kib = 0.0
        self.warm_blocks = 0
        self._buckets: Counter[int] = Counter()

    def add(self, elapsed_s: float, kib: float) -> None:
        """Take a sample that was made `elapsed_s` seconds after the begin."""
        self.last_kib = kib
        if elapsed_s <= self.warm_s or not self.warm_kib:
            self.warm_kib, self.warm_blocks = kib, sys.getallocatedblocks()
        else:
            self.max_kib = max(self.max_kib, kib)
            self._buckets[int(kib // BUCKET_KIB)] += 1

    @property
    def drift_percent(self) -> float | None:
        """How far the largest sample after the warm-up lies above the last one of it; None without any."""
        return (self.max_kib / self.warm_kib - 1) * 100 if self._buckets else None

    def _median_kib(self) -> float:
        half, seen = math.ceil(self._buckets.total() / 2), 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= half:
                return bucket * BUCKET_KIB
        return math.nan

    def report(self) -> dict[str, Any]:
        """MiB after the warm-up, and median, maximum and last of what came then."""
        found: dict[str, Any] = {"warm_s": self.warm_s, "warm_mib": round(self.warm_kib / 1024, 2)}
        if self._buckets:
            found |= {
                "median_mib": round(self._median_kib() / 1024, 2),
                "max_mib": round(self.max_kib / 1024, 2),
                "last_mib": round(self.last_kib / 1024, 2),
                "drift_percent": round(self.drift_percent or 0.0, 2),
                "warm_blocks": self.warm_blocks,
                "last_blocks": sys.getallocatedblocks(),
            }
        return found
