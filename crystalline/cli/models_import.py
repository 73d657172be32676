"""`crystalline models import`, `export`: models from elsewhere, and for others."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from crystalline.cli.models import Models, working
from crystalline.cli.output import put_out
from crystalline.cli.tables import number, printable, short_hash
from crystalline.models import Store, is_name, reading_model, summarise
from crystalline.models import export_model as export
from crystalline.models import import_model as take_in

__all__ = ["Format", "Kind", "export_model", "import_model"]


class Format(StrEnum):
    """What a model is written as."""

    HF = "hf"
    GGUF = "gguf"


class Kind(StrEnum):
    """How weights are held."""

    F32 = "f32"
    F16 = "f16"
    Q8_0 = "q8_0"


_SUFFIX: Final = ".gguf"


def import_model(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE", help="A folder in Hugging Face layout, a run folder, or a GGUF file."
        ),
    ],
    *,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="What to call it; without it, as SOURCE is called.")
    ] = None,
    models: Models = Path("models"),
) -> None:
    """Take a model into the models folder.

    It is read, checked, and written as float32 in Hugging Face layout, with the SHA-256 of every file. SOURCE
    stays as it is and is not needed any more.

    While this goes on, other commands see the model not at all; afterwards they see all of it. When it is
    interrupted, nothing is left to see.
    """
    store = Store(models)
    with working() as show:
        stored = summarise(store, take_in(store, source, name, show))
    put_out(
        f"{printable(stored.name)}: {number(stored.config.parameter_count(), ',d')} parameters, "
        f"weights {short_hash(stored.record.weights_sha256)}, in {printable(str(models))}"
    )


def export_model(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A model of the models folder, or the path of any model.")
    ],
    target: Annotated[Path, typer.Argument(metavar="DEST", help="The folder or file to make.")],
    *,
    format: Annotated[  # noqa: A002  (the name of the option)
        Format | None,
        typer.Option(help="A folder in Hugging Face layout, or a GGUF file; without it, as DEST ends."),
    ] = None,
    kind: Annotated[
        Kind, typer.Option("--type", help="How weights are held: exactly, in 16 bits, or in 8 (gguf only).")
    ] = Kind.F32,
    models: Models = Path("models"),
) -> None:
    """Write a model for others: as a folder, or as a GGUF file.

    The folder opens in transformers, the file in llama.cpp and what is built on it. f32 holds the weights to
    the last bit.
    """
    layout = format or (Format.GGUF if target.suffix == _SUFFIX else Format.HF)
    settings: dict[str, Any] = {"layout": layout.value, "kind": kind.value}
    with working() as show, reading_model(name, models) as source:
        export(source, target, **settings, name=name if is_name(name) else source.stem, progress=show)
    put_out(f"{printable(str(target))}: {layout.value}, {kind.value}, {_size_of(target):,} bytes")


def _size_of(path: Path) -> int:
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)
