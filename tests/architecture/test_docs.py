"""What the documents show is run, and what they point to exists."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.documents import blocks, documents, programs
from tests.architecture.tree import ROOT, name_of

LIMIT_S = 60
LINK = re.compile(r"\]\((?!https?:|mailto:)(?P<target>[^)#\s]*)(?:#[^)]*)?\)")
OPTION = re.compile(r"(?<!\S)--[a-z][a-z-]*")
TARGET = re.compile(r"^make ([a-z]+)", flags=re.MULTILINE)
KNOWN_BLOCKS = {"", "python", "sh", "sh run", "text", "toml", "json", "mermaid", "make"}


def _environment(folder: Path) -> dict[str, str]:
    scripts = str(Path(sys.executable).parent)
    cache = {"CRYSTALLINE_CACHE": str(folder / "cache")}
    return os.environ | cache | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200"}


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=_environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


PROGRAMS = [(path, number) for path in documents() for number in range(len(programs(path)))]
TO_RUN = [(path, block) for path in documents() for block in blocks(path) if block.info == "sh run"]


@pytest.mark.parametrize(("path", "number"), PROGRAMS, ids=[f"{name_of(p)}:{n}" for p, n in PROGRAMS])
def test_python_blocks_run(path: Path, number: int, tmp_path: Path) -> None:
    script = tmp_path / f"{path.stem}.py"
    script.write_text(programs(path)[number], encoding="utf-8")
    done = _run([sys.executable, "-W", "error", str(script)], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("path", "code"), [(p, b.code) for p, b in TO_RUN], ids=[f"{name_of(p)}:{b.line}" for p, b in TO_RUN]
)
def test_shell_blocks_marked_run_succeed(path: Path, code: str, tmp_path: Path) -> None:
    done = _run(["bash", "-euo", "pipefail", "-c", code], tmp_path)
    assert done.returncode == 0, f"{name_of(path)}: {done.stdout}{done.stderr}"


@functools.cache
def _options(command: str, folder: Path) -> frozenset[str]:
    shown = _run([str(Path(sys.executable).parent / "crystalline"), *command.split()[1:], "--help"], folder)
    assert shown.returncode == 0, shown.stderr
    return frozenset(OPTION.findall(shown.stdout))


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_every_option_in_a_shell_block_exists(path: Path, tmp_path: Path) -> None:
    for block in blocks(path):
        if not block.info.startswith("sh"):
            continue
        for row in block.code.replace("\\\n", " ").splitlines():
            shown = re.search(
                r"\bcrystalline (train|generate|chat|eval|tokenize|bench|top"
                r"|(?:vocab|models|runs|trace) \w+)\b(.*)",
                row,
            )
            if shown is not None:
                wanted = set(OPTION.findall(shown.group(2)))
                assert wanted <= _options(f"crystalline {shown.group(1)}", tmp_path.parent), row


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_every_make_target_exists(path: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, flags=re.MULTILINE))
    shown = {name for block in blocks(path) for name in TARGET.findall(block.code)}
    assert shown <= targets


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_relative_links_resolve(path: Path) -> None:
    targets = [found["target"] for found in LINK.finditer(path.read_text(encoding="utf-8"))]
    assert [target for target in targets if target and not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", documents(), ids=name_of)
def test_blocks_are_of_a_known_kind(path: Path) -> None:
    assert {block.info for block in blocks(path)} <= KNOWN_BLOCKS


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "decisions").glob("*.md")), ids=name_of)
def test_a_decision_is_short_and_says_why(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.fullmatch(r"\d{4}-[a-z0-9-]+", path.stem)
    assert len(text.splitlines()) <= 40
    assert [part for part in ("## Context", "## Choice", "## Evidence") if part not in text] == []
