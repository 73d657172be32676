"""The moves between phases that the documents draw are those that actors make, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors import Actor, Context, Supervision, message, on
from actors.cell import Cell
from actors.simulation import Faults, simulate
from tests.architecture.diagrams import PHASES
from tests.helpers.scenarios import families, groups, stops

if TYPE_CHECKING:
    import pytest

    from actors.host import Phase
    from actors.simulation import Simulation

SEEDS = 40


@message("phases.fail")
class Fail:
    pass


class FailsToReturn(Actor):
    """Its first life is ended by a failure, and no later one comes up."""

    async def on_start(self, ctx: Context) -> None:
        if ctx.incarnation > 1:
            raise ValueError("not again")

    @on(Fail)
    async def fail(self, _msg: Fail, _ctx: Context) -> None:
        raise ValueError("the first time")


async def never_again(sim: Simulation) -> None:
    ref = await sim.system.spawn(FailsToReturn, supervision=Supervision(max_restarts=2))
    receiver = sim.system.receiver()
    receiver.watch(ref)
    sim.system.tell(ref, Fail())
    downs = [await receiver.receive(timeout_s=60.0) for _ in range(3)]
    assert [down.restarting for down in downs] == [True, True, False]


def test_actors_move_between_phases_as_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[tuple[Phase, Phase]] = set()
    now: dict[Cell, Phase] = {}

    def move(cell: Cell, phase: Phase) -> None:
        before = now.setdefault(cell, phase)
        if before is not phase:
            seen.add((before, phase))
        now[cell] = phase

    monkeypatch.setattr(Cell, "phase", property(now.__getitem__, move), raising=False)
    for scenario in (families, groups, stops):
        simulate(scenario, seeds=SEEDS, faults=Faults.everything()).check()
    simulate(never_again, seeds=1).check()
    assert seen == set(PHASES)
