"""Which rows of a trace are kept: by level, and by a sample of the messages from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.tracing.options import LEVELS

if TYPE_CHECKING:
    from actors.tracing.options import TraceOptions
    from actors.tracing.rows import Row

__all__ = ["Selection"]

_MESSAGES: Final = LEVELS["messages"]
_SENT: Final = frozenset({"ask", "tell", "send"})
# The last that is heard of a message. Its number can be forgotten then.
_SETTLED: Final = frozenset({"answer", "handled", "drop"})
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

    @property
    def keeps_all(self) -> bool:
        """Whether there is nothing to decide."""
        return not self._left_out and not self._samples

    def keeps(self, row: Row) -> bool:
        """Whether this row is to be kept."""
        kind: str = row[1]
        heard = not (self._samples and self._mutes(kind, row[4], row[5]))
        return kind not in self._left_out and (heard or kind not in self._optional)

    def _mutes(self, kind: str, msg_id: int, cause_id: int) -> bool:
        if kind in _SENT:
            muted = cause_id in self._muted if cause_id else msg_id * _GOLDEN % _RANGE >= self._limit
            if muted:
                self._muted.add(msg_id)
            return muted
        muted = msg_id in self._muted if msg_id else cause_id in self._muted
        if kind in _SETTLED:
            self._muted.discard(msg_id)
        return muted
