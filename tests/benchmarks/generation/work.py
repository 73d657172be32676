"""What every measured process does: the same prompts and numbers of steps. Standard library alone."""

from __future__ import annotations

import random
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["Work", "add_work", "words_of", "work_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How much of everything.

    Attributes:
        prefill: tokens of the prompt that is read.
        prefills: how often it is read, the first time apart.
        prompt: tokens before the steps.
        steps: that count, of one token for each stream.
        drawn: tokens of a whole request.
        warm: steps before them.
        streams: of the steps with several.
        vocab_size: ids are below it.
    """

    prefill: int = 512
    prefills: int = 3
    prompt: int = 32
    steps: int = 48
    drawn: int = 128
    warm: int = 4
    streams: int = 8
    vocab_size: int = 49_152

    @property
    def context(self) -> int:
        """Positions that a text needs."""
        return max(self.prefill, self.prompt + max(self.warm + self.steps, self.drawn)) + 1

    def ids(self, count: int) -> list[int]:
        """Ids that mean nothing, the same every time."""
        return random.Random(7).choices(range(self.vocab_size), k=count)


def add_work(parser: argparse.ArgumentParser) -> None:
    """Add an option for each number, and those of every process."""
    for field in fields(Work):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=int, default=field.default)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--with-parent", action="store_true", help="end when standard input ends")


def work_of(options: argparse.Namespace) -> Work:
    """What was asked for."""
    return Work(**{field.name: getattr(options, field.name) for field in fields(Work)})


def words_of(work: Work) -> list[str]:
    """The options that ask for it."""
    return [
        word
        for field in fields(Work)
        for word in (f"--{field.name.replace('_', '-')}", str(getattr(work, field.name)))
    ]
