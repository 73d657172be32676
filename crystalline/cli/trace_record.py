"""From the options `--trace...` of `crystalline train` to what is recorded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from actors.tracing import TraceOptions
from crystalline.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

__all__ = ["parse_size", "record_of"]

_UNITS: Final = {"": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_SIZE: Final = re.compile(r"(?P<amount>\d+(?:\.\d+)?) ?(?P<unit>[A-Za-z]*)")
_DETAILS: Final = ("trace_level", "trace_sample", "trace_payloads", "trace_bytes")


def record_of(options: Mapping[str, Any], given: AbstractSet[str]) -> TraceOptions | None:
    """What is recorded, None for nothing.

    Args:
        options: the value of every option, by parameter name.
        given: those that were asked for.

    Raises:
        SettingError: one of them is impossible, or says how to record where nothing is recorded.
    """
    if options["trace"] is None:
        for name in _DETAILS:
            if name in given:
                option = name.replace("_", "-")
                raise SettingError(f"--{option} says how to record: say where as well, with --trace FILE")
        return None
    bytes_max = parse_size("--trace-bytes", options["trace_bytes"])
    try:
        return TraceOptions(
            options["trace"],
            level=options["trace_level"],
            sample=options["trace_sample"],
            payloads=options["trace_payloads"],
            bytes_max=bytes_max,
        )
    except ValueError as error:  # its text begins with the name of the setting
        raise SettingError(f"--trace-{error}".replace("--trace-bytes_max", "--trace-bytes")) from error


def parse_size(option: str, text: str) -> int:
    """Bytes: 1000000, 64KiB, 200MB or 1.5GB.

    Args:
        option: its name, for the error.
        text: as it was typed.

    Raises:
        SettingError: it is none of these.

    >>> parse_size("--trace-bytes", "64KiB")
    65536
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None or found["unit"] not in _UNITS:
        raise SettingError(f"{option} is {text!r}: give a size, as in 200MB, 1.5GB or 64KiB")
    return int(float(found["amount"]) * _UNITS[found["unit"]])
