"""What benchmarks of speed have in common at their edges: parsing options, progress, how they end."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any, Final

from crystalline.errors import SettingError
from crystalline.training import TrainConfig
from tests.benchmarks.speed.child import ChildError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping

__all__ = [
    "PINS",
    "add_as_set",
    "at_least_one",
    "begun",
    "let_libraries_choose",
    "names_of",
    "numbers",
    "report",
    "spheres_of",
]

_INTERRUPTED = 130
PINS: Final = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_MAX_CPU_ISA",
    "DNNL_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
)
"""What holds OpenBLAS, MKL, oneDNN or PyTorch to some of their kernels."""


def at_least_one(text: str) -> int:
    """Parse a count."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is too few: choose 1 or more")
    return int(text)


def numbers(text: str) -> list[int]:
    """Parse numbers of spheres with commas between them."""
    return [spheres_of(word) for word in text.split(",")]


def spheres_of(text: str) -> int:
    """Parse a number of spheres that a training can have."""
    spheres = int(text)
    try:
        TrainConfig(spheres=spheres)
    except SettingError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return spheres


def add_as_set(parser: argparse.ArgumentParser) -> None:
    """Add the option that keeps the environment as it is."""
    parser.add_argument(
        "--as-set",
        action="store_true",
        help=f"leave {', '.join(PINS)} as they are in the environment",
    )


def let_libraries_choose(environment: MutableMapping[str, str], *, as_set: bool) -> dict[str, str]:
    """Take out what holds a library of arithmetic to some of its kernels: each is to choose for itself.

    Returns:
        What was taken out; nothing with `as_set`.
    """
    found = {} if as_set else {name: environment.pop(name) for name in PINS if name in environment}
    if found:
        pins = ", ".join(f"{name}={value}" for name, value in found.items())
        print(f"without {pins}, which is set here: --as-set keeps it", file=sys.stderr)
    return found


def names_of(known: Iterable[str]) -> Callable[[str], list[str]]:
    """What parses names with commas between them; they come in the order of `known`."""

    def names(text: str) -> list[str]:
        asked = text.split(",")
        if unknown := sorted(set(asked) - set(known)):
            raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}; choose {', '.join(known)}")
        return [name for name in known if name in asked]

    return names


def begun(text: str) -> None:
    """Say what runs now, to whoever looks on."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def report(measure: Callable[[], dict[str, Any]], show: Callable[[dict[str, Any]], str]) -> None:
    """Measure, print the table and the object, and end: 0, or 1 when `goals_reached` is not true.

    Raises:
        SystemExit: always; 2 when something that is needed is not there, 130 after Ctrl-C.
    """
    try:
        found = measure()
    except ChildError as error:
        begun("")
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.code) from None
    except KeyboardInterrupt:
        begun("")
        print("interrupted: nothing can be said", file=sys.stderr)
        raise SystemExit(_INTERRUPTED) from None
    begun("")
    print(show(found), file=sys.stderr)
    print(json.dumps(found))
    raise SystemExit(0 if found["goals_reached"] else 1)
