"""Commands under test keep their token files to themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.helpers.command import TINY, run
from tests.helpers.texts import words

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CRYSTALLINE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text file of 4 KB."""
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text(words(4000))
    return path


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, text: Path) -> Path:
    """The folder of a run that has learned a little. Not to be changed."""
    out = tmp_path_factory.mktemp("run") / "out"
    assert run("train", text, *TINY, "--lr", "0.02", "--epochs", "20", "--out", out).code == 0
    return out
