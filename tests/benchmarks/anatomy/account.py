"""Where the time of a step goes, as parts of all the processors' time. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks.anatomy.clocks import GRADIENT, JOBS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.benchmarks.anatomy.clocks import Row

__all__ = ["AT_LIMIT", "Steps", "kernel_rows", "where_it_goes"]

AT_LIMIT: Final = "matrix products that are needed, at the limit"
WAITING: Final = "waiting: messages, data, the slower sphere, other programs"

_SPANS: Final = {GRADIENT, *JOBS.values()}
_PRODUCTS: Final = " products, "
# What these spend outside products is python.
_ONLY_PRODUCTS: Final = {"linear", "linear_backward"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Steps with clocks on.

    Attributes:
        spheres: that computed.
        seconds: of all these steps together.
        shards: computed in them.
        flops: of matrix products that they needed.
        attention_flops: the part of it that attention needed.
        sgemm_gflops: the limit of all threads together.
        gb_per_s: of memory, likewise.
    """

    spheres: int
    seconds: float
    shards: int
    flops: float
    attention_flops: float
    sgemm_gflops: float
    gb_per_s: float

    @property
    def flops_per_s(self) -> float:
        """One thread's part of the limit."""
        return self.sgemm_gflops * 1e9 / self.spheres

    @property
    def thread_s(self) -> float:
        """Time of all threads together."""
        return self.seconds * self.spheres


def where_it_goes(rows: Mapping[str, Row], steps: Steps) -> dict[str, float]:
    """Parts of the time of all threads, which add up to 1.

    A part is below 0 where products ran faster than the limit that was measured.

    Args:
        rows: from the clocks.
        steps: during which they ran.
    """
    limit = steps.flops_per_s
    found = {AT_LIMIT: steps.flops / limit}
    products = {name: row for name, row in rows.items() if _PRODUCTS in name}
    attention = [row for name, row in products.items() if name.startswith("attention")]
    dense = [row for name, row in products.items() if not name.startswith("attention")]
    attention_flops, dense_flops = (sum(row.flops for row in part) for part in (attention, dense))
    found["attention: products under the mask, or done twice"] = (
        attention_flops - steps.attention_flops
    ) / limit
    surplus = dense_flops - (steps.flops - steps.attention_flops)
    if abs(surplus) > 1e-6 * steps.flops:
        found["other products that are not needed"] = surplus / limit
    found["attention: products below the limit"] = _seconds(attention) - attention_flops / limit
    found["other products below the limit"] = _seconds(dense) - dense_flops / limit
    within = {name: row for name, row in rows.items() if name not in products and name not in _SPANS}
    element_wise = {
        name: row.seconds - row.inner_s for name, row in within.items() if name not in _ONLY_PRODUCTS
    }
    found |= {f"element-wise: {name}": seconds for name, seconds in _falling(element_wise).items()}
    passes, compute, additions = (_spent(rows, name) for name in (GRADIENT, JOBS["compute"], JOBS["_add"]))
    in_products = _seconds(dense) + _seconds(attention)
    found["python around the kernels"] = passes - in_products - sum(element_wise.values())
    found["tree additions"] = additions
    found["buffers, around the passes"] = compute - passes - additions
    found["reduce"], found["AdamW"] = (_spent(rows, JOBS[name]) for name in ("reduce", "apply"))
    found[WAITING] = steps.thread_s - sum(found.values())
    return {name: seconds / steps.thread_s for name, seconds in found.items()}


def kernel_rows(rows: Mapping[str, Row], steps: Steps) -> dict[str, dict[str, Any]]:
    """For each product, kernel and job: milliseconds a shard, its share, and its rate beside the limit.

    The share of what runs within a pass is its part of the passes, that of a job its part of all threads'
    time. Kernels are without their products. Rates are those of one thread.
    """
    passes = _spent(rows, GRADIENT)
    found: dict[str, dict[str, Any]] = {}
    for name, row in rows.items():
        own_s = row.seconds - row.inner_s
        figures: dict[str, Any] = {"ms_per_shard": own_s * 1e3 / steps.shards, "calls": row.calls}
        figures["share"] = own_s / (steps.thread_s if name in _SPANS else passes)
        if row.flops:
            figures["gflops"] = row.flops / own_s / 1e9
            figures["of_limit"] = row.flops / own_s / steps.flops_per_s
        elif row.bytes and name not in _ONLY_PRODUCTS:
            figures["gb_per_s"] = row.bytes / own_s / 1e9
            figures["of_limit"] = figures["gb_per_s"] * steps.spheres / steps.gb_per_s
        found[name] = figures
    return found


def _falling(seconds: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(seconds.items(), key=lambda item: -item[1]))


def _seconds(rows: list[Row]) -> float:
    return sum(row.seconds for row in rows)


def _spent(rows: Mapping[str, Row], name: str) -> float:
    return rows[name].seconds if name in rows else 0.0
