"""Which rows of a trace are kept: by level, and by a sample of the messages from outside."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from actors.tracing.options import LEVELS

if TYPE_CHECKING:
    from actors.tracing.options import TraceOptions
    from actors.tracing.rows import Row

__all__ = ["SETTLED_MAX", "Selection"]

_SENT: Final = frozenset({"ask", "tell", "send"})
_WAITS: Final = frozenset({"wait", "wait_end"})
# Mostly the last that is heard of a message. A late answer or the end of its handler may follow soon.
_SETTLED: Final = frozenset({"answer", "handled", "done", "drop", "wait_end"})
SETTLED_MAX: Final = 4096
_GOLDEN: Final = 0x9E3779B97F4A7C15
_RANGE: Final = 1 << 64


class Selection:
    """Decides for one row after the other, in the order in which they come.

    A message from outside is in the sample or not, by its number; what it causes goes with it, down to the
    last. So a message that is there has all its causes.
    """

    def __init__(self, options: TraceOptions) -> None:
        levels = list(LEVELS)
        above = levels[levels.index(options.level) + 1 :]
        self._left_out = frozenset[str]().union(*(LEVELS[level] for level in above))
        self._optional = frozenset[str]().union(*LEVELS.values())
        self._limit = int(options.sample * _RANGE)
        self._samples = options.sample < 1
        self._muted: set[int] = set()
        self._settled: deque[int] = deque()  # those of them that can be forgotten soon

    @property
    def keeps_all(self) -> bool:
        """Whether there is nothing to decide."""
        return not self._left_out and not self._samples

    def keeps(self, row: Row) -> bool:
        """Whether this row is to be kept."""
        kind: str = row[1]
        msg_id: int = row[4]
        heard = not (self._samples and self._mutes(kind, msg_id, row[5]))
        if msg_id and kind in _WAITS:  # that for an answer is kept as messages are
            kind = "ask"
        return kind not in self._left_out and (heard or kind not in self._optional)

    def _mutes(self, kind: str, msg_id: int, cause_id: int) -> bool:
        muted = self._muted
        if kind in _SENT or (msg_id and kind == "wait"):
            mutes = cause_id in muted if cause_id else msg_id * _GOLDEN % _RANGE >= self._limit
            if mutes:
                muted.add(msg_id)
            return mutes
        mutes = msg_id in muted if msg_id else cause_id in muted
        if msg_id and mutes and kind in _SETTLED:
            self._settled.append(msg_id)
            if len(self._settled) > SETTLED_MAX:
                muted.discard(self._settled.popleft())
        return mutes
