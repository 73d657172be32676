"""Damaged models: a few hundred of those that `tests/conformance/mutate_models.py` makes by the thousand."""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from crystalline.errors import ModelFolderError
from tests.helpers import model_mutation
from tests.helpers.model_mutation import KINDS, Found, OpeningChild, judge, run_tries

if TYPE_CHECKING:
    from pathlib import Path

TRIES = 240
FILES = {"model.gguf": bytes(1000)}


def test_damaged_models_open_or_end_in_one_clear_error_within_memory_and_time(tmp_path: Path) -> None:
    found = run_tries(tmp_path, TRIES, seed=1)
    assert not found.complaints
    assert found.tried == Counter(dict.fromkeys(KINDS, TRIES // len(KINDS)))
    assert found.refused.total() > TRIES / 3
    assert found.opened.total() > TRIES / 30


# What the check itself must notice: each of these is found


def bomb(path: Path) -> NoReturn:
    memory = bytearray(os.urandom(1024)) * (32 * 1024)
    raise ModelFolderError(f"{path}: took {len(memory)} bytes")


def careless(_: Path) -> NoReturn:
    raise KeyError("dtype")


def nameless(_: Path) -> NoReturn:
    raise ModelFolderError("something is wrong")


def crash(_: Path) -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def hang(_: Path) -> NoReturn:
    signal.pause()
    raise AssertionError


@pytest.mark.parametrize(
    ("opener", "complaint"),
    [
        (bomb, "took "),
        (careless, "wrong: KeyError"),
        (nameless, "refused: something is wrong"),
        (crash, "died: the process ended with -9"),
        (hang, "hung: no end within"),
    ],
)
def test_what_must_not_be_is_noticed(opener: Any, complaint: str, tmp_path: Path) -> None:
    found, path = Found(), model_mutation.lay_out(tmp_path / "work", FILES)
    limit_s = 3.0 if opener is hang else 20.0
    with OpeningChild(f"tests.unit.model.test_mutated_models:{opener.__name__}", limit_s) as child:
        for _ in range(2):  # also with the child that is started in place of one that is gone
            judge(found, "any", "a try", path, FILES, child.open(path))
    assert len(found.complaints) == 2
    assert all(each.startswith(f"a try: {complaint}") for each in found.complaints)
