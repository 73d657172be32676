"""Your actors, unmodified, on an event loop with virtual time, seeded schedules and faults.

A test of one's own actors is one line: `simulate(scenario, seeds=500, faults=Faults.everything()).check()`.
A small scope can be searched in full: `explore(scenario).check()`.
"""

from actors.simulation.explore import Bounds, Exploration, explore, replay_choices
from actors.simulation.faults import Faults, InjectedCrash, InjectedError
from actors.simulation.loop import Deadlock, SimulationLoop
from actors.simulation.report import Report, SimulationFailed, replay, simulate
from actors.simulation.run import Run, Scenario, Simulation
from actors.simulation.story import tell, tell_event

__all__ = [
    "Bounds",
    "Deadlock",
    "Exploration",
    "Faults",
    "InjectedCrash",
    "InjectedError",
    "Report",
    "Run",
    "Scenario",
    "Simulation",
    "SimulationFailed",
    "SimulationLoop",
    "explore",
    "replay",
    "replay_choices",
    "simulate",
    "tell",
    "tell_event",
]
