"""Kernels are tested with numpy's floating point errors raised: silence is how a wrong one hides.

numpy keeps the setting for each thread, or each context: the threads in which jobs run do not have it. What
is computed there is looked at for numbers that are not finite by the jobs and by Root.

Hypothesis would fail an example that takes longer than 0.2 s, as any does on a busy machine. The whole
test has a limit, and that is enough.

A shell lets what it starts in the background ignore Ctrl-C, and every program inherits that. Those which the
tests start, to interrupt them, must not.
"""

from __future__ import annotations

import signal

import numpy as np
from hypothesis import settings

np.seterr(over="raise", invalid="raise", divide="raise")
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
