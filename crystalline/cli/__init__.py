"""The command line: parse, call, print, nothing else.

Importing this is cheap: the library that a command needs is loaded when that command runs.
"""

from __future__ import annotations

from crystalline.cli.entry import main

__all__ = ["main"]
