"""Damages model files in every way that comes to mind: each must open, or end in one clear error.

    python tests/conformance/mutate_models.py [--files N] [--seed S] [--json]

Small models are made: Hugging Face folders, single and in shards of bfloat16, and GGUF files, float32 and
quantised. They are damaged N times, in six ways in turn (flipped bits, missing or further bytes, bytes of
headers, lengths and counts and sizes that are extreme, JSON values of other kinds, files in each other's
place), and opened by one child process, which encodes a text with what it could open.

A try ends well when the model opens, or a ModelFolderError of one line names the place; within 20 s; and when
resident memory has grown by at most four times the size of the files and 4 MiB, which is what the interpreter
takes by itself. Progress on standard error, which --json leaves out; one JSON object on standard output. The
exit code is 1 when a try did not end well.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.helpers.model_mutation import Found, run_tries

COMPLAINTS_SHOWN = 20


def table(found: Found) -> str:
    """For people."""
    lines = [f"{'damage':<14}{'tried':>8}{'refused':>9}{'opened':>8}"]
    for kind, tried in sorted(found.tried.items()):
        lines.append(f"{kind:<14}{tried:>8}{found.refused[kind]:>9}{found.opened[kind]:>8}")
    return "\n".join([*lines, *found.complaints[:COMPLAINTS_SHOWN]])


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=2000, help="how many to damage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="nothing but the JSON object")
    options = parser.parse_args()
    if options.files < 1:
        print("error: --files must be at least 1", file=sys.stderr)
        return 2

    def progress(done: int) -> None:
        if not options.json and done % 50 == 0:
            print(f"\r{done} of {options.files}", end="", file=sys.stderr, flush=True)

    begun_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        found = run_tries(Path(place), options.files, options.seed, progress=progress)
    if not options.json:
        print(f"\n{table(found)}", file=sys.stderr)
    figures = {
        "files": options.files,
        "seed": options.seed,
        "seconds": round(time.perf_counter() - begun_s, 1),
        "kinds": {
            kind: {"tried": tried, "refused": found.refused[kind], "opened": found.opened[kind]}
            for kind, tried in sorted(found.tried.items())
        },
        "peak_bytes": found.peak_bytes,
        "peak_share_of_allowed": round(found.peak_share, 2),
        "complaints": found.complaints[:COMPLAINTS_SHOWN],
        "wrong": len(found.complaints),
    }
    print(json.dumps(figures))
    return 1 if found.complaints else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
