"""What the options of `crystalline train` record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from actors.tracing import TraceOptions
from crystalline.cli.trace_record import parse_size, record_of
from crystalline.errors import SettingError

DEFAULTS: dict[str, Any] = {
    "trace": Path("run.trace"),
    "trace_level": "messages",
    "trace_sample": 1.0,
    "trace_payloads": "none",
    "trace_bytes": "512MiB",
}


def test_nothing_is_recorded_unless_asked_for() -> None:
    assert record_of(DEFAULTS | {"trace": None}, set()) is None


def test_defaults_are_those_of_the_record() -> None:
    assert record_of(DEFAULTS, set()) == TraceOptions(Path("run.trace"))


def test_options_become_settings() -> None:
    asked = {"trace_level": "waits", "trace_sample": 0.5, "trace_payloads": "hash", "trace_bytes": "2MB"}
    assert record_of(DEFAULTS | asked, set()) == TraceOptions(
        Path("run.trace"), level="waits", sample=0.5, payloads="hash", bytes_max=2_000_000
    )


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"trace_level": "all"}, "--trace-level is 'all'"),
        ({"trace_sample": 2.0}, "--trace-sample is 2.0"),
        ({"trace_sample": float("nan")}, "--trace-sample is nan"),
        ({"trace_payloads": "some"}, "--trace-payloads is 'some'"),
        ({"trace_bytes": "1KB"}, "--trace-bytes is 1000: at least 65536"),
        ({"trace_bytes": "much"}, "--trace-bytes is 'much'"),
        ({"trace_bytes": "-5MB"}, "--trace-bytes is '-5MB'"),
        ({"trace_bytes": "5 TB"}, "--trace-bytes is '5 TB'"),
    ],
)
def test_what_is_impossible_is_named_as_it_was_typed(asked: dict[str, Any], complaint: str) -> None:
    with pytest.raises(SettingError, match=complaint):
        record_of(DEFAULTS | asked, set(asked))


@pytest.mark.parametrize("option", ["trace_level", "trace_sample", "trace_payloads", "trace_bytes"])
def test_how_without_where_is_refused(option: str) -> None:
    with pytest.raises(SettingError, match=f"--{option.replace('_', '-')} says how to record"):
        record_of(DEFAULTS | {"trace": None}, {option})


@pytest.mark.parametrize(
    ("text", "size"), [("70000", 70_000), ("1.5GB", 1_500_000_000), ("64 KiB", 65_536), ("2MiB", 2_097_152)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size("--trace-bytes", text) == size
