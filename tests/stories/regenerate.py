"""Runs what docs/debugging.md shows of its stories, and puts what was printed into the page.

    python tests/stories/regenerate.py            writes the page
    python tests/stories/regenerate.py --check    compares, and fails where more than numbers differs
    python tests/stories/regenerate.py --into DIR puts what the stories need into a folder, to follow by hand

A story is what stands between `<!-- story: NAME -->` and `<!-- end -->`. Its `sh` blocks are run one after
another in a folder of its own, in which the programs of this folder are, and a text to train on. Where a
`text` block follows at once, that is what was printed, on standard output and standard error. Exit code 0:
written, or the same; 1: different; 2: the page has no stories.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "debugging.md"
LIMIT_S = 60.0
MARK = "--- the next command ---"
STORY = re.compile(r"<!-- story: (?P<name>[a-z-]+) -->\n(?P<body>.*?)<!-- end -->", flags=re.DOTALL)
STEP = re.compile(
    r"```sh\n(?P<command>.*?)^```\n(?P<shown>\n```text\n(?P<output>.*?)^```\n)?",
    flags=re.DOTALL | re.MULTILINE,
)
# A number that belongs to a name, such as sphere-1, is not a number here.
NUMBER = re.compile(
    r"(?<![A-Za-z]-)(?<![A-Za-z\d.,])[-+]?\d[\d.,]*(e[-+]\d+)?(?: ?(?:µs|ms|s|min|h|KB|MB|KiB|MiB|B|%)\b)?%?"
)
HASH = re.compile(r"\b[0-9a-f]{8,64}\b")


def told(page: str) -> str:
    """The page with what its stories print now."""

    def told_story(found: re.Match[str]) -> str:
        return f"<!-- story: {found['name']} -->\n{run_story(found['body'])}<!-- end -->"

    with ThreadPoolExecutor(2) as pool:  # a story mostly waits
        stories = list(pool.map(told_story, STORY.finditer(page)))
    remaining = iter(stories)
    return STORY.sub(lambda _: next(remaining), page)


def run_story(body: str) -> str:
    """A story with what it prints now."""
    commands = [found["command"] for found in STEP.finditer(body)]
    with tempfile.TemporaryDirectory(prefix="story-") as name:
        folder = Path(name)
        put_props(folder)
        printed = iter(printed_by(commands, folder))

    def told_step(found: re.Match[str]) -> str:
        lines = next(printed)
        if found["shown"] is None:
            return found.group()
        return f"```sh\n{found['command']}```\n\n```text\n{lines}```\n"

    return STEP.sub(told_step, body)


def put_props(folder: Path) -> None:
    """Put what the stories need into a folder: programs, sizes, and a text to train on."""
    for program in (*HERE.glob("*.py"), *HERE.glob("*.toml")):
        if program != Path(__file__).resolve():
            shutil.copy(program, folder)
    (folder / "notes.txt").write_text(NOTES, encoding="utf-8")


def printed_by(commands: list[str], folder: Path) -> list[str]:
    """What each command prints; one shell runs them all, so that one may wait for what another began."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    python_path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    own = {"CRYSTALLINE_CACHE": str(folder / "cache"), "COLUMNS": "110", "TZ": "UTC"}
    shell = subprocess.Popen(
        ["/bin/bash", "-c", f"echo '{MARK}'\n".join(commands)],
        cwd=folder,
        env=os.environ | own | {"PATH": path, "PYTHONPATH": python_path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = shell.communicate(timeout=LIMIT_S)
    finally:
        with contextlib.suppress(ProcessLookupError):  # what hangs must not outlive its story
            os.killpg(shell.pid, signal.SIGKILL)
    text = output.replace(f"{folder}/", "").replace(f"{ROOT}/", "")
    parts = text.split(f"{MARK}\n")
    return ["".join(f"{line.rstrip()}\n" for line in part.splitlines()) for part in parts]


def without_numbers(page: str) -> list[str]:
    """The parts of a page between its fences, in which all numbers are the same and lines break anywhere."""
    hidden = NUMBER.sub("#", HASH.sub("#", page))
    return [" ".join(part.split()) for part in re.split(r"^```", hidden, flags=re.MULTILINE)]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    parser.add_argument("--into", type=Path, metavar="DIR", help="put what the stories need there, run none")
    wanted = parser.parse_args()
    if wanted.into is not None:
        wanted.into.mkdir(parents=True, exist_ok=True)
        put_props(wanted.into)
        return 0
    page = PAGE.read_text(encoding="utf-8")
    if not STORY.search(page):
        print(f"error: {PAGE} has no story", file=sys.stderr)
        return 2
    now = told(page)
    if not wanted.check:
        PAGE.write_text(now, encoding="utf-8")
        return 0
    before, after = without_numbers(page), without_numbers(now)
    difference = list(difflib.unified_diff(before, after, "the page", "the stories", lineterm="", n=2))
    print("\n".join(difference))
    return 1 if difference else 0


NOTES = "".join(
    f"The {adjective} {noun} {verb} the {other} in the morning.\n"
    for adjective in ("old", "young", "tall", "kind", "quiet", "brave")
    for noun in ("sailor", "baker", "miller", "doctor", "teacher")
    for verb in ("greets", "follows", "thanks")
    for other in ("gardener", "painter", "singer")
)

if __name__ == "__main__":
    sys.exit(main())
