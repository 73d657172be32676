"""How much memory this process has resident."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

__all__ = ["memory_mib"]

_STATUS: Final = Path("/proc/self/status")
_KEYS: Final = {"now": "VmRSS", "peak": "VmHWM"}


def memory_mib() -> dict[str, int] | None:
    """Resident memory of this process now and at its peak; None where the system does not tell.

    From the status of the process: `getrusage` would also count what its parent had before it was started.
    """
    try:
        status = _STATUS.read_text()
    except OSError:
        return None
    kib = {name: re.search(rf"^{key}:\s+(\d+)", status, re.MULTILINE) for name, key in _KEYS.items()}
    return {name: int(found[1]) // 1024 for name, found in kib.items() if found is not None}
