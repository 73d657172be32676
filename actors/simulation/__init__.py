"""Your actors, unmodified, on an event loop with virtual time, seeded schedules and faults.

A test of one's own actors is one line: `simulate(scenario, seeds=500, faults=Faults.everything()).check()`.
"""

from actors.simulation.faults import Faults, InjectedCrash, InjectedError
from actors.simulation.loop import Deadlock, SimulationLoop
from actors.simulation.report import Report, SimulationFailed, replay, simulate
from actors.simulation.run import Run, Scenario, Simulation
from actors.simulation.story import tell, tell_event

__all__ = [
    "Deadlock",
    "Faults",
    "InjectedCrash",
    "InjectedError",
    "Report",
    "Run",
    "Scenario",
    "Simulation",
    "SimulationFailed",
    "SimulationLoop",
    "replay",
    "simulate",
    "tell",
    "tell_event",
]
