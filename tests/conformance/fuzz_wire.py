"""Millions of damaged frames for the decoder: it refuses them with `ProtocolError`, cheaply.

    python tests/conformance/fuzz_wire.py [--frames N] [--seconds N] [--seed S] [--processes N] [--json]
    python tests/conformance/fuzz_wire.py --replay FILE

Frames are made by a mutation loop over a corpus of good ones, not by atheris: most of the decoding happens in
msgpack's compiled code, where coverage of Python lines guides nothing.

Prints one JSON object: frames a second, how many were refused for what and how many accepted, the slowest
frame, the largest peak of memory (of frames looked at with tracemalloc) and of the process. `--json` leaves
out the line on standard error. The exit code is 1 when anything but a `ProtocolError` came out, a frame took
more than 50 ms of the processor, or more memory than `PEAK_PER_BYTE` allows; the frame is printed as hex and
written to a file for `--replay`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import resource
import signal
import sys
import time
import tracemalloc
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tests.helpers.wire_fuzz import CORPUS, OF_BYTES, OF_VALUES, PEAK_BYTES, PEAK_PER_BYTE, outcome

ADDRESS_SPACE_BYTES = 4 << 30
FRAME_MS_MAX = 50.0
STUCK_S = 30
POOL = 512  # frames to start from: good ones, and what edits of values have made of them
VALUES_EVERY = 64  # such an edit is slow, and its result is a start for many quick ones
START_BYTES_MAX = 1200  # larger frames are tried as well, but are no start for others: they take long
PEAK_EVERY = 1000
BLOCK = 4096
EDITS = OF_BYTES + OF_BYTES[-4:] * 3  # those behind a good checksum reach further


@dataclass(slots=True)
class Report:
    """What came of many frames."""

    frames: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    slowest_us: float = 0.0
    peak_bytes: int = 0
    peak_per_byte: float = 0.0
    rss_bytes: int = 0
    violations: list[tuple[str, bytes]] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Take the figures of another process in."""
        self.frames += other.frames
        self.outcomes += other.outcomes
        self.slowest_us = max(self.slowest_us, other.slowest_us)
        self.peak_bytes = max(self.peak_bytes, other.peak_bytes)
        self.peak_per_byte = max(self.peak_per_byte, other.peak_per_byte)
        self.rss_bytes = max(self.rss_bytes, other.rss_bytes)
        self.violations += other.violations


class Stuck(BaseException):
    """Decoding did not come back."""


def _stuck(*_: Any) -> None:
    raise Stuck(f"no end within {STUCK_S} s")


class Frames:
    """An endless supply of damaged frames, which follows from a seed."""

    def __init__(self, seed: str) -> None:
        self.bits = Random(seed).getrandbits
        self.pool = [CORPUS[number % len(CORPUS)] for number in range(POOL)]
        self.made = 0

    def next(self) -> bytes:
        """One to three edits of a frame of the pool."""
        self.made += 1
        bits = self.bits(32)
        at = bits % POOL
        if self.made % VALUES_EVERY == 0:
            # Half of them begin anew, so that the pool does not drift away from what is accepted.
            start = CORPUS[at % len(CORPUS)] if bits & 1 << 30 else self.pool[at]
            data = OF_VALUES[(bits >> 9) % len(OF_VALUES)](start, self.bits(32), self.bits(32))
            self.pool[(bits >> 12) % POOL] = data if len(data) < START_BYTES_MAX else CORPUS[at % len(CORPUS)]
            return data
        data = self.pool[at]
        for _ in range(1 + (bits >> 20) % 3 // 2):
            data = EDITS[(bits >> 9) % len(EDITS)](data, self.bits(32), self.bits(16))
            bits >>= 3
        return data


def examine(data: bytes, report: Report) -> None:
    """Decode a frame, account for it, and write down what should not have happened."""
    begun_s = time.perf_counter()
    try:
        end = outcome(data)
    except BaseException as error:  # noqa: BLE001 - whatever else comes out is what is looked for
        end = f"VIOLATION {type(error).__name__}"
        report.violations.append((f"{type(error).__name__}: {error}", data))
    took_us = (time.perf_counter() - begun_s) * 1e6
    report.frames += 1
    report.outcomes[end] += 1
    if took_us > report.slowest_us and (took_us := min(took_us, _again_us(data))) > report.slowest_us:
        report.slowest_us = took_us
        if took_us > FRAME_MS_MAX * 1e3:
            report.violations.append((f"took {took_us / 1e3:.0f} ms", data))


def _again_us(data: bytes) -> float:
    """The time without what else the machine did: of the processor, the better of two."""
    best = float("inf")
    for _ in range(2):
        begun_s = time.thread_time()
        _quietly(data)
        best = min(best, (time.thread_time() - begun_s) * 1e6)
    return best


def _quietly(data: bytes) -> None:
    with contextlib.suppress(BaseException):  # `examine` has written it down
        outcome(data)


def examine_memory(data: bytes, report: Report) -> None:
    """Decode a frame and look at the peak of memory."""
    tracemalloc.start()
    try:
        _quietly(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    report.peak_bytes = max(report.peak_bytes, peak)
    report.peak_per_byte = max(report.peak_per_byte, peak / max(1, len(data)) if peak > PEAK_BYTES else 0.0)
    if peak > PEAK_PER_BYTE * len(data) + PEAK_BYTES:
        report.violations.append((f"{peak} bytes of memory for a frame of {len(data)}", data))


def run(seed: str, frames: int, seconds: float) -> Report:
    """Examine so many frames, or as many as the time allows, or up to the first violation."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE_BYTES, resource.getrlimit(resource.RLIMIT_AS)[1]))
    signal.signal(signal.SIGPROF, _stuck)
    supply, report, until_s = Frames(seed), Report(), time.monotonic() + seconds
    while report.frames < frames and not report.violations and time.monotonic() < until_s:
        signal.setitimer(signal.ITIMER_PROF, STUCK_S)  # of the processor, for the whole block
        for _ in range(min(BLOCK, frames - report.frames)):
            data = supply.next()
            examine(data, report)
            if report.frames % PEAK_EVERY == 0:
                examine_memory(data, report)
    signal.setitimer(signal.ITIMER_PROF, 0)
    report.rss_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return report


def run_processes(seed: int, frames: int, seconds: float, processes: int) -> Report:
    """Share the frames out; each process has a seed of its own."""
    total = Report()
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        shares = [
            frames * (number + 1) // processes - frames * number // processes for number in range(processes)
        ]
        parts = [pool.submit(run, f"{seed}/{number}", share, seconds) for number, share in enumerate(shares)]
        for part in parts:
            total.add(part.result())
    return total


def show(report: Report, seed: int, duration_s: float) -> int:
    """Print the figures and what was found; the exit code."""
    accepted = report.outcomes.pop("accepted", 0)
    figures: dict[str, Any] = {
        "frames": report.frames,
        "seed": seed,
        "seconds": round(duration_s, 1),
        "frames_per_s": round(report.frames / max(duration_s, 1e-9)),
        "accepted": accepted,
        "rejected": dict(report.outcomes.most_common()),
        "slowest_us": round(report.slowest_us),
        "peak_bytes": report.peak_bytes,
        "peak_per_byte": round(report.peak_per_byte, 1),
        "rss_mib": round(report.rss_bytes / 2**20),
        "violations": [],
    }
    for number, (what, data) in enumerate(report.violations):
        path = Path(f"wire-violation-{seed}-{number}.bin")
        path.write_bytes(data)
        figures["violations"].append({"what": what[:500], "file": str(path), "hex": data.hex()})
    print(json.dumps(figures, indent=2))
    return 1 if report.violations else 0


def replay(path: Path) -> int:
    """Examine one frame from a file."""
    data, report = path.read_bytes(), Report()
    examine(data, report)
    examine_memory(data, report)
    return show(report, 0, 0.0)


def main() -> int:
    """Read the options and run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop earlier after this time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="nothing but the JSON object")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="examine the frame in this file")
    options = parser.parse_args()
    if options.replay is not None:
        return replay(options.replay)
    if not options.json:
        print(
            f"{options.frames} frames in {options.processes} processes, seed {options.seed}", file=sys.stderr
        )
    begun_s = time.perf_counter()
    report = run_processes(options.seed, options.frames, options.seconds, options.processes)
    return show(report, options.seed, time.perf_counter() - begun_s)


if __name__ == "__main__":
    sys.exit(main())
