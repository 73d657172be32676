"""Damages a checkpoint in every way that comes to mind: each must be found before a weight is used.

    python tests/conformance/damage.py [--tries N] [--seed S] [--json]

A tiny model is trained; the newer of its two checkpoints is damaged N times in each way, loaded by itself and
through its run folder, and mended. By itself it must be refused with one line that names the damaged file
(or, when the manifest was damaged, the checkpoint); the run folder must give the checkpoint before it, to the
bit, and tell which file was damaged. An extra file is no damage: what is read is read by name, and must load.

Prints a table on standard error, which `--json` leaves out, and one JSON object: of each kind how many were
tried and how many ended as they must. The exit code is 1 when any did not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.helpers.damage import HARMLESS, Found, Stage, make_run, run_tries

COMPLAINTS_SHOWN = 20


def table(found: Found) -> str:
    """For people."""
    lines = [f"{'damage':<28}{'tried':>8}{'found':>8}"]
    for kind, tried in found.tried.items():
        note = "  (no damage: loaded as it is)" if kind in HARMLESS else ""
        lines.append(f"{kind:<28}{tried:>8}{found.right[kind]:>8}{note}")
    return "\n".join([*lines, *found.complaints[:COMPLAINTS_SHOWN]])


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tries", type=int, default=500, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="nothing but the JSON object")
    options = parser.parse_args()
    begun_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        os.environ["CRYSTALLINE_CACHE"] = str(Path(place, "cache"))
        out = Path(place, "out")
        asyncio.run(make_run(out))
        stage = Stage(out)
        sizes = {name: len(content) for name, content in stage.files.items()}
        found = run_tries(stage, options.tries, options.seed)
    if not options.json:
        print(table(found), file=sys.stderr)
    tried, right = sum(found.tried.values()), sum(found.right.values())
    figures = {
        "seed": options.seed,
        "seconds": round(time.perf_counter() - begun_s, 1),
        "file_bytes": sizes,
        "kinds": {
            kind: {"tried": number, "right": found.right[kind]} for kind, number in found.tried.items()
        },
        "tried": tried,
        "right": right,
        "complaints": found.complaints[:COMPLAINTS_SHOWN],
    }
    print(json.dumps(figures))
    return 0 if tried and tried == right else 1


if __name__ == "__main__":
    sys.exit(main())
