"""Every test runs with numpy's floating point errors raised: silence is how a wrong kernel hides."""

from __future__ import annotations

import numpy as np

np.seterr(over="raise", invalid="raise", divide="raise")
