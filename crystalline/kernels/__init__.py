"""Numpy kernels of a Llama-family transformer: each forward beside its backward.

The conventions are the same everywhere:

- `name(inputs, ..., out)` computes, `name_backward(d_out, inputs, ..., d_inputs)` is its transpose; what a
  backward needs and the forward computed is written where the caller says;
- every output and every large temporary is the caller's, may hold anything before the call, and shares no
  memory with an input unless the docstring allows it; outputs are overwritten unless the docstring says
  that they are added to;
- all arrays of a call have one float type, float32 or float64, which is never converted;
- element-wise work runs in blocks of rows that stay in the cache;
- the result is a function of values and shapes: given one BLAS thread, it repeats to the last bit.
"""

from __future__ import annotations
