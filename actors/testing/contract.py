"""What all contract checks share: how they say that something does not hold."""

from __future__ import annotations

__all__ = ["ContractBroken", "require"]


class ContractBroken(AssertionError):
    """Something does not keep the contract that it was held to; the text says which part, and how."""


def require(holds: object, otherwise: str) -> None:
    """Return if something holds.

    Raises:
        ContractBroken: it does not; `otherwise` says what was found instead.
    """
    if not holds:
        raise ContractBroken(otherwise)
