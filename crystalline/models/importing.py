"""A model from elsewhere becomes one of the models folder, and the other way round."""

from __future__ import annotations

from contextlib import contextmanager
from errno import EIO
from time import time
from typing import TYPE_CHECKING, Final

from crystalline.errors import ModelFolderError, OutputError, SettingError
from crystalline.model import weights_sha256
from crystalline.model.atomic import beside
from crystalline.model.export_gguf import GgufType, write_gguf
from crystalline.model.export_hf import HF_FILES, HfType, write_hf, write_hf_files
from crystalline.model.opening import open_model
from crystalline.models.names import check_name, name_for
from crystalline.models.record import Record, hashed, write_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from crystalline.models.record import SourceKind
    from crystalline.models.store import Store

__all__ = ["export_model", "import_model"]


_HF_TYPES: Final[Mapping[GgufType, HfType]] = {"f32": "float32", "f16": "float16"}


def import_model(
    store: Store, source: Path, name: str | None = None, progress: Callable[[str, float], None] | None = None
) -> str:
    """Store a model, as float32, with a record of where it came from.

    Args:
        store: where to.
        source: a model folder, a run folder or a GGUF file.
        name: what to call it; None for the name that suggests itself.
        progress: called with what is being done, and the part of it that is done, from 0 to 1.

    Returns:
        Its name.

    Raises:
        ModelFolderError: there is no such model, or it is damaged or not supported.
        OutputError: the name is taken.
        SettingError: no model can have the name.
        OSError: the models folder cannot be written, or the disk is full; nothing is left of it.
    """
    name = name_for(source) if name is None else check_name(name)
    tell = progress if progress is not None else _silent
    store.check_free(name)  # before all the work
    if not source.exists():
        raise ModelFolderError(
            f"there is no file or folder {source}: name a model folder, a run folder or a GGUF file"
        )
    tell("reading", 0.0)
    model = open_model(source)
    tell("hashing", 0.0)
    sha256 = weights_sha256(model.flat)
    with store.adding(name) as folder:
        tell("writing", 0.0)
        write_hf_files(folder, model)
        files = {}
        total, done = sum((folder / file).stat().st_size for file in HF_FILES), 0
        for file in HF_FILES:
            files[file] = hashed(folder / file)
            done += files[file].size
            tell("checking", done / total)
        record = Record(
            source=str(source.absolute()),
            source_kind=_kind(source),
            imported=time(),
            weights_sha256=sha256,
            files=files,
        )
        write_record(folder, record)
    return name


def export_model(
    source: Path,
    target: Path,
    *,
    layout: str,
    kind: GgufType,
    name: str = "",
    progress: Callable[[str, float], None] | None = None,
) -> None:
    """Write a model for others.

    Args:
        source: a model folder, a run folder or a GGUF file.
        target: the folder or the file to make; folders above it are made as well. That it can be made is
            checked before the model is read.
        layout: "hf" for a folder, "gguf" for a file.
        kind: how weights are held; "q8_0" is for "gguf" only.
        name: of the model, for those who open the file.
        progress: called with what is being done, and the part of it that is done, from 0 to 1.

    Raises:
        SettingError: the layout has no such kind of weights.
        ModelFolderError: there is no such model, or it is damaged or not supported.
        OutputError: there is something of the target's name, or the layout has not what the model has.
        OSError: it cannot be written, or the disk is full; names the target, nothing is left of it.
    """
    if layout == "hf" and kind not in _HF_TYPES:
        raise SettingError(
            f"a folder cannot hold {kind}: choose {' or '.join(_HF_TYPES)}, or the format gguf"
        )
    tell = progress if progress is not None else _silent
    with _blamed_on(target):
        _check_place(target)
    tell("reading", 0.0)
    model = open_model(source)
    tell("writing", 0.0)
    with _blamed_on(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if layout == "hf":
            write_hf(target, model, dtype=_HF_TYPES[kind])
        else:
            write_gguf(target, model, kind, name=name, progress=lambda part: tell("writing", part))


def _check_place(target: Path) -> None:
    """Do nothing if something can be made there; leaves no folder behind."""
    if target.exists() or target.is_symlink():
        raise OutputError(f"{target} exists: choose another name, or delete it")
    first = target
    while not first.parent.exists():
        first = first.parent
    with beside(first):
        pass


@contextmanager
def _blamed_on(target: Path) -> Iterator[None]:
    """Name the target in errors of the system, which know it by a name that it has meanwhile."""
    try:
        yield
    except OSError as error:
        what = error.strerror or str(error.__cause__ or error)
        raise OSError(error.errno or EIO, what, str(target)) from error


def _silent(_doing: str, _part: float) -> None:
    pass


def _kind(source: Path) -> SourceKind:
    if source.is_file():
        return "gguf"
    return "run" if (source / "checkpoints").is_dir() else "folder"
