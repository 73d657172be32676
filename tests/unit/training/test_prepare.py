from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from actors import JobToken
from crystalline.errors import CorpusError, OutputError, SettingError
from crystalline.training import prepare as prepare_module
from crystalline.training.footprint import Footprint
from crystalline.training.prepare import prepare
from tests.helpers.training import CORPUS, MODEL, SHORT, settings

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "sizes", [{"layers": 10**14}, {"dim": 10**9, "heads": 1, "kv_heads": 1}, {"ffn_dim": 10**12}]
)
def test_a_model_that_the_machine_cannot_hold_is_refused_at_once(sizes: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=r"takes [\d,.]+ GB to train, but this machine has [\d,.]+ GB"):
        prepare(JobToken(60), replace(MODEL, **sizes), settings(), CORPUS, None, force=False)


GB = 10**9


@pytest.mark.parametrize(
    ("parts", "recompute", "words"),
    [
        ((7, 3, 2, 0, 1), False, "7.0 GB of it for weights and moments, so choose smaller sizes, with fewer"),
        (
            (7, 9, 2, 0, 1),
            False,
            "9.0 GB of it for gradients, so choose smaller sizes, with fewer parameters",
        ),
        (
            (7, 3, 8, 0, 1),
            False,
            "8.0 GB of it for activations, so choose a smaller --batch-size or --seq-len,",
        ),
        ((7, 3, 8, 0, 1), True, "--batch-size or --seq-len$"),
        ((7, 3, 8, 0, 1), False, "or --recompute$"),
    ],
)
def test_the_largest_part_of_what_does_not_fit_is_named_with_its_remedy(
    parts: tuple[int, ...], words: str, monkeypatch: pytest.MonkeyPatch, *, recompute: bool
) -> None:
    planned = Footprint(*(part * GB for part in parts))
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": GB // 4096}.get)
    with pytest.raises(SettingError, match=words):
        prepare_module._check_memory(MODEL, settings(recompute=recompute), planned)


def test_what_is_refused_leaves_no_folder_behind(tmp_path: Path) -> None:
    with pytest.raises(CorpusError):
        prepare(
            JobToken(60),
            replace(MODEL, seq_len=100_000),
            settings(),
            SHORT,
            tmp_path / "a" / "b",
            force=False,
        )
    assert list(tmp_path.iterdir()) == []


def test_force_does_not_delete_what_the_user_has_put_beside_the_model(tmp_path: Path) -> None:
    out = tmp_path / "run"
    (out / "checkpoints").mkdir(parents=True)
    (out / "latest").symlink_to("checkpoints/step-00000001")
    (out / "NOTES.md").write_text("mine")
    with pytest.raises(OutputError, match="holds what was not made by a training run"):
        prepare(JobToken(60), MODEL, settings(), CORPUS, out, force=True)
    assert (out / "NOTES.md").read_text() == "mine"
