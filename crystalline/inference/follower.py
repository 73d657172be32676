"""The follower: looks for newer weights, and puts them on the shelf when they are whole.

A checkpoint that is damaged, or gone again before it was read, is no reason to stop anything: it is logged,
and the next look may find it whole, or find a newer one.
"""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from actors import Actor, Context, Expired, JobToken, message, on
from crystalline.errors import CrystallineError, ModelFolderError
from crystalline.inference.continuation import absent_ids
from crystalline.inference.editions import Edition
from crystalline.inference.text_model import TextModel
from crystalline.model import model_folder

if TYPE_CHECKING:
    from crystalline.inference.editions import Shelf

__all__ = ["LOAD_S", "Follower", "edition_of"]

LOGGER: Final = logging.getLogger("crystalline")

LOAD_S: Final = 300.0
"""Seconds in which a checkpoint is read, verified and made into an engine."""

Mark = tuple[str, int, int]
"""Which checkpoint: the path of its folder, and what says that another folder has the same path."""


@message("crystalline.inference.look")
class Look:
    """Told by the follower to itself: see whether there are newer weights."""


class Follower(Actor):
    """Looks into a run folder every so often.

    Args:
        shelf: where newer weights go.
        folder: the run folder, or any folder with a model; it need not be there yet.
        every_s: how often to look.
    """

    def __init__(self, shelf: Shelf, folder: Path, every_s: float) -> None:
        self._shelf = shelf
        self._folder = folder
        self._every_s = every_s
        self._known: Mark | None = None
        self._warned = ""

    async def on_start(self, ctx: Context) -> None:
        """Look at once."""
        ctx.tell(ctx.self_ref, Look())

    @on(Look)
    async def look(self, _msg: Look, ctx: Context) -> None:
        """Put newer weights on the shelf, if there are any and there is room; look again later."""
        try:
            if not self._shelf.full:
                await self._take(ctx)
        except Expired:
            self._warn(f"the weights in {self._folder} were not read within {LOAD_S:g} s")
        except (CrystallineError, OSError) as error:
            self._warn(str(error))
        ctx.tell_later(self._every_s, ctx.self_ref, Look())

    async def _take(self, ctx: Context) -> None:
        mark = await ctx.offload_within(LOAD_S, _mark, self._folder)
        if mark is None or mark == self._known:
            return
        shelf, press = self._shelf, self._shelf.blank()
        load = partial(_load, Path(mark[0]), shelf.current.model)
        try:
            await ctx.offload_within(LOAD_S, press.fill, load, shelf.make)
        except BaseException:
            shelf.discard(press)
            raise
        if shelf.offer(press):
            self._known, self._warned = mark, ""
            LOGGER.info("new requests are answered with the weights of %s", press.edition.name)

    def _warn(self, text: str) -> None:
        """Log what is wrong, once: it is tried again every so often, and may stay wrong for long."""
        if text != self._warned:
            LOGGER.warning("newer weights are not used yet: %s", text)
            self._warned = text


def edition_of(model: TextModel, name: str) -> Edition:
    """Weights with a name."""
    return Edition(name, model, absent_ids(model.tokenizer, model.config.vocab_size))


def _mark(_token: JobToken, folder: Path) -> Mark | None:
    """What is in the folder now; None: nothing yet."""
    real = model_folder(folder)
    try:
        found = real.stat()
    except FileNotFoundError:
        return None
    return str(real), found.st_ino, found.st_mtime_ns


def _load(folder: Path, used: TextModel) -> Edition:
    """Read and verify the model in a folder.

    Raises:
        ModelFolderError: it is damaged, or another model than the one in use.
    """
    model = TextModel.load(folder)
    if (model.config, model.tokenizer.to_str()) != (used.config, used.tokenizer.to_str()):
        raise ModelFolderError(
            f"{folder} holds another model than the one in use, with other sizes or another tokenizer: "
            "open a generator for it"
        )
    return edition_of(model, folder.name)
