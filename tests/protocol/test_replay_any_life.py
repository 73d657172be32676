"""Every life of every actor in ordinary programs does the same again when it is played again."""

from __future__ import annotations

import functools
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest

from actors import cell, replay
from actors.simulation import Faults, run
from actors.tracing import Trace, Tracer, pack_payload
from tests.helpers import scenarios

if TYPE_CHECKING:
    from actors.host import ChildSpec
    from actors.simulation.run import Scenario

SEEDS = 4
SCENARIOS = [
    scenarios.fan_out,
    scenarios.epochs,
    scenarios.stops,
    scenarios.watchers,
    scenarios.jobs,
    scenarios.impatience,
    scenarios.crowding,
    scenarios.families,
    scenarios.groups,
    scenarios.snapshots,
]


@pytest.fixture
def specs(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, int], list[ChildSpec]]:
    """How each life in a simulation was started, by path and incarnation; and payloads in its trace."""
    found: dict[tuple[str, int], list[ChildSpec]] = defaultdict(list)
    start = cell.Cell.start

    def start_noted(self: cell.Cell) -> None:
        start(self)
        if type(self) is cell.Cell:  # not the cell of a replay
            found[self.path, self.incarnation].append(self.spec)

    monkeypatch.setattr(cell.Cell, "start", start_noted)
    monkeypatch.setattr(
        run, "Tracer", functools.partial(Tracer, pack=functools.partial(pack_payload, mode="whole"))
    )
    return found


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_each_life_does_the_same_again(
    scenario: Scenario, specs: dict[tuple[str, int], list[ChildSpec]]
) -> None:
    lives = 0
    for seed in range(SEEDS):
        specs.clear()
        trace = Trace.of(run.run_seed(scenario, seed, Faults()).events)
        for (path, life), (spec, *others) in list(specs.items()):
            if others:
                continue  # two actors had that path, one after the other
            outcome = replay(trace, path, functools.partial(_make, spec), incarnation=life)
            assert outcome.difference is None, f"seed {seed}: {outcome}"
            assert not outcome.stopped, f"seed {seed}: {outcome}"
            assert outcome.messages == outcome.recorded
            lives += 1
    assert lives >= SEEDS


def _make(spec: ChildSpec) -> Any:
    return spec.actor(*spec.args, **spec.kwargs)
