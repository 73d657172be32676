"""The options of commands that draw tokens: a type and a line of help each. The settings judge the values."""

from __future__ import annotations

from typing import Annotated, Final, cast, get_args

import typer

from crystalline.errors import SettingError
from crystalline.inference.weights import Precision

__all__ = [
    "MinP",
    "RepetitionPenalty",
    "Seed",
    "Stop",
    "Temperature",
    "Threads",
    "Tokens",
    "TopK",
    "TopP",
    "Weights",
    "precision",
]

_SAMPLING: Final = "Sampling"
_ENGINE: Final = "Engine"

Tokens = Annotated[int, typer.Option(help="Most tokens to add.")]
Temperature = Annotated[
    float,
    typer.Option(
        help="Below 1 more cautious; 0 always takes the likeliest token.", rich_help_panel=_SAMPLING
    ),
]
TopK = Annotated[
    int,
    typer.Option(help="Choose among this many likeliest tokens; 0: among all.", rich_help_panel=_SAMPLING),
]
TopP = Annotated[
    float,
    typer.Option(
        help="Choose among the fewest likeliest tokens of this total probability.",
        rich_help_panel=_SAMPLING,
    ),
]
MinP = Annotated[
    float,
    typer.Option(
        help="Leave out tokens less likely than this part of the likeliest one's probability.",
        rich_help_panel=_SAMPLING,
    ),
]
RepetitionPenalty = Annotated[
    float,
    typer.Option(help="Above 1 makes tokens that were there before less likely.", rich_help_panel=_SAMPLING),
]
Seed = Annotated[int, typer.Option(help="Same seed, same text.", rich_help_panel=_SAMPLING)]
Stop = Annotated[
    list[str] | None,
    typer.Option(metavar="TEXT", help="End before this text; can be given more than once."),
]
Weights = Annotated[
    str,
    typer.Option(
        metavar="float32|int8",
        help="How weights are held: int8 is smaller, faster in large models, and a little less exact.",
        rich_help_panel=_ENGINE,
    ),
]
Threads = Annotated[
    int | None, typer.Option(help="Threads that compute.", show_default="all cores", rich_help_panel=_ENGINE)
]


def precision(weights: str) -> Precision:
    """What `--weights` says.

    Raises:
        SettingError: something else.
    """
    known = get_args(Precision)
    if weights not in known:
        raise SettingError(f"weights is {weights!r}: choose {' or '.join(known)}")
    return cast("Precision", weights)
