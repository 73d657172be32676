"""The argument MODEL of commands that open one. Its help says what counts as a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

__all__ = ["Model", "ModelOrTokenizer"]

_EITHER: Final = "a path, or a name in the models folder ($CRYSTALLINE_MODELS, else ./models)"

Model = Annotated[Path, typer.Argument(metavar="MODEL", help=f"A model: {_EITHER}.")]
ModelOrTokenizer = Annotated[
    Path, typer.Argument(metavar="MODEL", help=f"A model: {_EITHER}. Or a tokenizer.json by itself.")
]
