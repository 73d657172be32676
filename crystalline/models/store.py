"""The models folder: names that are links, and the models themselves.

    models/
      smollm2 -> .store/3f9a1c2e5d7b8a60
      .store/
        3f9a1c2e5d7b8a60/       config.json, model.safetensors, ... and the record, see `record`

A model never changes once its folder has this place, and no other ever gets its number: who has followed
the link reads one model to the end. A name appears, moves and disappears in one step. So readers need no
lock; one who wants a model to stay while it is being opened claims it (`reading`).

Writers change names and places only while they hold the folder's lock, for a moment each; what takes long is
written beside, without it. What a killed process has left has no name, and the next writer deletes it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from crystalline.errors import ModelFolderError, OutputError
from crystalline.model.atomic import beside, lock, point, remove, sweep, sync
from crystalline.models.names import check_name, is_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["MODELS_VARIABLE", "Store"]

MODELS_VARIABLE: Final = "CRYSTALLINE_MODELS"
"""The environment variable that names the models folder."""

_STORE: Final = ".store"
_ATTEMPTS: Final = 100  # a name may be removed and made again while it is followed, but hardly so often


class Store:
    """Names and places of models.

    Args:
        folder: the models folder; it need not exist before something is stored.

    Attributes:
        folder: as given.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """All names, sorted; none where there is no folder."""
        try:
            return sorted(path.name for path in self.folder.iterdir() if is_name(path.name) and _target(path))
        except FileNotFoundError:
            return []

    def place(self, name: str) -> Path:
        """The folder with the files of a model. It may be removed by others at any time, see `reading`.

        Raises:
            ModelFolderError: there is no such model; says which there are.
        """
        target = _target(self.folder / name) if is_name(name) else None
        if target is None:
            raise self.unknown(name)
        return self.folder / target

    @contextmanager
    def reading(self, name: str) -> Iterator[Path]:
        """The folder with the files of a model, which stays until the block ends, also when it is removed.

        Raises:
            ModelFolderError: there is no such model; says which there are.
        """
        for _ in range(_ATTEMPTS):
            place = self.place(name)
            claim = _claim_to_read(place)
            if claim is not None:
                try:
                    yield place
                finally:
                    os.close(claim)
                return
            if not place.exists() and self.place(name) == place:
                break  # not removed in good order
        raise ModelFolderError(
            f"{self.folder / name} has lost its files: remove the model and import it again"
        )

    def unknown(self, name: str, *, or_path: bool = False) -> ModelFolderError:
        """The error that says which models there are instead.

        Args:
            name: of the model that is not there.
            or_path: whether a path could have been given as well.
        """
        names = self.names()
        there, remedy = (", ".join(names), "name one of these") if names else ("none", "import one")
        return ModelFolderError(
            f"there is no model {name!r} in {self.folder.absolute()} (there: {there}): {remedy}, "
            f"{'give a path, ' if or_path else ''}or set {MODELS_VARIABLE} to another folder"
        )

    @contextmanager
    def adding(self, name: str) -> Iterator[Path]:
        """A fresh folder to write a model into; when the block ends well, it is there under this name.

        Raises:
            OutputError: the name is taken, before or meanwhile.
            SettingError: no model can have it.
            OSError: the folder cannot be written, or the disk is full; nothing is left of it.
        """
        check_name(name)
        place = self.folder / _STORE / secrets.token_hex(8)
        place.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            with self._alone():
                self.check_free(name)
                fresh = stack.enter_context(beside(place))
                stack.enter_context(_claimed(fresh))  # before any other writer could sweep it away
            whole = fresh / place.name
            whole.mkdir()
            yield whole
            sync(whole)
            with self._alone():
                self.check_free(name)
                whole.rename(place)
                sync(place.parent)
                point(self.folder / name, f"{_STORE}/{place.name}")
                sync(self.folder)

    def rename(self, old: str, new: str) -> None:
        """Give a model another name, in one step.

        Raises:
            ModelFolderError: there is no such model.
            OutputError: the new name is taken.
            SettingError: no model can have it.
            OSError: the folder cannot be written.
        """
        check_name(new)
        self.place(old)
        with self._alone():
            self.place(old)
            self.check_free(new)
            (self.folder / old).rename(self.folder / new)
            sync(self.folder)

    def remove(self, name: str) -> None:
        """Take a model's name away and delete its files, once nobody reads them any more.

        Raises:
            ModelFolderError: there is no such model.
            OSError: the folder cannot be written.
        """
        self.place(name)
        with self._alone():
            self.place(name)
            (self.folder / name).unlink()
            sync(self.folder)
            self._sweep()

    def check_free(self, name: str) -> None:
        """Do nothing if no model has this name.

        Raises:
            OutputError: one has it, or something else is in its place.
        """
        if os.path.lexists(self.folder / name):
            raise OutputError(f"{self.folder / name} exists: choose another name, or remove that one first")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other writers out. Waits for one that is at it; the kernel lets go for one that was killed."""
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            self._sweep()
            yield
        finally:
            os.close(handle)

    def _sweep(self) -> None:
        """Delete what has no name, unless somebody writes or reads it."""
        store = self.folder / _STORE
        if not store.is_dir():
            return
        with suppress(FileNotFoundError):  # its writer is quicker: then the rest is for the next writer
            sweep(self.folder)
            sweep(store)
            named = {self.place(name).name for name in self.names()}
            for place in store.iterdir():
                if place.name.startswith(".") or place.name in named:
                    continue
                claim = lock(place)
                if claim is not None:
                    remove(place)
                    os.close(claim)


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Claim a folder against those who sweep; nobody else can have seen it yet."""
    handle = lock(folder)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _target(link: Path) -> Path | None:
    """Where a name leads; None if it is not a name of ours."""
    try:
        target = link.readlink()
    except OSError:
        return None
    return target if len(target.parts) == len((_STORE, "number")) and target.parts[0] == _STORE else None


def _claim_to_read(place: Path) -> int | None:
    """Keep a model from being deleted; None if it is gone, or about to be."""
    try:
        handle = os.open(place, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), place.stat()):
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(handle)
    return None
