"""What compiled decode steps need of the machine: counters that threads share, and an exponential.

Sums keep the order in which they are written, but a product and the sum it goes into may be rounded once.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import config, njit, types
from numba.core.caching import FunctionCache
from numba.extending import intrinsic

from crystalline.data import default_cache_dir

__all__ = ["count", "counted", "exp", "jit", "let_others"]

_SOURCES: Final = ("compiled.py", "machine.py", "tiles.py")


def jit(function: Any) -> Any:
    """Make machine code of a function at its first call, and keep it for other processes where that goes.

    It runs without the interpreter's lock. What is kept lies in the cache folder of crystalline, or in
    `$NUMBA_CACHE_DIR`, and for a folder that cannot be written in another one or nowhere. What is damaged
    there is compiled again.
    """
    compiled = njit(nogil=True, fastmath={"contract"}, error_model="numpy")(function)
    before, config.CACHE_DIR = config.CACHE_DIR, config.CACHE_DIR or _kept_in()
    try:
        compiled._cache = _Kept(function)  # noqa: SLF001  (as `cache=True` does it, with a class of ours)
    except RuntimeError:  # there is no folder for it
        pass
    finally:
        config.CACHE_DIR = before
    return compiled


class _Kept(FunctionCache):  # type: ignore[misc]  # numba has no types
    """What earlier processes have compiled. What is damaged, or has no room, only costs time."""

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:  # noqa: BLE001  (a file that was cut short may raise anything)
            with suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        with suppress(OSError, EOFError, UnpicklingError):
            super().save_overload(sig, data)


def _kept_in() -> str:
    """A folder for this version of the sources.

    The compiler looks for changes in the file of a function alone, and would keep what another file has put
    into it.
    """
    place = default_cache_dir()
    if place is None:
        return ""
    digest = hashlib.sha256(b"".join((Path(__file__).parent / name).read_bytes() for name in _SOURCES))
    return str(place / "compiled" / digest.hexdigest()[:16])


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, arguments[0])
    return builder.gep(array.data, [arguments[1]])


def _build_add(_typing: Any, array: Any, _index: Any) -> Any:
    """Add 1 to an entry at once, and return what it was."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature, arguments)
        return builder.atomic_rmw("add", pointer, ir.IntType(64)(1), "seq_cst")

    return types.int64(array, types.int64), build


def _build_load(_typing: Any, array: Any, _index: Any) -> Any:
    """Read an entry; what was written before it was counted can be read after it."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_pointer(context, builder, signature, arguments), "acquire", 8)

    return types.int64(array, types.int64), build


def _build_power_of_two(_typing: Any, _exponent: Any) -> Any:
    """2 to a whole number from -126 to 127, as float32."""

    def build(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        integer = ir.IntType(32)
        exponent_bits = builder.shl(builder.add(arguments[0], integer(127)), integer(23))
        return builder.bitcast(exponent_bits, ir.FloatType())

    return types.float32(types.int32), build


count = intrinsic(_build_add)
"""`count(counters, index)` adds 1 to an entry of an int64 array at once, and returns what it was."""

counted = intrinsic(_build_load)
"""`counted(counters, index)` reads an entry; what others wrote before they counted can be read after it."""

let_others = types.ExternalFunction("sched_yield", types.int32())
"""Let another thread have the core, if one wants it."""

_power_of_two = intrinsic(_build_power_of_two)


@jit
def exp(x: Any) -> Any:
    """e^x in float32, for x up to 88, to about one unit in the last place; not a number stays one.

    2^n times a polynomial of degree 5 on [-ln 2 / 2, ln 2 / 2], so that a loop of them can be vectorised.
    Below -87 it stays what it is there, 1e-38.

    Source: the coefficients of expf in Moshier's Cephes library.
    """
    clipped = min(max(x, np.float32(-87.0)), np.float32(88.0))
    n = np.floor(clipped * np.float32(1.44269504) + np.float32(0.5))
    r = clipped - n * np.float32(0.693359375)
    r += n * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * r + np.float32(1.3981999507e-3)
    p = p * r + np.float32(8.3334519073e-3)
    p = p * r + np.float32(4.1665795894e-2)
    p = p * r + np.float32(1.6666665459e-1)
    p = p * r + np.float32(5.0000001201e-1)
    p = p * r * r + r + np.float32(1.0)
    result = p * _power_of_two(np.int32(n))
    return result if x == x else x  # noqa: PLR0124  (what is not a number is not equal to itself)
