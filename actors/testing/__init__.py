"""For tests of your own actors: virtual time, probes, and checks of contracts.

The checks are the ones to which the runtime's own parts are held.
"""

from actors.simulation import Deadlock
from actors.testing.actor_check import check_actor
from actors.testing.clock import VirtualLoop, run_virtual, settle, virtual_time
from actors.testing.contract import ContractBroken
from actors.testing.executor_check import check_executor
from actors.testing.mailbox_check import check_mailbox
from actors.testing.message_check import check_message
from actors.testing.probe import Heard, Probe
from actors.testing.sink_check import check_sink
from actors.testing.stuck import StuckJob

__all__ = [
    "ContractBroken",
    "Deadlock",
    "Heard",
    "Probe",
    "StuckJob",
    "VirtualLoop",
    "check_actor",
    "check_executor",
    "check_mailbox",
    "check_message",
    "check_sink",
    "run_virtual",
    "settle",
    "virtual_time",
]
