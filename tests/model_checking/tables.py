"""The decisions of the real code, written as Promela; the model includes them and has no others.

usage: python tests/model_checking/tables.py [--check]

Writes tables.pml from `actors.lifecycle.advance` and `actors.supervision.on_child_exit`, asked about every
case there is. With --check it writes nothing; the exit code is 1 when the file is not what it would write.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from actors.errors import IllegalTransition
from actors.lifecycle import Event, Lifecycle, State, advance
from actors.supervision import Restart, Supervision, on_child_exit

if TYPE_CHECKING:
    from collections.abc import Callable

TABLES = Path(__file__).parent / "tables.pml"
LAST = 5  # an epoch with epochs before and after it
GIVEN = {"<": LAST - 1, "==": LAST, ">": LAST + 1}
RESTARTS_MAX = 3
HEAD = """\
/* Made by tests/model_checking/tables.py out of actors/lifecycle.py and actors/supervision.py, and compared
   with them by a test. Do not edit. */
"""


def lifecycle_rows(step: Callable[..., Lifecycle] = advance) -> list[str]:
    """One guarded move for every (state, event, kind of epoch) that `step` allows."""
    rows: list[str] = []
    for state in State:
        for event in Event:
            takes_epoch = event in {Event.BEGIN, Event.FINISH, Event.FAIL}
            for relation, given in GIVEN.items() if takes_epoch else [("", None)]:
                try:
                    then = step(Lifecycle(state, LAST), event, given)
                except IllegalTransition:
                    continue
                guard = f"state == {state.name} && event == {event.name}"
                guard += f" && given {relation} last" if relation else ""
                kept = "" if then.epoch == LAST else "; last = given"
                rows.append(f"  :: {guard} -> state = {then.state.name}{kept}")
    return rows


def over_rows() -> str:
    """When an epoch counts as over."""
    rows = [
        f"(state) == {state.name} && (given) {relation} (last)"
        for state in State
        for relation, given in GIVEN.items()
        if Lifecycle(state, LAST).over(given)
    ]
    return " || \\\n  ".join(rows)


def restart_rows(max_restarts: int) -> str:
    """The numbers of earlier failures after which one more failure is followed by a restart."""
    supervision = Supervision(max_restarts=max_restarts, window_s=60.0)
    allowed = [
        exits
        for exits in range(RESTARTS_MAX + 2)
        if isinstance(on_child_exit("failed", [0.0] * exits, 1.0, supervision), Restart)
    ]
    return " || ".join(f"(exits) == {exits}" for exits in allowed) or "false"


def render() -> str:
    """The text of tables.pml."""
    states = ", ".join(state.name for state in State)
    events = ", ".join(event.name for event in Event)
    parts = [
        HEAD,
        f"mtype = {{ {states}, {events} }};\n",
        "inline advance(state, last, event, given) {",
        "  if",
        *lifecycle_rows(),
        "  :: else -> assert(false) /* a move that the table of states does not have */",
        "  fi",
        "}\n",
        f"#define OVER(state, last, given) ( \\\n  {over_rows()})\n",
    ]
    for max_restarts in range(RESTARTS_MAX + 1):
        opening = "#if" if max_restarts == 0 else "#elif"
        parts += [
            f"{opening} RESTARTS == {max_restarts}",
            f"#define MAY_RESTART(exits) ({restart_rows(max_restarts)})",
        ]
    return "\n".join([*parts, "#endif\n"])


def written_moves() -> dict[tuple[State, Event], State]:
    """The moves that tables.pml has, whatever epochs they are limited to."""
    text = TABLES.read_text(encoding="utf-8")
    rows = re.findall(r":: state == (\w+) && event == (\w+).* -> state = (\w+)", text)
    return {(State[before], Event[event]): State[after] for before, event, after in rows}


def written_restarts() -> dict[int, set[int]]:
    """For each restart intensity in tables.pml, after how many earlier failures there is a restart."""
    text = TABLES.read_text(encoding="utf-8")
    rows = re.findall(r"RESTARTS == (\d+)\n#define MAY_RESTART\(exits\) \((.*)\)$", text, flags=re.MULTILINE)
    return {int(most): {int(exits) for exits in re.findall(r"== (\d+)", rule)} for most, rule in rows}


def main() -> int:
    """Write the file, or compare it."""
    options = argparse.ArgumentParser(description="The model's tables, from the code's.")
    options.add_argument("--check", action="store_true", help="compare, write nothing")
    if options.parse_args().check:
        same = TABLES.read_text(encoding="utf-8") == render()
        print(f"{TABLES.name} is {'what' if same else 'NOT what'} the code says")
        return not same
    TABLES.write_text(render(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
