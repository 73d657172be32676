"""Damage to checkpoints, of the kinds that disks, copies and people do, and whether loading finds it.

What a damage does is decided by pure functions on the contents of the files; only `Stage` writes.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Final

from crystalline.errors import ModelFolderError
from crystalline.training import TrainConfig, load_checkpoint
from tests.helpers.training import report_of, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from crystalline.training import Checkpoint

__all__ = ["HARMLESS", "KINDS", "Found", "Stage", "make_run", "run_tries", "write"]

Files = dict[str, bytes]  # path within the checkpoint -> content
Changes = dict[str, bytes | None]  # what is there afterwards; None takes the file away

MANIFEST: Final = "training/manifest.json"
SECTOR_BYTES: Final = 512


def flipped_bit(random: Random, files: Files, _older: Files) -> Changes:
    name = _any(random, files)
    content = bytearray(files[name])
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    return {name: bytes(content)}


def truncation(random: Random, files: Files, _older: Files) -> Changes:
    name = _any(random, files)
    return {name: files[name][: random.randrange(len(files[name]))]}


def missing_file(random: Random, files: Files, _older: Files) -> Changes:
    return {_any(random, files): None}


def garbage(random: Random, files: Files, _older: Files) -> Changes:
    name = _any(random, files)
    size = random.choice([len(files[name]), random.randrange(1, 4096)])
    return {name: random.randbytes(size)}


def empty_file(random: Random, files: Files, _older: Files) -> Changes:
    return {_any(random, files): b""}


def appended_byte(random: Random, files: Files, _older: Files) -> Changes:
    name = _any(random, files)
    return {name: files[name] + random.randbytes(1)}


def two_swapped(random: Random, files: Files, _older: Files) -> Changes:
    one, other = random.sample(sorted(files), 2)
    return {one: files[other], other: files[one]}


def lost_sector(random: Random, files: Files, _older: Files) -> Changes:
    """Zeros where a sector did not reach the disk before the power went."""
    name = _any(random, files)
    begin = random.randrange(len(files[name])) // SECTOR_BYTES * SECTOR_BYTES
    hole = bytes(len(files[name][begin : begin + SECTOR_BYTES]))
    content = files[name][:begin] + hole + files[name][begin + len(hole) :]
    return {name: content} if content != files[name] else flipped_bit(random, files, _older)


def file_of_another_checkpoint(random: Random, files: Files, older: Files) -> Changes:
    """A mixture: the file is whole, but of another step."""
    name = random.choice([name for name in sorted(files) if files[name] != older[name]])
    return {name: older[name]}


def several_at_once(random: Random, files: Files, older: Files) -> Changes:
    changes: Changes = {}
    for one in random.choices(sorted(KINDS.keys() - HARMLESS - {"several at once"}), k=3):
        changes |= KINDS[one](random, files, older)
    # Two swaps may undo each other.
    changed = {name: content for name, content in changes.items() if content != files[name]}
    return changed or missing_file(random, files, older)


def extra_file(random: Random, _files: Files, _older: Files) -> Changes:
    name = random.choice(["notes.txt", "training/old.json", "model-00002-of-00002.safetensors", ".hidden"])
    return {name: random.randbytes(random.randrange(100))}


KINDS: Final[Mapping[str, Callable[[Random, Files, Files], Changes]]] = {
    "flipped bit": flipped_bit,
    "truncation": truncation,
    "missing file": missing_file,
    "garbage": garbage,
    "empty file": empty_file,
    "appended byte": appended_byte,
    "two files swapped": two_swapped,
    "lost sector": lost_sector,
    "file of another checkpoint": file_of_another_checkpoint,
    "several at once": several_at_once,
    "extra file": extra_file,
}
HARMLESS: Final = frozenset({"extra file"})
"""Files are read by name, so one that nobody asks for changes nothing: the checkpoint loads as it is."""


def _any(random: Random, files: Files) -> str:
    return random.choice(sorted(files))


class Stage:
    """A run folder with two whole checkpoints, the newer of which is damaged and mended again.

    Args:
        out: the run folder.
        load: what has to find the damage.
    """

    def __init__(self, out: Path, load: Callable[[Path], Checkpoint] = load_checkpoint) -> None:
        self.out = out
        self.load = load
        self.older, self.newest = sorted((out / "checkpoints").iterdir())
        self.files, self.files_of_older = contents(self.newest), contents(self.older)
        self._whole, self._older = (identity(load_checkpoint(folder)) for folder in (self.newest, self.older))

    def examine(self, kind: str, random: Random) -> str | None:
        """Do a damage, load, and mend it. Returns what is wrong with how it was found; None if nothing."""
        changes = KINDS[kind](random, self.files, self.files_of_older)
        write(self.newest, changes)
        try:
            complaint = (self._unharmed if kind in HARMLESS else self._found)(changes)
        finally:
            write(self.newest, {name: self.files.get(name) for name in changes})
        where = ", ".join(f"{name}: {_size(content)}" for name, content in changes.items())
        return None if complaint is None else f"{kind} ({where}): {complaint}"

    def _found(self, changes: Changes) -> str | None:
        try:
            self.load(self.newest)
        except ModelFolderError as error:
            complaint = self._names(str(error), changes)
        except Exception as error:  # noqa: BLE001 - whatever else comes out is what is looked for
            complaint = f"{type(error).__name__}: {error}"
        else:
            complaint = "the checkpoint was loaded as if it were whole"
        return complaint or self._passed_over(changes)

    def _passed_over(self, changes: Changes) -> str | None:
        """From the run folder, the checkpoint before it is used and the damage named."""
        try:
            found = self.load(self.out)
        except Exception as error:  # noqa: BLE001 - whatever comes out, the older checkpoint is whole
            return f"the run was not opened: {type(error).__name__}: {error}"
        if identity(found) != self._older:
            return "what the run gave is not its older checkpoint"
        if len(found.passed_over) != 1:
            return f"passed over without a word: {found.passed_over}"
        return self._names(found.passed_over[0], changes)

    def _unharmed(self, _changes: Changes) -> str | None:
        for folder in (self.newest, self.out):
            found = self.load(folder)
            if identity(found) != self._whole or found.passed_over:
                return f"{folder} gave something else"
        return None

    def _names(self, text: str, changes: Changes) -> str | None:
        # Nothing vouches for the manifest itself: a damaged one may accuse another file of the checkpoint.
        accused = [self.newest] if MANIFEST in changes else [self.newest / name for name in changes]
        if not any(str(path) in text for path in accused):
            return f"the wrong file is named: {text}"
        return f"not one line: {text!r}" if "\n" in text else None


def contents(folder: Path) -> Files:
    """Every file below a folder."""
    found = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in found}


def write(folder: Path, changes: Changes) -> None:
    """Make the files as told."""
    for name, content in changes.items():
        if content is None:
            (folder / name).unlink(missing_ok=True)
        else:
            (folder / name).write_bytes(content)


def identity(checkpoint: Checkpoint) -> tuple[object, ...]:
    """All that a checkpoint gives, to compare."""
    arrays = [buffer.tobytes() for buffer in checkpoint.buffers]
    record = json.dumps(checkpoint.record)
    return checkpoint.config, checkpoint.progress, checkpoint.tokenizer_json, record, arrays


def _size(content: bytes | None) -> str:
    return "gone" if content is None else f"{len(content)} bytes"


async def make_run(out: Path) -> TrainConfig:
    """A finished run with two checkpoints, one a moment before the other; its settings."""
    train = settings(save_every=8)
    await report_of(train, out=out)
    return train


@dataclass(slots=True)
class Found:
    """What came of many tries: how many of each kind were made and ended as they must."""

    tried: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)


def run_tries(stage: Stage, tries: int, seed: int, kinds: Iterable[str] = KINDS) -> Found:
    """Try each kind of damage so many times. A try follows from the seed, its kind and its number."""
    found = Found()
    for kind in kinds:
        for number in range(tries):
            complaint = stage.examine(kind, Random(f"{seed}/{kind}/{number}"))
            found.tried[kind] += 1
            found.right[kind] += complaint is None
            if complaint is not None:
                found.complaints.append(f"try {number}: {complaint}")
    return found
