"""The runtime at full speed for a long time: does memory stay flat, and does every law hold all the while?

usage: python tests/benchmarks/soak.py [--minutes M | --seconds S] [--seed N] [--callers N] [--slack-s S]

Callers outside the tree ask, tell, crash, cancel, let expire, offload, start and stop, in an order drawn from
the seed, while two trees of three levels run epoch after epoch; on a real event loop, as fast as it goes. The
resident set is sampled once a second. While it runs it is checked that every ask ends once, in time (but for
times in which a process beside it saw the machine itself stand still), with
the right answer, that none is handled twice or after its end, and that every end of an incarnation is one
Down; at the end that no ask, wait, task, stray, deadline or job is left over, that messages told and messages
handled or lost agree, and that shutdown keeps its budget.

Memory counts as flat when no sample after the first minute lies more than 5 percent above the one at its end;
in runs of less than two minutes the first half takes the place of that minute. Ctrl-C ends the run early,
with the result so far. Prints one JSON object. Exit code 1 when a check failed or memory was not flat.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from actors import ActorSystem
from tests.benchmarks.soaking.board import Board
from tests.benchmarks.soaking.callers import Caller, conduct
from tests.benchmarks.soaking.cast import ALWAYS, Foreman, LookAt, Onlooker
from tests.benchmarks.soaking.heartbeat import Heartbeat
from tests.benchmarks.soaking.memory import Flatness, resident_kib

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors import ShutdownReport, TreeNode

TREES: Final = 2
TEAMS: Final = 3
DRIFT_PERCENT_MAX: Final = 5.0
WARM_S: Final = 60.0
QUIET_S: Final = 12.0
SHUTDOWN_S: Final = 5.0
# What may be left of a system in which nobody does anything.
LEFT_OVER: Final = ("open_asks", "open_waits", "stray_tasks")
# Dead letters that can be a note. Others are asks, whose callers know.
LOST_NOTES: Final = ("actor ended", "actor stopping", "no such actor", "dropped as the oldest")


async def watch(board: Board, flat: Flatness, seconds: float, stopped: asyncio.Event) -> float:
    """Sample once a second until it is over; return how long that was."""
    begun_s = time.perf_counter()
    while not stopped.is_set():
        try:
            elapsed_s = time.perf_counter() - begun_s
            await asyncio.wait_for(stopped.wait(), max(0.0, min(1.0, seconds - elapsed_s)))
        except TimeoutError:
            elapsed_s = time.perf_counter() - begun_s
            flat.add(elapsed_s, resident_kib())
            if sys.stderr.isatty():
                show(board, flat, elapsed_s, seconds)
            if elapsed_s >= seconds:
                stopped.set()
    return time.perf_counter() - begun_s


def show(board: Board, flat: Flatness, elapsed_s: float, seconds: float) -> None:
    """One line of progress, over the one before."""
    counts, wrong, mib = board.counts, board.violated.total(), flat.last_kib / 1024
    line = (
        f"{elapsed_s:6.0f} of {seconds:.0f} s  {counts['asks']:,} asks  {counts['notes']:,} tells  "
        f"{counts['restarts']:,} restarts  {counts['epochs']:,} epochs  {mib:.1f} MiB  {wrong} wrong"
    )
    print(f"\r\x1b[2K{line}", end="", flush=True, file=sys.stderr)


async def load(
    system: ActorSystem, board: Board, flat: Flatness, options: argparse.Namespace, stopped: asyncio.Event
) -> float:
    """Let all of them work until the time is over; return how long that was."""
    onlooker = await system.spawn(Onlooker, board)
    roots = [await system.spawn(Foreman, board, TEAMS, supervision=ALWAYS) for _ in range(TREES)]
    callers = [Caller(index, system, board, options.seed) for index in range(options.callers)]
    for foreman in board.foremen:  # before anything happens to them
        await system.ask(onlooker, LookAt(foreman))
    work = [caller.run(stopped) for caller in callers]
    work += [conduct(system, root, board, stopped) for root in roots]
    tasks = [asyncio.create_task(each) for each in work]
    for task in tasks:
        task.add_done_callback(lambda _: stopped.set())  # nobody ends before it is over, unless by an error
    seconds = await watch(board, flat, options.seconds, stopped)
    done, late = await asyncio.wait(tasks, timeout=QUIET_S)
    for task in late:
        board.violate("every wait ends", f"a caller still waits after {QUIET_S} s: {system.waits()[:3]}")
        task.cancel()
    for task in done:
        task.result()
    return seconds


async def come_to_rest(system: ActorSystem) -> dict[str, Any]:
    """Wait until nothing goes on any more, not for ever; return what the system says then."""
    begun_s = time.perf_counter()
    while True:
        found = system.statistics()
        jobs = found["jobs"]
        left = [found[name] for name in LEFT_OVER] + [jobs["queued"], jobs["running"], jobs["abandoned"]]
        queued = sum(count_queued(node) for node in system.tree())
        # An actor at rest may have one deadline in the heap, which watches over its runs.
        left.append(max(0, found["open_deadlines"] - found["actors"]))
        if not (any(left) or queued or found["tasks"] != found["actors"]):
            return found
        if time.perf_counter() - begun_s > QUIET_S:
            return {**found, "queued": queued}
        await asyncio.sleep(0.02)


def count_queued(node: TreeNode) -> int:
    """Messages in the mailboxes of an actor and of all below it."""
    return node.queued + sum(count_queued(child) for child in node.children)


def check_rest(board: Board, rest: dict[str, Any], tree: Sequence[TreeNode]) -> None:
    """At rest nothing is left over, and what was told was handled or is accounted for."""
    for root in tree:
        check_downs(board, root)
    for name in LEFT_OVER:
        if rest[name]:
            board.violate("nothing left over", f"{rest[name]} {name}")
    if rest["open_deadlines"] > rest["actors"]:
        board.violate("nothing left over", f"{rest['open_deadlines']} open_deadlines")
    if rest["tasks"] != rest["actors"] or "queued" in rest:
        board.violate("nothing left over", f"not at rest after {QUIET_S} s: {rest}")
    if any(rest["jobs"][name] for name in ("queued", "running", "abandoned")):
        board.violate("nothing left over", f"jobs: {rest['jobs']}")
    if board.open_asks() or board.ends.total() != board.counts["asks"]:
        board.violate("one end", f"{board.counts['asks']} asks, {board.ends.total()} ends")
    if board.ends["another error"]:
        board.violate("one end", f"{board.ends['another error']} asks ended in an error that is none of them")
    counts, letters = board.counts, rest["dead_letters"]
    lost = counts["notes"] - counts["notes_handled"] - counts["notes_refused"]
    if not 0 <= lost <= sum(letters.get(reason, 0) for reason in LOST_NOTES):
        board.violate("every message accounted for", f"{lost} notes lost; dead letters: {letters}")


def check_downs(board: Board, node: TreeNode) -> None:
    """At rest each hearer was told of every incarnation before the one that lives."""
    watched = {foreman.path for foreman in board.foremen}
    for child in node.children:
        hearers = [board.hearers[node.path], *([board.onlooker] if child.path in watched else [])]
        for ends in hearers:
            if (heard := ends.heard(child.path)) != child.incarnation - 1:
                board.violate("one Down", f"{child.path}: {heard} ended last, {child.incarnation} lives")
        check_downs(board, child)


def check_shutdown(board: Board, report: ShutdownReport, after: dict[str, Any]) -> None:
    """Shutdown has kept its budget, and has ended everything."""
    if report.duration_s > SHUTDOWN_S + board.slack_s:
        board.violate("shutdown in time", f"it took {report.duration_s:.2f} s of {SHUTDOWN_S} s")
    if report.survivors:
        board.violate("shutdown ends all", f"survivors: {list(report.survivors)}")
    for name in ("actors", "tasks", "open_deadlines", *LEFT_OVER):
        if after[name]:
            board.violate("shutdown ends all", f"{after[name]} {name}")


async def soak(options: argparse.Namespace) -> dict[str, Any]:
    """One run."""
    stopped, interrupted = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        interrupted.set()
        stopped.set()
        loop.remove_signal_handler(signal.SIGINT)  # the second one ends the process

    loop.add_signal_handler(signal.SIGINT, interrupt)
    board, heartbeat = Board(options.callers, options.slack_s), Heartbeat()
    flat = Flatness(WARM_S if options.seconds >= 2 * WARM_S else options.seconds / 2)
    async with ActorSystem("soak") as system:
        seconds, memory = await load(system, board, flat, options, stopped), flat.report()
        rest = await come_to_rest(system)
        spans = heartbeat.stop()
        board.judge(spans)
        check_rest(board, rest, system.tree())
        report = await system.shutdown(SHUTDOWN_S)
    await asyncio.sleep(0)  # tasks that have ended say so in the next turn of the loop
    check_shutdown(board, report, system.statistics())
    if len(asyncio.all_tasks()) > 1:
        board.violate("shutdown ends all", f"tasks: {[task.get_name() for task in asyncio.all_tasks()]}")
    loop.remove_signal_handler(signal.SIGINT)
    return {
        "seconds": round(seconds, 1),
        "seed": options.seed,
        "interrupted": interrupted.is_set(),
        "messages": rest["messages"],
        "messages_per_s": round(rest["messages"] / seconds),
        "machine_stood_still_s": [round(ended_s - begun_s, 1) for begun_s, ended_s in spans],
        "blockages": [
            f"{block.actor}, {block.duration_s:.1f} s: {block.stack}" for block in report.blockages
        ],
        **board.report(),
        "dead_letters": rest["dead_letters"],
        "shutdown_s": round(report.duration_s, 3),
        "memory": memory,
        "flat": flat.drift_percent is None or flat.drift_percent <= DRIFT_PERCENT_MAX,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=1.0)
    length.add_argument("--seconds", type=float)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--slack-s", type=float, default=1.0, help="how late an end may be seen")
    options = parser.parse_args()
    if options.seconds is None:
        options.seconds = options.minutes * 60
    logging.getLogger("actors").setLevel(logging.CRITICAL)  # handlers fail on purpose, a thousand times
    found = asyncio.run(soak(options))
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(json.dumps(found))
    sys.exit(0 if found["laws_held"] and found["flat"] else 1)


if __name__ == "__main__":
    main()
