"""What computes: the libraries that multiply matrices, and what numpy uses of the processor."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_info

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Blas", "arithmetic", "loaded_blas"]


@dataclass(frozen=True, slots=True)
class Blas:
    """A library of matrix products that is loaded.

    Attributes:
        name: such as `openblas` or `mkl`.
        version: as it says.
        kernels: the set of kernels that it has chosen for this processor; empty when it does not say.
        numpys: whether it came with numpy, so that numpy computes with it.
    """

    name: str
    version: str
    kernels: str
    numpys: bool = False


def loaded_blas() -> tuple[Blas, ...]:
    """The libraries of matrix products in this process, numpy's among them."""
    return tuple(
        Blas(
            found["internal_api"],
            str(found.get("version")),
            str(found.get("architecture", "")),
            numpys=_came_with_numpy(Path(found["filepath"])),
        )
        for found in threadpool_info()
        if found["user_api"] == "blas"
    )


def arithmetic() -> str:
    """Name numpy, the highest of the processor's extensions that it uses, and its BLAS, in one line.

    Where two lines differ, last bits are likely to differ. Where they are the same, the same bits can be
    expected, but not promised: what a library does on a processor may depend on more than it tells. Without a
    BLAS that came with numpy, all that are loaded are named.
    """
    loaded = loaded_blas()
    used = [blas for blas in loaded if blas.numpys] or loaded
    libraries = sorted({f"{blas.name} {blas.version} {blas.kernels}".strip() for blas in used})
    return ", ".join([f"numpy {np.__version__}", *_extensions()[-1:], *libraries])


def _extensions() -> list[str]:
    """Of the processor, the highest last; none where numpy does not say."""
    config: Mapping[str, Any] = np.show_config("dicts")  # empty parts are left out of it
    found: list[str] = config.get("SIMD Extensions", {}).get("found", [])
    return found


def _came_with_numpy(library: Path) -> bool:
    """Whether it lies where wheels of numpy have their libraries."""
    package = Path(np.__file__).resolve().parent
    places = (package.parent / "numpy.libs", package / ".libs", package / ".dylibs")
    return library.resolve().parent in places
