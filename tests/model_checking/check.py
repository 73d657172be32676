"""Run spin over the model of the protocols, as it is and with one law switched off at a time.

usage: python tests/model_checking/check.py [--json] [--only WORD] [--trail]

Prints a table: variant, property, outcome, states, transitions, depth, seconds. The exit code is 1 when one
came out otherwise than it must: the model as it is holds, each law switched off breaks the property that its
row names. Every search visits the full state space; there is no hashing of states into bits. --trail prints
the way to the error of each variant that has one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
MODEL = "protocol.pml"
TOOLS_NEEDED = "the model checker needs `spin` and `gcc`: as root, apt-get install -y spin gcc libc6-dev"
STEP_LIMIT_S = 150.0
DEPTH_MAX = 100_000
MEMORY_MIB_MAX = 2_000
LIMITS_HIT = ("max search depth too small", "out of memory", "MEMLIM", "Interrupted")
HOLDS = "holds"
HANG = "invalid end state"
ASSERTION = "assertion violated"
CYCLE = "acceptance cycle"
SAFETY = "safety"
ENDS = "ends"


@dataclass(frozen=True, slots=True)
class Variant:
    """One search.

    Attributes:
        name: for people.
        switches: macros that the model is made with.
        outcome: what must come of it: `HOLDS`, or the kind of error.
        where: a piece of the property that breaks, as spin writes it; empty for a hang or a cycle.
        check: `SAFETY` (assertions and invalid end states) or `ENDS` (every run comes to its end).
    """

    name: str
    switches: str
    outcome: str = HOLDS
    where: str = ""
    check: str = SAFETY


@dataclass(frozen=True, slots=True)
class Result:
    """What a search came to. `outcome` and `where` as in `Variant`."""

    variant: str
    switches: str
    check: str
    outcome: str
    where: str
    expected: bool
    states: int
    transitions: int
    depth: int
    seconds: float


AS_IT_IS = (
    Variant("two spheres, everything may fail", "PATIENT UNLIMITED_FAULTS"),
    Variant("three levels, everything may fail", "PATIENT UNLIMITED_FAULTS CHAIN"),
    Variant("three levels, stuck and late", "CHAIN FAULTS=1 EPOCHS=1"),
    Variant("two spheres, stuck and late", "FAULTS=1 EPOCHS=1"),
    Variant("one sphere, twice at fault, a tell", "CELLS=2 FAULTS=2 TELLS"),
    Variant("one sphere, answers left behind", "CELLS=2 FAULTS=1 EPOCHS=1 STRAYS"),
    Variant("answers checked by their life alone", "CELLS=2 FAULTS=1 EPOCHS=1 STRAYS NUMBER_UNCHECKED"),
    Variant("answers checked by their number alone", "CELLS=2 FAULTS=1 EPOCHS=1 STRAYS LIFE_UNCHECKED"),
    Variant("a lost child fails its parent", "PATIENT CHAIN FAULTS=2 ESCALATE"),
    Variant("an epoch is watched from outside", "PATIENT CHAIN FAULTS=1 WATCH"),
    Variant("two spheres end", "PATIENT FAULTS=2", check=ENDS),
    Variant("three levels end", "PATIENT CHAIN FAULTS=2", check=ENDS),
    Variant("one sphere, stuck and late, ends", "CELLS=2 FAULTS=2", check=ENDS),
    Variant("three levels, stuck and late, end", "CHAIN FAULTS=1 EPOCHS=1", check=ENDS),
)
LAWS_OFF = (
    Variant("no monitor: an end does not end asks", "PATIENT CELLS=2 FAULTS=1 NO_MONITOR", HANG),
    Variant("no Down for an end", "CELLS=2 FAULTS=1 NO_DOWN", ASSERTION, "unheard"),
    Variant("children are not awaited", "CELLS=2 FAULTS=1 NO_AWAIT", ASSERTION, "phase[1]"),
    Variant("an ask upwards is admitted", "PATIENT CELLS=2 FAULTS=1 UPWARD_ASK", HANG),
    Variant("answers of earlier lives are taken", "CELLS=2 FAULTS=1 STRAYS LATE_REPLY", ASSERTION, "ask_no"),
    Variant("handlers and asks without a deadline", "CELLS=2 FAULTS=1 NO_DEADLINE", HANG),
    Variant("a reply needs room in the mailbox", "PATIENT CELLS=2 FAULTS=1 TELLS BOUNDED_REPLY", HANG),
    Variant("no lane for the runtime's messages", "CELLS=2 FAULTS=1 ONE_LANE", ASSERTION, "violated 0"),
    Variant("draining and closing in two steps", "PATIENT CELLS=2 FAULTS=1 TWO_STEP_CLOSE", HANG),
    Variant("the root leaves after one epoch", "PATIENT CELLS=2 FAULTS=1 ONE_SHOT_ROOT", HANG),
    Variant("epoch_done is a pulse", "PATIENT CELLS=2 FAULTS=1 PULSE", HANG),
    Variant("a restarted child does not join", "CELLS=2 FAULTS=1 NO_JOIN", ASSERTION, "violated 0"),
    Variant(
        "an epoch cut short is over", "PATIENT CHAIN FAULTS=1 WATCH CUT_SHORT_IS_OVER", ASSERTION, "state[1]"
    ),
    Variant("restarts while stopping", "PATIENT CELLS=2 FAULTS=1 RESTART_IN_SHUTDOWN", HANG),
    Variant("restarts without limit", "PATIENT CELLS=2 UNLIMITED_FAULTS NO_INTENSITY", CYCLE, check=ENDS),
    Variant("shutdown without a budget", "CELLS=2 FAULTS=1 NO_BUDGET", ASSERTION, "phase[c]"),
)
VARIANTS = AS_IT_IS + LAWS_OFF


def missing_tools() -> str:
    """What to install, in one line; empty when all is there."""
    absent = [name for name in ("spin", "gcc") if shutil.which(name) is None]
    return f"{' and '.join(absent)} not found: {TOOLS_NEEDED}" if absent else ""


def run(variant: Variant, *, trail: bool = False) -> Result:
    """Make the checker for a variant, run it, and read what it says.

    Raises:
        FileNotFoundError: spin or gcc is not installed; the text says what to do.
        RuntimeError: the model does not compile, or the search was not complete.
    """
    if absent := missing_tools():
        raise FileNotFoundError(absent)
    begun_s = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        for path in FOLDER.glob("*.pml"):
            shutil.copy(path, at)
        macros = [f"-D{switch}" for switch in variant.switches.split()]
        _call([_tool("spin"), "-a", *macros, MODEL], at)
        # Without optimisation: that takes longer than all but the largest searches.
        kind = ["-DSAFETY", "-DNOCLAIM"] if variant.check == SAFETY else []
        limits = ["-DVECTORSZ=2048", f"-DMEMLIM={MEMORY_MIB_MAX}"]
        _call([_tool("gcc"), "-O0", "-w", *kind, *limits, "-o", "pan", "pan.c"], at)
        options = [f"-m{DEPTH_MAX}", "-w22"] + ([] if variant.check == SAFETY else ["-a"])
        said = _call([str(at / "pan"), *options], at)
        if trail and (at / f"{MODEL}.trail").exists():
            print(_call([_tool("spin"), "-t", "-p", "-g", *macros, MODEL], at))
    return read_report(variant, said, time.monotonic() - begun_s)


def _tool(name: str) -> str:
    return shutil.which(name) or name


def _call(command: list[str], folder: Path) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=STEP_LIMIT_S,
        check=False,
    )
    if done.returncode != 0 or "Error:" in done.stdout:
        raise RuntimeError(f"{Path(command[0]).name} failed: {done.stdout[-2000:]}")
    return done.stdout


def read_report(variant: Variant, said: str, seconds: float) -> Result:
    """Turn the report of the checker into a result.

    Raises:
        RuntimeError: the search hit a limit, or the report cannot be read.
    """
    errors = re.search(r"errors: (\d+)", said)
    if errors is None or any(limit in said for limit in LIMITS_HIT):
        raise RuntimeError(f"{variant.name}: the search is not complete: {said[-2000:]}")
    kinds = rf"pan:\d+: (.*?({HANG}|{ASSERTION}|{CYCLE}).*?)(?: \(at depth \d+\))?$"
    found = re.search(kinds, said, re.MULTILINE)
    outcome = found.group(2) if found else HOLDS
    where = found.group(1) if found else ""
    if (outcome == HOLDS) != (errors.group(1) == "0"):
        raise RuntimeError(f"{variant.name}: an error of an unknown kind: {said[-2000:]}")
    return Result(
        variant=variant.name,
        switches=variant.switches,
        check=variant.check,
        outcome=outcome,
        where=where,
        expected=outcome == variant.outcome and variant.where in where,
        states=_number(r"(\d+) states, stored", said),
        transitions=_number(r"(\d+) transitions \(", said),
        depth=_number(r"depth reached (\d+)", said),
        seconds=seconds,
    )


def _number(pattern: str, said: str) -> int:
    found = re.search(pattern, said)
    if found is None:
        raise RuntimeError(f"nothing like {pattern!r} in the report: {said[-2000:]}")
    return int(found.group(1))


HEAD = f"{'variant':<40}{'check':<8}{'outcome':<20}{'states':>10}{'transitions':>13}{'depth':>7}{'s':>6}"


def row(result: Result) -> str:
    """A result for people to read, under `HEAD`."""
    return (
        f"{result.variant:<40}{result.check:<8}{result.outcome:<20}{result.states:>10,}"
        f"{result.transitions:>13,}{result.depth:>7,}{result.seconds:>6.1f}"
    ) + ("" if result.expected else "   UNEXPECTED")


def main() -> int:
    """Run the chosen variants and print what came of them."""
    parser = argparse.ArgumentParser(description="Check the model of the protocols.")
    parser.add_argument("--json", action="store_true", help="one JSON array instead of the table")
    parser.add_argument("--only", default="", metavar="WORD", help="variants with this in name or switches")
    parser.add_argument("--trail", action="store_true", help="print the way to each error")
    options = parser.parse_args()
    if absent := missing_tools():
        print(f"error: {absent}", file=sys.stderr)
        return 2
    chosen = [v for v in VARIANTS if options.only in v.name or options.only in v.switches]
    if not chosen:
        parser.error(f"no variant has {options.only!r} in its name or switches")
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(lambda variant: run(variant, trail=options.trail), chosen))
    if options.json:
        print(json.dumps([asdict(result) for result in results], indent=1))
    else:
        print("\n".join([HEAD, *map(row, results)]))
    return not all(result.expected for result in results)


if __name__ == "__main__":
    sys.exit(main())
