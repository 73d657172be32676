"""Kills a training with SIGKILL, again and again: each resume must reach what an undisturbed run reaches.

    python tests/conformance/kill.py [--kills N] [--epochs N] [--seed S] [--json]

The command `python -m crystalline train`, at tiny sizes, saves a checkpoint at every step. It runs once
undisturbed. Then it is started, and killed with its whole process group at a random moment; and resumed, and
killed, until it comes to its end; and all over again, until so many kills were made. The moment is uniform
over a third of the time that the undisturbed run trained, from when a start first touches its folder, so that
the kills spread over the whole run; one in four times it is uniform over the time before that as well.

After each kill the run folder must load, newest checkpoint first, with nothing passed over; no step that was
saved may be lost; and the metrics must be those of the undisturbed run up to wherever they end, at the
checkpoint's step or behind it. At the end of each run the weights and all metrics must be the same, and no
hidden folder may be left of the saves that were killed.

Prints one JSON object: how many kills there were, how many of them in the middle of a save (a hidden folder
was left) and in which part of it, how many before the first checkpoint; how many runs came to their end.
`--json` leaves out the lines on standard error. The exit code is 1 when anything was not as it must be.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.helpers.command import TINY
from tests.helpers.killed import METRICS, State, leftovers, lines_of, place_of, state_of
from tests.helpers.texts import words

LIMIT_S: Final = 120.0
COMPLAINTS_MAX: Final = 10
FROM_THE_START: Final = 0.25
POLL_S: Final = 0.002


@dataclass(slots=True)
class Tally:
    """What happened so far."""

    kills: int = 0
    in_a_save: int = 0
    places: Counter[str] = field(default_factory=Counter)
    before_the_first: int = 0
    at_steps: list[int] = field(default_factory=list)
    runs: int = 0
    starts_of_a_run_max: int = 0
    left_at_once_max: int = 0
    equal_hashes: int = 0
    complaints: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Moment:
    """When to kill.

    Attributes:
        after_s: so many seconds after the start,
        once_touched: or after the run first touched its folder.
    """

    after_s: float
    once_touched: bool


NEVER: Final = Moment(LIMIT_S, once_touched=False)


class Command:
    """`crystalline train` at tiny sizes, saving at every step.

    Args:
        place: an empty folder for the text, the cache and the runs.
        epochs: of a run.
    """

    def __init__(self, place: Path, epochs: int) -> None:
        self.place = place
        self._text = place / "text.txt"
        self._text.write_text(words(4000), encoding="utf-8")
        self._settings = (*TINY, "--epochs", str(epochs), "--lr", "0.02", "--save-every", "1")
        self._environment = {**os.environ, "CRYSTALLINE_CACHE": str(place / "cache")}

    def run(self, out: Path, moment: Moment = NEVER) -> tuple[int, str, str]:
        """Start a run, or resume it if there is something to go on from; kill it at a moment.

        Returns:
            Exit code (negative: killed), standard output and standard error.
        """
        begin = ("--resume", out) if out.exists() else (self._text, *self._settings, "--out", out)
        untouched = traces(out)
        process = subprocess.Popen(
            [sys.executable, "-m", "crystalline", "train", *begin, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment,
            start_new_session=True,
        )
        while moment.once_touched and process.poll() is None and traces(out) == untouched:
            time.sleep(POLL_S)
        try:
            written = process.communicate(timeout=moment.after_s)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            written = process.communicate()
        return process.returncode, *written


def traces(out: Path) -> tuple[int, frozenset[Path]]:
    """What changes as soon as a run begins to write."""
    metrics = out / METRICS
    return metrics.stat().st_size if metrics.exists() else -1, leftovers(out)


class Killer:
    """Runs that are killed until they end.

    Args:
        command: what is run.
        seed: decides when; what it hits then depends on the machine.
        quiet: say nothing on the way.
    """

    def __init__(self, command: Command, seed: int, *, quiet: bool) -> None:
        self.tally = Tally()
        self._command = command
        self._random = Random(seed)
        self._quiet = quiet
        begun_s = time.time()
        out = command.place / "undisturbed"
        code, stdout, stderr = command.run(out)
        if code:
            raise SystemExit(f"error: the undisturbed run ended with {code}: {stderr}")
        ended_s, content = time.time(), (out / METRICS).read_bytes()
        first_step_s = json.loads(content.splitlines()[0])["time"]
        self.preparing_s, self.training_s = first_step_s - begun_s, ended_s - first_step_s
        self.report: dict[str, Any] = json.loads(stdout.splitlines()[-1])
        self.expected = lines_of(content)
        self._complain(state_of(out, self.expected, at_least=self.report["steps"]), "the undisturbed run")
        if left := leftovers(out):
            self.tally.complaints.append(f"the undisturbed run has left {sorted(left)}")

    def kill(self, kills: int) -> None:
        """Make so many kills, and let the run come to its end in which the last one was."""
        while self.tally.kills < kills and len(self.tally.complaints) < COMPLAINTS_MAX:
            self._one_run(kills)
            if not self._quiet:
                print(f"{self.tally.kills} kills, {self.tally.runs} runs ended", file=sys.stderr)

    def _moment(self) -> Moment:
        once_touched = self._random.random() >= FROM_THE_START
        ahead_s = self.training_s / 3 + (0.0 if once_touched else self.preparing_s)
        return Moment(self._random.uniform(0, ahead_s), once_touched)

    def _one_run(self, kills: int) -> None:
        out = self._command.place / f"run-{self.tally.runs}"
        state, starts = State(0), 0
        while True:
            last = self.tally.kills >= kills
            before, starts = leftovers(out), starts + 1
            code, stdout, stderr = self._command.run(out, NEVER if last else self._moment())
            state = state_of(out, self.expected, at_least=state.step)
            self._complain(state, f"run {self.tally.runs}, start {starts}, exit code {code}")
            if code != -signal.SIGKILL or last or state.complaint:
                break
            self._killed(out, before, state)
        self._ended(out, state, code, stdout, stderr)
        self.tally.starts_of_a_run_max = max(self.tally.starts_of_a_run_max, starts)

    def _killed(self, out: Path, before: frozenset[Path], state: State) -> None:
        left = leftovers(out)
        places = {place_of(path, out) for path in left - before}
        self.tally.kills += 1
        self.tally.in_a_save += bool(places)
        self.tally.places.update(places)
        self.tally.before_the_first += not state.step
        self.tally.at_steps.append(state.step)
        self.tally.left_at_once_max = max(self.tally.left_at_once_max, len(left))

    def _ended(self, out: Path, state: State, code: int, stdout: str, stderr: str) -> None:
        where = f"run {self.tally.runs}"
        self.tally.runs += 1
        if code:
            self.tally.complaints.append(f"{where} ended with {code}: {stderr}")
            return
        report = json.loads(stdout.splitlines()[-1])
        same = report["weights_sha256"] == state.sha256 == self.report["weights_sha256"]
        self.tally.equal_hashes += same
        if not same:
            self.tally.complaints.append(f"{where}: other weights, {report['weights_sha256']}")
        if state.lines != self.expected:
            self.tally.complaints.append(f"{where}: {len(state.lines)} of {len(self.expected)} metrics")
        if left := leftovers(out):
            self.tally.complaints.append(f"{where} has left {sorted(path.name for path in left)}")

    def _complain(self, state: State, where: str) -> None:
        if state.complaint is not None:
            self.tally.complaints.append(f"{where}: {state.complaint}")


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--epochs", type=int, default=8, help="of a run; four steps each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="nothing but the JSON object")
    options = parser.parse_args()
    begun_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        killer = Killer(Command(Path(place), options.epochs), options.seed, quiet=options.json)
        killer.kill(options.kills)
    tally = killer.tally
    figures = {
        "kills": tally.kills,
        "in_a_save": tally.in_a_save,
        "in_which_part": dict(tally.places.most_common()),
        "before_the_first_checkpoint": tally.before_the_first,
        "at_different_steps": len(set(tally.at_steps)),
        "runs": tally.runs,
        "starts_of_a_run_max": tally.starts_of_a_run_max,
        "hidden_folders_at_once_max": tally.left_at_once_max,
        "steps_of_a_run": killer.report["steps"],
        "weights_sha256": killer.report["weights_sha256"],
        "all_hashes_equal": tally.equal_hashes == tally.runs,
        "undisturbed_s": {
            "preparing": round(killer.preparing_s, 2),
            "training": round(killer.training_s, 2),
        },
        "seconds": round(time.perf_counter() - begun_s, 1),
        "seed": options.seed,
        "complaints": tally.complaints,
    }
    print(json.dumps(figures))
    return 1 if tally.complaints or tally.kills < options.kills else 0


if __name__ == "__main__":
    sys.exit(main())
