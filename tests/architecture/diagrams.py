"""The tables and diagrams in the documents that show tables of the code, made out of the code.

usage: python tests/architecture/diagrams.py [--write]

Each stands between `<!-- made by diagrams.py: NAME -->` and `<!-- end of NAME -->`. With --write the
documents are brought up to date; without, the exit code is 1 when one of them is not. A test compares too.
"""

from __future__ import annotations

import argparse
import copy
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from actors import TRANSITIONS, Event, State, Strategy, Supervision, errors
from actors.cell import HOOK_SHARE
from actors.ending import CHILDREN_SHARE, DRAIN_SHARE, UNWIND_S
from actors.group import End, Group, Standing, Start
from actors.host import Phase
from tests.architecture.documents import documents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

MARK: Final = re.compile(
    r"(?P<begin><!-- made by diagrams\.py: (?P<name>[a-z-]+) -->\n).*?(?P<end><!-- end of (?P=name) -->)",
    flags=re.DOTALL,
)

# What the table of states cannot say.
NOTES: Final[Mapping[tuple[State, Event], str]] = {
    (State.IDLE, Event.BEGIN): "n must be larger than that of any epoch before",
    (State.RUNNING, Event.FINISH): "own work done, every child accounted for",
    (State.RUNNING, Event.FAIL): "with the reason",
    (State.EPOCH_DONE, Event.BEGIN): "a second epoch can begin",
    (State.EPOCH_DONE, Event.REST): "`ctx.rest()`",
    (State.SHUTDOWN, Event.STOP): "nothing leads out of it",
}
NUMBERED: Final = {Event.BEGIN, Event.FINISH, Event.FAIL}

# The code has no table of these; a test watches actors under simulation, and sees these moves and no others.
PHASES: Final[Mapping[tuple[Phase, Phase], str]] = {
    (Phase.STARTING, Phase.LIVE): "on_start has returned",
    (Phase.STARTING, Phase.RESTARTING): "failed again, before it was up",
    (Phase.STARTING, Phase.STOPPING): "is to stop",
    (Phase.STARTING, Phase.ENDED): "failed in its first start, or for good",
    (Phase.LIVE, Phase.RESTARTING): "failed, will be started again",
    (Phase.LIVE, Phase.STOPPING): "is to stop, or a sibling of its group has failed",
    (Phase.LIVE, Phase.ENDED): "failed for good",
    (Phase.RESTARTING, Phase.STARTING): "the pause is over",
    (Phase.RESTARTING, Phase.ENDED): "is to stop",
    (Phase.STOPPING, Phase.RESTARTING): "its group is started again",
    (Phase.STOPPING, Phase.ENDED): "has stopped",
}


def _mermaid(lines: Iterable[str]) -> str:
    return "\n".join(["```mermaid", *lines, "```", ""])


def _event(event: Event) -> str:
    return f"{event.value}(n)" if event in NUMBERED else event.value


def states_diagram() -> str:
    """`TRANSITIONS` as a picture; a stop leads from everywhere to shutdown."""
    moves = [
        f"    {before.value} --> {after.value}: {_event(event)}"
        for (before, event), after in TRANSITIONS.items()
        if before is not after
    ]
    return _mermaid(["stateDiagram-v2", f"    [*] --> {State.IDLE.value}", *moves])


def states_table() -> str:
    """`TRANSITIONS` as a table."""
    rows = [
        f"| {before.value} | {_event(event)} | {after.value} | {NOTES.get((before, event), '')} |".replace(
            "|  |", "| |"
        )
        for (before, event), after in TRANSITIONS.items()
    ]
    return "\n".join(["| from | event | to | |", "|---|---|---|---|", *rows, ""])


def phases() -> str:
    """What an actor's place in the tree goes through."""
    moves = [f"    {before.value} --> {after.value}: {why}" for (before, after), why in PHASES.items()]
    return _mermaid(
        ["stateDiagram-v2", f"    [*] --> {Phase.STARTING.value}", *moves, f"    {Phase.ENDED.value} --> [*]"]
    )


def shutdown() -> str:
    """The budget of a stop, with the shares that the code has."""
    steps = [
        "admission closes: no new messages",
        f"what is queued is handled, until {DRAIN_SHARE:.0%} of the time is used",
        f"on_stop, at most {HOOK_SHARE:.0%} of what remains",
        f"the children stop, the last first, within {CHILDREN_SHARE:.0%} of what remains",
        "it has ended: one Down, and an answer to everyone who still waits",
    ]
    late = (
        "at the end of the time: given up with all below it; what does not end is left behind, and reported"
    )
    boxes = [f'    s{number}["{step}"]' for number, step in enumerate(steps)]
    chain = "    " + " --> ".join(f"s{number}" for number in range(len(steps)))
    unwind = f'    late["{late} (a cancelled handler has {UNWIND_S:g} s to unwind)"]'
    return _mermaid(["flowchart TD", *boxes, unwind, chain, "    s1 & s2 & s3 -.-> late --> s4"])


Move = tuple[Standing | None, str, Standing | None]


def standings_moves(members: int = 3) -> set[Move]:
    """Every move of a member that `Group` makes, found by driving groups into each state they can reach."""
    moves: set[Move] = set()
    for strategy in (Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE):
        seen: set[str] = set()
        ahead = [Group(Supervision(strategy=strategy, max_restarts=1))]
        while ahead:
            group = ahead.pop(0)
            key = repr([getattr(group, slot) for slot in Group.__slots__])
            if key in seen:
                continue
            seen.add(key)
            for then, found in _next_groups(group, [f"m{number}" for number in range(members)]):
                moves |= found
                ahead.append(then)
    return moves


def _next_groups(group: Group, members: list[str]) -> Iterator[tuple[Group, set[Move]]]:
    stands = group.standings
    calls: list[tuple[str, str, str, tuple[Any, ...]]] = [("", "", "next_step", ())]
    calls.append(("", "", "pause_is_over", ()))
    for member in members:
        if stands.get(member) in {None, Standing.RISING}:
            calls.append((member, "has come up", "is_up", (member,)))
        if stands.get(member) is Standing.LEAVING:
            calls.append((member, "has ended", "is_down", (member,)))
        if member in stands:
            calls.append((member, "ends for good", "leave", (member,)))
        if stands.get(member) not in {None, Standing.DOWN}:
            calls.append((member, "fails", "fail", (member, "", 0.0)))
    for who, label, method, args in calls:
        then = copy.deepcopy(group)
        step = getattr(then, method)(*args)
        if isinstance(step, End | Start):
            told = "is told to end" if isinstance(step, End) else "is started"
            yield then, set(_changes(stands, then.standings, step.member, told))
        else:
            yield then, set(_changes(stands, then.standings, who, label))


def _changes(
    before: Mapping[str, Standing], after: Mapping[str, Standing], who: str, label: str
) -> Iterator[Move]:
    for member in {*before, *after}:
        if before.get(member) is not after.get(member):
            yield before.get(member), label if member == who else "a sibling fails", after.get(member)


def standings() -> str:
    """Where a member of a group can stand, and what moves it."""
    order = [None, *Standing]
    ordered = sorted(standings_moves(), key=lambda move: (order.index(move[0]), move[1], str(move[2])))
    labels: dict[tuple[str, str], list[str]] = {}
    for before, why, after in ordered:
        edge = before.value if before else "[*]", after.value if after else "[*]"
        labels.setdefault(edge, []).append(why)
    rows = [f"    {one} --> {two}: {', or '.join(whys)}" for (one, two), whys in labels.items()]
    return _mermaid(["stateDiagram-v2", *rows])


def error_table() -> str:
    """Every error of the runtime, each below its base."""
    rows = ["| error | what it says |", "|---|---|"]

    def add(cls: type[Exception], depth: int) -> None:
        doc = " ".join((cls.__doc__ or "").split("\n\n")[0].split())
        also = [base.__name__ for base in cls.__bases__ if base.__module__ == "builtins" and depth]
        rows.append(f"| {'&emsp;' * depth}`{cls.__name__}`{f' ({also[0]})' if also else ''} | {doc} |")
        for below in sorted(cls.__subclasses__(), key=lambda one: one.__name__):
            if below.__name__ in errors.__all__:
                add(below, depth + 1)

    add(errors.ActorError, 0)
    return "\n".join([*rows, ""])


MAKERS: Final[Mapping[str, Callable[[], str]]] = {
    "states-diagram": states_diagram,
    "states-table": states_table,
    "phases": phases,
    "shutdown": shutdown,
    "standings": standings,
    "errors": error_table,
}


def made(text: str) -> str:
    """A document with everything that is made out of the code as the code is now.

    Raises:
        KeyError: it asks for something that nobody knows how to make.
    """
    return MARK.sub(lambda found: f"{found['begin']}{MAKERS[found['name']]()}{found['end']}", text)


def main() -> int:
    """Compare the documents, or write them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", action="store_true", help="bring the documents up to date")
    write = parser.parse_args().write
    stale = 0
    for path in documents():
        text = path.read_text(encoding="utf-8")
        if (new := made(text)) != text:
            stale += 1
            print(f"{'written' if write else 'out of date'}: {path}")
            if write:
                path.write_text(new, encoding="utf-8")
    return 1 if stale and not write else 0


if __name__ == "__main__":
    sys.exit(main())
