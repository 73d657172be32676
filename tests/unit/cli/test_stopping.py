"""Ctrl-C in a conversation: noted during an answer, raised at the prompt, obeyed when it comes twice."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from crystalline.cli.stopping import Interrupts

TWICE = """
import signal
from crystalline.cli.stopping import Interrupts

with Interrupts() as interrupts:
    signal.raise_signal(signal.SIGINT)
    print(interrupts.stopped, flush=True)
    signal.raise_signal(signal.SIGINT)
    print("never")
"""


def test_during_an_answer_it_is_noted_and_at_the_prompt_it_is_raised() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        seen = [interrupts.stopped]
        interrupts.clear()
        seen.append(interrupts.stopped)
        with pytest.raises(KeyboardInterrupt), interrupts.reading():
            signal.raise_signal(signal.SIGINT)
        seen.append(interrupts.stopped)  # it was raised at the prompt alone
        signal.raise_signal(signal.SIGINT)
        seen.append(interrupts.stopped)
    assert seen == [True, False, False, True]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_one_ends_what_cannot_be_stopped() -> None:
    done = subprocess.run(
        [sys.executable, "-c", TWICE], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout) == (130, "True\n")
