"""Which libraries multiply the matrices: what of a machine decides the last bits of a result."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_info

__all__ = ["Blas", "arithmetic", "loaded_blas"]


@dataclass(frozen=True, slots=True)
class Blas:
    """A library of matrix products that is loaded.

    Attributes:
        name: such as `openblas` or `mkl`.
        version: as it says.
        kernels: the set of kernels that it has chosen for this processor; empty when it does not say.
    """

    name: str
    version: str
    kernels: str


def loaded_blas() -> tuple[Blas, ...]:
    """The libraries of matrix products in this process, numpy's among them."""
    return tuple(
        Blas(found["internal_api"], str(found.get("version")), str(found.get("architecture", "")))
        for found in threadpool_info()
        if found["user_api"] == "blas"
    )


def arithmetic() -> str:
    """Name numpy and the libraries in one line: the same bits can be had where this line is the same."""
    libraries = sorted({f"{blas.name} {blas.version} {blas.kernels}".strip() for blas in loaded_blas()})
    return ", ".join([f"numpy {np.__version__}", *libraries])
