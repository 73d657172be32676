"""How much processor time the control group of this process may use."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["cpu_quota"]


def cpu_quota(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float | None:
    """Processor seconds per second; the least that this control group and those above it allow.

    Both versions of control groups are read.

    Args:
        root: where they are mounted.
        own: which ones this process is in.

    Returns:
        None when nothing limits it, or the system has no control groups.
    """
    quotas = [quota for folder in _folders(root, _lines(own)) for quota in _quotas(folder)]
    return min(quotas, default=None)


def _folders(root: Path, lines: list[str]) -> Iterator[Path]:
    """The groups that count, from the innermost out. In a container the innermost may be the mount itself."""
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "cpu" if controllers else root
        inner = PurePosixPath(path.lstrip("/"))
        for each in (inner, *inner.parents):
            yield mount / each


def _quotas(folder: Path) -> Iterator[float]:
    for line in _lines(folder / "cpu.max"):  # such as "150000 100000", or "max 100000"
        quota, _, period = line.partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period):
            yield int(quota) / int(period)
    quotas, periods = (_lines(folder / f"cpu.cfs_{name}_us") for name in ("quota", "period"))
    for quota, period in zip(quotas, periods, strict=False):
        if quota.isdecimal() and period.isdecimal() and int(period):  # no limit is -1
            yield int(quota) / int(period)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []
