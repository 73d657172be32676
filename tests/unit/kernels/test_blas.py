"""What computes is named by all that is known to decide the last bits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from crystalline.kernels import blas as blas_module
from crystalline.kernels.blas import arithmetic

if TYPE_CHECKING:
    import pytest

NUMPYS = Path(np.__file__).resolve().parent.parent / "numpy.libs" / "libopenblas.so"


def library(name: str, path: Path | str, kernels: str | None = "Haswell") -> dict[str, Any]:
    found = {"user_api": "blas", "internal_api": name, "version": "1.2", "filepath": str(path)}
    return found if kernels is None else {**found, "architecture": kernels}


def named(monkeypatch: pytest.MonkeyPatch, *libraries: dict[str, Any]) -> list[str]:
    monkeypatch.setattr(blas_module, "threadpool_info", lambda: list(libraries))
    monkeypatch.setattr(np, "show_config", lambda _mode: {"SIMD Extensions": {"found": ["OLD", "NEW"]}})
    return arithmetic().split(", ")


def test_numpys_own_library_is_named_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    others = library("openblas", "/opt/scipy.libs/libopenblas.so", "Zen")
    openmp = {"user_api": "openmp", "internal_api": "openmp", "version": None, "filepath": str(NUMPYS)}
    words = named(monkeypatch, others, library("openblas", NUMPYS), openmp)
    assert words == [f"numpy {np.__version__}", "NEW", "openblas 1.2 Haswell"]


def test_without_a_library_of_numpys_own_all_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    words = named(monkeypatch, library("mkl", "/opt/mkl.so", None), library("blis", "/opt/blis.so", "skx"))
    assert words[2:] == ["blis 1.2 skx", "mkl 1.2"]


def test_a_numpy_that_does_not_know_the_processor_is_named_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(np, "show_config", lambda _mode: {})
    assert arithmetic().startswith(f"numpy {np.__version__}")


def test_here_it_is_more_than_numpy_alone() -> None:
    assert arithmetic() == arithmetic()
    assert len(arithmetic().split(", ")) >= 2
