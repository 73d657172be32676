"""What was found, as tables for people: aligned text, or for a page. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tests.benchmarks.cost.rounds import table
from tests.benchmarks.large.findings import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["markdown", "plain_tables"]

Rows: TypeAlias = list[list[str]]

_OWN: Final = NAMES["many"]
_WORDS: Final = {True: "reached", False: "MISSED", None: "not measured"}


def _text_rows(found: Mapping[str, Any]) -> tuple[list[str], Rows]:
    rows = [
        [
            entry.get("package", entry["file"]),
            entry.get("version", "-"),
            f"{entry['bytes']:,}",
            entry["sha256"][:12],
        ]
        for entry in found["text"]["sources"]
    ]
    return ["text", "version", "bytes", "SHA-256"], [*rows, ["all", "", f"{found['text']['bytes']:,}", ""]]


def _preparing_rows(preparing: Mapping[str, Any]) -> tuple[list[str], Rows]:
    memory = preparing["memory_mib"]
    rows = [
        ["tokens", f"{preparing['tokens']:,}"],
        ["vocabulary", f"{preparing['vocab_size']:,}"],
        ["parameters", f"{preparing['parameters']:,}"],
        ["windows to train on", f"{preparing['training_windows']:,}"],
        ["windows held out", f"{preparing['validation_windows']:,}"],
        ["reading, s", f"{preparing['read_s']:.1f}"],
        [
            "tokenising, s" + (" (found in the cache)" if preparing["was_cached"] else ""),
            f"{preparing['tokenise_s']:.1f}",
        ],
        ["tokens from the cache, s", _or_dash(preparing["from_cache_s"], ".2f")],
        ["peak memory of it, MiB", _or_dash(memory and memory["peak"], ",")],
    ]
    return ["preparing", ""], rows


def _epoch_rows(found: Mapping[str, Any]) -> tuple[list[str], Rows]:
    epochs, before = found["epochs"], (found["preparing"] or {}).get("initial_val_loss")
    lines: dict[str, Callable[[Any], str]] = {
        "steps": lambda of: f"{of['steps']:,}",
        "training, s": lambda of: f"{of['training_s']:,.0f}",
        "tokens/s": lambda of: f"{of['tokens_per_s']:,.0f}",
        "busy, each sphere": lambda of: _share(of, "busy_s"),
        "waiting": lambda of: _share(of, "waiting_s"),
        "idle": lambda of: _share(of, "idle_s"),
        "peak memory, MiB": lambda of: _or_dash(of["memory_mib"] and of["memory_mib"]["peak"], ","),
        "memory once settled, MiB": lambda of: _or_dash(
            of["memory_settled_mib"] and of["memory_settled_mib"]["now"], ","
        ),
        "held-out loss before": lambda _: _or_dash(before, ".4f"),
        "held-out loss after": lambda of: _or_dash(of["val_loss"], ".4f"),
        "unigram loss": lambda of: _or_dash(of["unigram_loss"], ".4f"),
        "training loss of the epoch": lambda of: _or_dash(of["train_loss"], ".4f"),
        "weights_sha256": lambda of: of["weights_sha256"][:12],
    }
    rows = [[name, *(line(of) for of in epochs.values())] for name, line in lines.items()]
    if found["same_weights"] is not None:
        word = "yes" if found["same_weights"] else "NO"
        rows.append(["the same weights", *[word] * len(epochs)])
    return ["one epoch", *(NAMES[way] for way in epochs)], rows


def _step_rows(steps: Mapping[str, Any]) -> tuple[list[str], Rows]:
    columns = ["steps in turn", "tokens/s median", "best", f"{_OWN} is", "of bests"]
    rows = [
        [
            NAMES[way],
            f"{of['tokens_per_s_median']:,}",
            f"{of['tokens_per_s_best']:,}",
            _times(of["ours_times"]),
            _times(of["ours_times_of_bests"]),
        ]
        for way, of in steps.items()
    ]
    return columns, rows


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} ×"


def _share(of: Mapping[str, Any], key: str) -> str:
    """Per cent of its time, for each sphere."""
    return ", ".join(
        f"{100 * sphere[key] / max(1e-9, sum(sphere.values())):.1f} %" for sphere in of["spheres"]
    )


def _or_dash(value: Any, form: str) -> str:
    return "-" if value is None else format(value, form)


def _tables(found: Mapping[str, Any]) -> list[tuple[list[str], Rows]]:
    tables = [_text_rows(found)]
    if found["preparing"] is not None:
        tables.append(_preparing_rows(found["preparing"]))
    if found["epochs"]:
        tables.append(_epoch_rows(found))
    if found["steps"]:
        tables.append(_step_rows(found["steps"]))
    return tables


def _last_lines(found: Mapping[str, Any]) -> list[str]:
    lines = []
    if found["times_one"] is not None:
        lines.append(f"Over the whole epoch, N = 2 trained {found['times_one']:.2f} times as fast as N = 1.")
    factors = [
        f"{_times(of['ours_times'])} {NAMES[way]}"
        for way, of in found["steps"].items()
        if way != "many" and of["ours_times"] is not None
    ]
    if factors:
        lines.append(f'Beside the claim "30 to 40 times faster": {_OWN} is {", ".join(factors)}.')
    return [*lines, *(f"{goal}: {_WORDS[held]}" for goal, held in found["goals"].items())]


def plain_tables(found: Mapping[str, Any]) -> str:
    """All tables for people."""
    return "\n\n".join([*(table(*of) for of in _tables(found)), "\n".join(_last_lines(found))])


def markdown(found: Mapping[str, Any]) -> str:
    """The same for a page."""
    return "\n\n".join(
        [*(_markdown(*of) for of in _tables(found)), "\n".join(f"- {line}" for line in _last_lines(found))]
    )


def _markdown(columns: Sequence[str], rows: Rows) -> str:
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
