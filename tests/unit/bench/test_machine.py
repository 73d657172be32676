"""What the system says of the machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from crystalline.bench import this_machine
from crystalline.bench.cgroup import cpu_quota

if TYPE_CHECKING:
    from pathlib import Path


def test_this_machine_can_compute() -> None:
    machine = this_machine()
    assert 1 <= machine.cores <= machine.processors <= (os.cpu_count() or 1)
    assert 1 <= machine.usable <= machine.processors
    assert machine.blas, "numpy has one"
    assert 16 << 20 <= machine.array_bytes <= 512 << 20


def test_what_the_environment_asks_openblas_for_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Zen")
    assert this_machine().openblas_coretype == "Zen"
    monkeypatch.delenv("OPENBLAS_CORETYPE")
    assert this_machine().openblas_coretype == ""


@pytest.mark.parametrize(
    ("files", "own", "quota"),
    [
        ({"cpu.max": "150000 100000\n"}, "0::/\n", 1.5),
        ({"cpu.max": "max 100000\n"}, "0::/\n", None),
        (
            {"cpu.max": "max 100000\n", "a/cpu.max": "400000 100000\n", "a/b/cpu.max": "max 100000\n"},
            "0::/a/b",
            4.0,
        ),
        ({"a/cpu.max": "200000 100000", "a/b/cpu.max": "300000 100000"}, "0::/a/b\n", 2.0),
        ({"cpu.max": "200000 100000"}, "0::/not/seen/from/here\n", 2.0),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, "4:cpu,cpuacct:/\n", 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, "4:cpu,cpuacct:/\n", None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, "4:memory:/\n", None),
        ({"cpu.max": "200000 0\n"}, "0::/\n", None),
        ({"cpu.max": "what\n"}, "no line of ours\n", None),
        ({}, "", None),
    ],
)
def test_the_least_quota_of_all_groups_counts(
    tmp_path: Path, files: dict[str, str], own: str, quota: float | None
) -> None:
    for name, text in files.items():
        path = tmp_path / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "own").write_text(own)
    assert cpu_quota(tmp_path / "cgroup", tmp_path / "own") == quota


def test_a_system_without_control_groups_has_no_quota(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path / "none", tmp_path / "neither") is None
