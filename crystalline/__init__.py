"""Train and run small language models on a tree of actors."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name: str) -> str:
        """`__version__`, looked up when somebody asks: the library that knows it is slow to import."""
        if name == "__version__":
            return import_module("importlib.metadata").version("crystalline")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
