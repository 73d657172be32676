"""What a soak knows of its own run: counts, where the actors are, and what was seen that must never be.

Everything here is bounded, however long the run: counters over few keys, one slot a caller, one entry a
living child, and the first few violations with the number of all.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from actors import MailboxFull
from tests.benchmarks.soaking.heartbeat import overlap_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors import ActorRef, Down

VIOLATIONS_KEPT: Final = 20
SUSPECTS_KEPT: Final = 10_000


class Board:
    """Shared by the actors and the callers of one run, in the thread of their loop.

    Args:
        callers: how many callers there are.
        slack_s: how much later than its deadline an ask may be seen to end.
    """

    def __init__(self, callers: int, slack_s: float) -> None:
        self.slack_s = slack_s
        self.counts: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()
        self.violations: list[str] = []
        self.violated: Counter[str] = Counter()
        self.latest_s = 0.0
        self._suspects: list[tuple[str, str, float, float]] = []
        self.workers: list[ActorRef[Any]] = []
        self.foremen: list[ActorRef[Any]] = []
        self.hearers: dict[str, Ends] = {}
        self.onlooker = Ends(self)
        self._places: dict[str, tuple[ActorRef[Any], list[ActorRef[Any]]]] = {}
        self._open = [0] * callers
        self._handled = [0] * callers

    def violate(self, law: str, what: str) -> None:
        """Record something that must never be."""
        self.violated[law] += 1
        if len(self.violations) < VIOLATIONS_KEPT:
            self.violations.append(f"{law}: {what}")

    # Where the actors are

    def settle(self, foreman: ActorRef[Any], workers: list[ActorRef[Any]]) -> None:
        """Hear where a foreman's workers are, after each of its starts."""
        self._places[foreman.path] = (foreman, workers)
        self.foremen = [place[0] for place in self._places.values()]
        self.workers = [worker for place in self._places.values() for worker in place[1]]

    def tell(self, tell: Callable[[ActorRef[Any], Any], None], ref: ActorRef[Any], note: Any) -> None:
        """Tell a note, by a context or the system, and account for it."""
        self.counts["notes"] += 1
        try:
            tell(ref, note)
        except MailboxFull:
            self.counts["notes_refused"] += 1

    # Each ask ends once, in time, and is not handled after its end

    def begin(self, caller: int, number: int) -> None:
        """An ask of a caller begins."""
        self.counts["asks"] += 1
        self._open[caller] = number

    def end(self, caller: int, end: str, late_s: float) -> None:
        """It has ended, so many seconds after its deadline (less than 0: before)."""
        if not self._open[caller]:
            self.violate("one end", f"an ask of caller {caller} ended twice")
        self._open[caller] = 0
        self.ends[end] += 1
        self.latest_s = max(self.latest_s, late_s)
        if late_s > self.slack_s:
            what = f"an ask of caller {caller} ended {late_s:.3f} s after its deadline"
            self.suspect("deadlines", what, late_s)

    def suspect(self, law: str, what: str, late_s: float) -> None:
        """Record what must not be, unless the machine stood still for most of so many seconds before now."""
        if len(self._suspects) < SUSPECTS_KEPT:
            self._suspects.append((law, what, late_s, time.monotonic()))
        else:
            self.violate(law, what)

    def judge(self, spans: list[tuple[float, float]]) -> None:
        """Tell violations from what happened while the machine stood still, in these spans of time."""
        for law, what, late_s, ended_s in self._suspects:
            if late_s > self.slack_s + overlap_s(spans, ended_s - late_s, ended_s):
                self.violate(law, what)

    def handle(self, caller: int, number: int) -> None:
        """A handler begins with what a caller has asked it directly."""
        self.counts["handled"] += 1
        if self._open[caller] != number:
            self.violate("handled in time", f"ask {number} of caller {caller} was handled after its end")
        elif self._handled[caller] == number:
            self.violate("handled once", f"ask {number} of caller {caller} was handled twice")
        self._handled[caller] = number

    def open_asks(self) -> int:
        """Asks that have begun and not ended."""
        return sum(number > 0 for number in self._open)

    def report(self) -> dict[str, Any]:
        """For the JSON object."""
        counts = self.counts
        return {
            "handled": counts["handled"] + counts["notes_handled"],
            "asks": dict(self.ends),
            "asks_latest_ms": round(self.latest_s * 1e3, 1),
            "restarts": counts["restarts"],
            "epochs": counts["epochs"],
            "counts": dict(sorted(counts.items())),
            "violations": dict(self.violated),
            "first_violations": self.violations,
            "laws_held": not self.violated,
        }


class Ends:
    """The ends that one hearer was told of: each incarnation of each actor exactly once, in order."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._last: dict[str, tuple[int, bool]] = {}

    def heard(self, path: str) -> int:
        """The last incarnation of which an end was heard, 0 for none."""
        return self._last.get(path, (0, True))[0]

    def hear(self, down: Down) -> None:
        """Hold one `Down` against those before it."""
        self._board.counts["downs"] += 1
        path = down.ref.path
        last, restarting = self._last.get(path, (0, True))
        called_off = down.incarnation == last and restarting and not down.restarting
        if down.incarnation != last + 1 and not called_off:
            self._board.violate("one Down", f"{down} came after incarnation {last}")
        if down.restarting:
            self._last[path] = (down.incarnation, True)
        else:  # its end was for good: another may come to live at the same place
            self._last.pop(path, None)
