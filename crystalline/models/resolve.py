"""From what a user calls a model to where its files are."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from crystalline.models.names import is_name
from crystalline.models.store import MODELS_VARIABLE, Store

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MODELS_VARIABLE", "models_folder", "reading_model", "resolve_model"]

_DEFAULT: Final = "models"


def models_folder() -> Path:
    """The models folder where none is named: that of CRYSTALLINE_MODELS, or else `models` right here."""
    return Path(os.environ.get(MODELS_VARIABLE) or _DEFAULT)


def resolve_model(name_or_path: str | Path, models: Path | None = None) -> Path:
    """The path of a model, for `open_model`.

    A path at which there is a model counts first, so that what worked without a models folder still works;
    then the names of the models folder. The string `./smollm2` always means a path; a `Path` loses the dot.

    Args:
        name_or_path: a name of the models folder, or a path of a model folder, run folder or GGUF file.
        models: the models folder; None for the usual one.

    Returns:
        A path as it was given, or the place behind a name, which never holds another model. It may be
        removed by others before it is opened, see `reading_model`.

    Raises:
        ModelFolderError: it can only be a name, and there is none such; says which there are.
    """
    store, name = _named(name_or_path, models)
    return Path(name_or_path) if name is None else store.place(name)


@contextmanager
def reading_model(name_or_path: str | Path, models: Path | None = None) -> Iterator[Path]:
    """As `resolve_model`, and a model of the models folder stays until the block ends, also when removed.

    Raises:
        ModelFolderError: as `resolve_model`.
    """
    store, name = _named(name_or_path, models)
    if name is None:
        yield Path(name_or_path)
        return
    with store.reading(name) as place:
        yield place


def _named(name_or_path: str | Path, models: Path | None) -> tuple[Store, str | None]:
    """The store, and the name in it that is meant; None for a path."""
    store, path, word = (
        Store(models_folder() if models is None else models),
        Path(name_or_path),
        str(name_or_path),
    )
    if not is_name(word) or path.is_file() or (path / "config.json").is_file():
        return store, None
    if word not in store.names():
        if path.exists():
            return store, None  # whoever opens it says what is wrong with it
        raise store.unknown(word, or_path=True)
    return store, word
