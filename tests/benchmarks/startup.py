"""How long the command and the packages take to start, warm.

usage: python tests/benchmarks/startup.py [--rounds N] [--goal-help-s S]

Runs `crystalline --help`, `import actors` and `import crystalline.training` in fresh processes, in turn, and
takes away nothing: the interpreter's own start is shown beside them. Prints one JSON object of seconds, best
and median. Exit code 1 when the median of the help is above the goal.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "interpreter": [sys.executable, "-c", "pass"],
    "help": [str(Path(sys.executable).parent / "crystalline"), "--help"],
    "import_actors": [sys.executable, "-c", "import actors"],
    "import_training": [sys.executable, "-c", "import crystalline.training"],
}


def seconds(command: list[str]) -> float:
    """Wall time of one process."""
    begun_s = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)
    return time.perf_counter() - begun_s


def main() -> None:
    parser = argparse.ArgumentParser(description="Time to start.")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--goal-help-s", type=float, default=0.4)
    arguments = parser.parse_args()
    for command in COMMANDS.values():
        seconds(command)  # warm: the files are in memory afterwards
    rounds = [{name: seconds(command) for name, command in COMMANDS.items()} for _ in range(arguments.rounds)]
    found: dict[str, object] = {
        name: {
            "best_s": round(min(row[name] for row in rounds), 3),
            "median_s": round(statistics.median(row[name] for row in rounds), 3),
        }
        for name in COMMANDS
    }
    help_s = statistics.median(row["help"] for row in rounds)
    print(json.dumps({**found, "goal_help_s": arguments.goal_help_s}))
    sys.exit(0 if help_s <= arguments.goal_help_s else 1)


if __name__ == "__main__":
    main()
