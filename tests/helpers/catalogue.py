"""Which scenarios are searched, under which faults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.simulation import Faults
from tests.helpers.scenarios import SCENARIOS
from tests.helpers.storms import STORMS
from tests.helpers.tiny_training import training

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.simulation import Scenario

__all__ = ["ALL_SCENARIOS", "MIXTURES", "QUIET", "TRAINING", "TRAINING_MIXTURES"]

QUIET: Final = "nothing"

MIXTURES: Final[Mapping[str, Faults]] = {
    QUIET: Faults(),
    "something": Faults.everything(),
    # Without an early end of everything, so that restarts and what follows from them have their time.
    "losses": Faults(
        error=0.8, crash=0.8, kill=0.8, stall=0.5, slow_actor=0.5, full_mailbox=0.5, stuck_job=0.5, stop=0.3
    ),
    "everything": Faults.everything(1.0),
}

ALL_SCENARIOS: Final[Mapping[str, Scenario]] = {
    scenario.__name__: scenario for scenario in (*SCENARIOS, *STORMS)
}

TRAINING: Final = training.__name__

# A training is longer than other scenarios, and its Root is not started again: most of what is above ends it
# before its first step. These leave many runs the time to get over what happens to them.
TRAINING_MIXTURES: Final[Mapping[str, Faults]] = {
    QUIET: Faults(),
    "something": MIXTURES["something"],
    "little": Faults.everything(0.08),
    "lost_spheres": Faults(error=0.5, crash=0.5, kill=0.5, stall=0.5, slow_actor=0.5, stuck_job=0.5, lag=0.3),
}
