"""Errors of ours that happened in another actor, raised again as what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crystalline import errors

if TYPE_CHECKING:
    from actors import AskFailed
    from crystalline.errors import CrystallineError

__all__ = ["own_error"]


def own_error(failure: AskFailed) -> CrystallineError | None:
    """The error of ours that a handler has raised; None if it raised another one."""
    if failure.error_type not in errors.__all__:
        return None
    ours: type[CrystallineError] = getattr(errors, failure.error_type)
    return ours(failure.error_text)
