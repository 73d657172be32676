"""Kernels are tested with numpy's floating point errors raised: silence is how a wrong one hides.

numpy keeps the setting for each thread, or each context: the threads in which jobs run do not have it. What
is computed there is looked at for numbers that are not finite by the jobs and by Root.
"""

from __future__ import annotations

import numpy as np

np.seterr(over="raise", invalid="raise", divide="raise")
