"""Opens the models whose paths come on standard input, and says on standard output how each ended."""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import resource
import sys
from pathlib import Path
from typing import Any

from crystalline.errors import ModelFolderError

PROMPT = "the cat sat on 1234 mats\n"
SPACE_BYTES = 1024 * 1024 * 1024  # of addresses beyond those in use: a bomb must not take the machine along
LIBRARY = ctypes.CDLL(None)
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident(key: str) -> int:
    """VmRSS, what is resident now, VmHWM, the most since `forget_peak`, or VmSize, the addresses in use."""
    if not STATUS.exists():  # then it is the most since the start, whichever was asked for
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def forget_peak() -> None:
    """Give back what is free but kept, which a try could use unseen, and begin to measure anew."""
    gc.collect()
    if hasattr(LIBRARY, "malloc_trim"):
        LIBRARY.malloc_trim(0)
    if CLEAR.exists():
        CLEAR.write_text("5")


def answer(opener: Any, path: Path) -> dict[str, Any]:
    forget_peak()
    before = resident("VmRSS")
    try:
        model = opener(path)
        model.encode(PROMPT)
        end, text = "opened", ""
    except ModelFolderError as error:
        end, text = "refused", str(error)
    except BaseException as error:  # noqa: BLE001  whatever else it is, it is what is looked for
        end, text = "wrong", f"{type(error).__name__}: {error}"
    return {"end": end, "text": text, "peak_bytes": resident("VmHWM") - before}


def main() -> None:
    module, _, names = sys.argv[1].partition(":")
    opener = importlib.import_module(module)
    for name in names.split("."):
        opener = getattr(opener, name)
    if STATUS.exists():
        limit = resident("VmSize") + SPACE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for line in sys.stdin:
        print(json.dumps(answer(opener, Path(line.rstrip("\n")))), flush=True)


if __name__ == "__main__":
    main()
