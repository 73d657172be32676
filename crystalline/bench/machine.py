"""What the system says of the machine: cores that may be used, caches, memory, and the BLAS under numpy."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crystalline.bench.cgroup import cpu_quota
from crystalline.kernels.blas import Blas, loaded_blas

__all__ = ["AVX512_KERNELS", "Machine", "this_machine"]

AVX512_KERNELS: Final = frozenset({"SkylakeX", "Cooperlake", "SapphireRapids"})
"""Names of OpenBLAS' kernel sets that use AVX-512."""

# What the first of these sets needs of a processor.
_AVX512_FLAGS: Final = frozenset({"avx512f", "avx512dq", "avx512cd", "avx512bw", "avx512vl"})
_L3_UNKNOWN_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What this process has to compute with.

    Attributes:
        processors: that it may run on; two of them may be one core's two threads.
        cores: different cores among these, as far as the system says.
        quota: processor seconds per second that its control group may use; None for no limit.
        memory_bytes: of the whole machine.
        l3_bytes: of the last cache; a guess where the system does not say.
        avx512: whether the processor has what OpenBLAS' AVX-512 kernels need.
        blas: the libraries of matrix products, numpy's among them.
        openblas_coretype: the kernels that the environment asks OpenBLAS for; empty when it does not.
    """

    processors: int
    cores: int
    quota: float | None
    memory_bytes: int
    l3_bytes: int
    avx512: bool
    blas: tuple[Blas, ...]
    openblas_coretype: str = ""

    @property
    def usable(self) -> int:
        """Threads that can compute at once."""
        if self.quota is None:
            return self.processors
        # A thread that gets a part of a processor is better than none.
        return max(1, min(self.processors, math.ceil(self.quota)))

    @property
    def array_bytes(self) -> int:
        """Size of the arrays that memory is measured with: four times the last cache, within reason."""
        return min(max(4 * self.l3_bytes, 64 << 20), max(self.memory_bytes // 16, 16 << 20), 512 << 20)


def this_machine() -> Machine:
    """Ask the system. What it does not tell is guessed as a plain machine would be."""
    processors = _processors()
    return Machine(
        processors=len(processors),
        cores=_cores(processors),
        quota=cpu_quota(),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        l3_bytes=_l3_bytes(),
        avx512=_flags() >= _AVX512_FLAGS,
        blas=loaded_blas(),
        openblas_coretype=os.environ.get("OPENBLAS_CORETYPE", ""),
    )


def _processors() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _cores(processors: list[int]) -> int:
    place = "/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list"
    return len({_text(Path(place.format(number))) or str(number) for number in processors})


def _l3_bytes() -> int:
    with suppress(ValueError, OSError):  # a name that this system does not know
        return os.sysconf("SC_LEVEL3_CACHE_SIZE") or _L3_UNKNOWN_BYTES
    return _L3_UNKNOWN_BYTES


def _flags() -> frozenset[str]:
    lines = _text(Path("/proc/cpuinfo")).splitlines()
    return frozenset(next((line for line in lines if line.startswith("flags")), "").split())


def _text(path: Path) -> str:
    """What stands in a file of the system; nothing when it is not there."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
