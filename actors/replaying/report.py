"""What came of a replay."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from actors.errors import ActorError

if TYPE_CHECKING:
    from actors.replaying.compare import Apart

__all__ = ["Difference", "Played", "Replay", "ReplayDiffers"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a replay first did something else than the record says.

    Attributes:
        message: number of the message that was being handled, 0 in a hook such as `on_start`.
        handled: tag of that message.
        at: which of the actor's messages it was, from 1; 0 in a hook before the first.
        what: what differs, in words, such as `its reply crystalline.shard_sums`.
        apart: where in it, of two messages of the same class; else None.
        recorded: what the record has.
        now: what the replay has.
    """

    message: int
    handled: str
    at: int
    what: str
    recorded: str
    now: str
    apart: Apart | None = None

    @property
    def field(self) -> str:
        """The field that differs, as in `nodes[0].gradient`; empty if it is not a field."""
        return self.apart.field if self.apart is not None else ""

    def lines(self) -> list[str]:
        """In words: where, then what the record says and what the replay says."""
        where = f"message {self.message}, {self.handled}, the {_nth(self.at)}" if self.message else "a hook"
        field = f" differs in {self.field}" if self.field else ""
        lines = [f"{where}: {self.what}{field}", f"  recorded: {self.recorded}", f"  now:      {self.now}"]
        return [*lines, f"  {self.apart.note}"] if self.apart is not None and self.apart.note else lines

    def __str__(self) -> str:
        """The lines."""
        return "\n".join(self.lines())


class ReplayDiffers(ActorError):
    """A strict replay did something else than the record says.

    Attributes:
        difference: the first.
    """

    def __init__(self, difference: Difference) -> None:
        super().__init__(str(difference))
        self.difference = difference


@dataclass(frozen=True, slots=True)
class Played:
    """One message that was handled again.

    Attributes:
        message: its number in the record.
        tag: of its class.
        compared: how many replies and sends were compared field by field, with it and while it was handled.
        arrays: how many arrays in them had the same hash.
    """

    message: int
    tag: str
    compared: int
    arrays: int


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of playing an actor's messages again.

    Attributes:
        actor: its path.
        incarnation: which life of it.
        played: the messages that were handled, in their order.
        in_hooks: what was compared while no message was handled, as in `on_start`; its number is 0.
        recorded: how many the record has for that life.
        difference: the first one; None when all that was compared is the same.
        error: what a handler raised, if that ended the replay before the record's end.
        stopped: why the replay ended before the last message; empty if it did not.
    """

    actor: str
    incarnation: int
    played: tuple[Played, ...]
    in_hooks: Played
    recorded: int
    difference: Difference | None
    error: BaseException | None = None
    stopped: str = ""

    @property
    def messages(self) -> int:
        """How many messages were handled."""
        return len(self.played)

    @property
    def compared(self) -> int:
        """How many replies and sends were compared field by field."""
        return sum(played.compared for played in (self.in_hooks, *self.played))

    @property
    def arrays(self) -> int:
        """How many arrays in them had the same hash."""
        return sum(played.arrays for played in (self.in_hooks, *self.played))

    def lines(self) -> list[str]:
        """In words, the first difference first."""
        head = self.difference.lines() if self.difference is not None else []
        life = f" in life {self.incarnation}" if self.incarnation > 1 else ""
        done = (
            f"{self.actor}{life}: {self.messages} of {self.recorded} messages played again; "
            f"{self.compared} replies and sends compared with the record, {self.arrays} arrays in them equal"
        )
        if self.difference is None:
            done += ", no difference"
        return [*head, done, *([f"ended early: {self.stopped}"] if self.stopped else [])]

    def as_dict(self) -> dict[str, Any]:
        """The same, ready for JSON."""
        return {
            "actor": self.actor,
            "incarnation": self.incarnation,
            "messages": self.messages,
            "recorded": self.recorded,
            "compared": self.compared,
            "arrays": self.arrays,
            "difference": asdict(self.difference) if self.difference is not None else None,
            "error": repr(self.error) if self.error is not None else None,
            "stopped": self.stopped,
        }

    def __str__(self) -> str:
        """The lines."""
        return "\n".join(self.lines())


def _nth(number: int) -> str:
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")  # noqa: PLR2004 - English
    return f"{number}{ending} message of the actor"
