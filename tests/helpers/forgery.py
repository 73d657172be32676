"""Checkpoints with wrong content and right hashes: what a broken writer, or someone's editor, would leave."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import safetensors.numpy

from tests.helpers.damage import MANIFEST, contents

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    import numpy as np

    Arrays = dict[str, np.ndarray[Any, Any]]

PROGRESS = "training/progress.json"
OPTIMIZER = "training/optimizer.safetensors"
WEIGHTS = "model.safetensors"


def sign(checkpoint: Path) -> None:
    """Make the manifest agree with whatever is there."""
    files = {name: content for name, content in contents(checkpoint).items() if name != MANIFEST}
    write_json(
        checkpoint / MANIFEST, {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    )


def forge_file(checkpoint: Path, name: str, content: bytes) -> None:
    """Another content for one file."""
    (checkpoint / name).write_bytes(content)
    sign(checkpoint)


def forge_progress(checkpoint: Path, **changes: object) -> None:
    """Other entries in the record; None of Python's is JSON's null."""
    record = json.loads((checkpoint / PROGRESS).read_bytes())
    write_json(checkpoint / PROGRESS, {**record, **changes})
    sign(checkpoint)


def forge_arrays(checkpoint: Path, name: str, change: Callable[[Arrays], object]) -> None:
    """Other arrays in a file of them; `change` edits the mapping, or entries of its arrays."""
    arrays = {key: array.copy() for key, array in safetensors.numpy.load_file(checkpoint / name).items()}
    change(arrays)
    forge_file(checkpoint, name, safetensors.numpy.save(arrays, metadata={"format": "pt"}))


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write as the package writes."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
