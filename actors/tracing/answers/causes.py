"""From a symptom down to its root: what each kind of trouble follows from.

`EXPLAIN` is the table: for each kind of trouble a function that explains it and names what to explain next.
All are pure: evidence in, a link out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actors.tracing.answers import failing, waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors.tracing.answers.evidence import Evidence
    from actors.tracing.answers.links import Below, Link

__all__ = ["LINKS_MAX", "chain"]

LINKS_MAX: Final = 32

EXPLAIN: Final[Mapping[str, Callable[[Evidence, Below], Link]]] = {
    "wait_end": waiting.ended_wait,
    "wait": waiting.open_wait,
    "error": failing.explain_error,
    "reply": failing.explain_reply,
    "end": failing.explain_end,
    "drop": failing.explain_drop,
    "refuse": failing.explain_refuse,
    "full": failing.explain_full,
    "shown": failing.explain_shown,
    "doing": waiting.doing,
    "job": waiting.explain_job,
    "job_end": waiting.explain_job,
    "underway": failing.explain_under_way,
}


def chain(evidence: Evidence, symptom: Below) -> list[Link]:
    """The links from a symptom to its root, at most `LINKS_MAX`."""
    links: list[Link] = []
    seen: set[tuple[object, ...]] = set()
    below: Below | None = symptom
    while below is not None and len(links) < LINKS_MAX:
        key = (below.kind, below.actor, below.number, below.event)
        if key in seen:
            break
        seen.add(key)
        link = EXPLAIN[below.kind](evidence, below)
        if link.text:
            links.append(link)
        below = link.below
    return links
