"""`python -m crystalline` is the `crystalline` command."""

from __future__ import annotations

from crystalline.cli import main

__all__: list[str] = []

main()
