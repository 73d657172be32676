"""Damages model files in many ways, opens each in a child process, and looks at how that ends.

A damaged model may still be one: a bit of a weight makes another weight. What must not be: an error that is
not ours or does not name the place, a crash, a wait without end, more memory than four times the files.
"""

from __future__ import annotations

import json
import random
import re
import select
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from gguf import GGMLQuantizationType

from crystalline.model import initialise
from tests.helpers.gguf_models import CONFIG as GGUF_CONFIG
from tests.helpers.gguf_models import gguf_tensors, write_gguf_file
from tests.helpers.hf_folders import CONFIG, change_json, weights_in_16_bits, write_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

Files = dict[str, bytes]
"""A model's files by name; a GGUF file is the only one of its model."""

STATUS = Path("/proc/self/status")
ROOT = Path(__file__).resolve().parent.parent.parent
CHILD = "tests.helpers.model_opening_child"  # as a module: beside it lies one named as a library is
OPENER = "crystalline.inference.text_model:TextModel.load"
LIMIT_S = 20.0
TIMES_FILE_BYTES = 4
# What the interpreter and its allocators take or give back meanwhile, whatever the file.
SLACK_BYTES = 4 * 1024 * 1024
EXTREMES = (0, 1, 2, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63, 2**64 - 1)
HEAD_BYTES = 4096


def make_models(root: Path) -> dict[str, Files]:
    """Small models of every form that can be opened, by name."""
    flat = weights_in_16_bits(CONFIG)
    tensors = gguf_tensors(GGUF_CONFIG, initialise(GGUF_CONFIG, 0))
    for name in ("single", "sharded"):
        (root / name).mkdir()
    write_folder(root / "single", flat)
    write_folder(root / "sharded", flat, dtype="BF16", shards=2)
    change_json(root / "sharded" / "generation_config.json", eos_token_id=[0, 1])
    change_json(root / "sharded" / "config.json", rope_scaling={"rope_type": "linear", "factor": 2.0})
    for name, kind in (("f32.gguf", GGMLQuantizationType.F32), ("q8.gguf", GGMLQuantizationType.Q8_0)):
        write_gguf_file(
            root / name, tensors=tensors | {"rope_freqs.weight": np.ones(32, np.float32)}, kind=kind
        )
    found = {path.name: {path.name: path.read_bytes()} for path in root.glob("*.gguf")}
    for name in ("single", "sharded"):
        found[name] = {path.name: path.read_bytes() for path in sorted((root / name).iterdir())}
    return found


# The ways of damage: each changes the content of one file, or of several


def flips(rng: random.Random, files: Files) -> None:
    """A few bits, half of the time near the beginning."""
    name = _any_file(rng, files)
    content = bytearray(files[name])
    within = min(len(content), HEAD_BYTES) if rng.random() < 1 / 2 else len(content)
    for _ in range(rng.randint(1, 12)):
        content[rng.randrange(within)] ^= 1 << rng.randrange(8)
    files[name] = bytes(content)


def truncations(rng: random.Random, files: Files) -> None:
    """The end is missing, or there is more of it."""
    name = _any_file(rng, files)
    content = files[name]
    if rng.random() < 1 / 4:
        files[name] = content + rng.randbytes(rng.randint(1, 100))
    else:
        within = min(len(content), HEAD_BYTES) if rng.random() < 1 / 2 else len(content)
        files[name] = content[: rng.randrange(within)]


def headers(rng: random.Random, files: Files) -> None:
    """A few bytes before the weights become others."""
    name = _binary_file(rng, files)
    content = bytearray(files[name])
    for _ in range(rng.randint(1, 3)):
        start, length = rng.randrange(_head_bytes(content)), rng.randint(1, 8)
        content[start : start + length] = rng.randbytes(length)
    files[name] = bytes(content)


def lengths(rng: random.Random, files: Files) -> None:
    """A length, a count, an offset or a size becomes an extreme one."""
    name = _binary_file(rng, files)
    content = bytearray(files[name])
    if not name.endswith(".gguf"):
        head = 8 + int.from_bytes(content[:8], "little")
        numbers = list(re.finditer(rb"\d+", bytes(content[:head])))
        if rng.random() < 1 / 3:
            content[:8] = rng.choice(EXTREMES).to_bytes(8, "little")
        else:
            found = rng.choice(numbers)
            content[found.start() : found.end()] = str(rng.choice(EXTREMES)).encode()
            content[:8] = (head - 8 + len(content) - len(files[name])).to_bytes(8, "little")
    else:
        # Numbers of eight bytes are anywhere in it, those of the first two counts at 8 and 16.
        start = rng.choice((8, 16)) if rng.random() < 1 / 4 else rng.randrange(24, _head_bytes(content))
        content[start : start + 8] = rng.choice(EXTREMES).to_bytes(8, "little")
    files[name] = bytes(content)


def json_edits(rng: random.Random, files: Files) -> None:
    """A value of a JSON file becomes one of another kind, or is taken away."""
    names = sorted(name for name in files if name.endswith(".json"))
    if not names:
        lengths(rng, files)
        return
    name = rng.choice(names)
    content = json.loads(files[name])
    node: Any = content
    while True:
        keys = sorted(node) if isinstance(node, dict) else range(len(node))
        key = rng.choice(keys)
        inner = node[key]
        if not (isinstance(inner, dict | list) and inner) or rng.random() < 1 / 3:
            break
        node = inner
    if rng.random() < 1 / 5:
        del node[key]
    else:
        node[key] = rng.choice(_odd_values(rng))
    text = json.dumps(content)
    if rng.random() < 1 / 10:
        text = text.replace(": ", ": " + rng.choice(["[" * 5000, "1e999, ", "9" * 5000 + ", ", "NaN, "]), 1)
    files[name] = text.encode()


def swaps(rng: random.Random, files: Files) -> None:
    """A file has the content of another one, or of none."""
    name, other = _any_file(rng, files), _any_file(rng, files)
    contents = [files[other], b"", rng.randbytes(1000), b"{}", b"GGUF" + rng.randbytes(200), b"[" * 2000]
    if name == other:
        files[name] = rng.choice(contents[1:])
    else:
        files[name], files[other] = rng.choice(contents), files[name]


KINDS: Mapping[str, Callable[[random.Random, Files], None]] = {
    kind.__name__: kind for kind in (flips, truncations, headers, lengths, json_edits, swaps)
}


def _any_file(rng: random.Random, files: Files) -> str:
    return rng.choice(sorted(name for name in files if files[name]))


def _binary_file(rng: random.Random, files: Files) -> str:
    return rng.choice(sorted(name for name in files if name.endswith((".safetensors", ".gguf"))))


def _head_bytes(content: bytearray) -> int:
    """Up to where there are no weights yet, about."""
    if content[:4] == b"GGUF":
        return content.index(b"output_norm.weight")
    return min(len(content), 8 + int.from_bytes(content[:8], "little"))


def _odd_values(rng: random.Random) -> list[Any]:
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    number = rng.choice(EXTREMES)
    return [None, True, -1, 0, 3, number, -number, 1.5, 1e308, "", "x", "x" * 5000, [], {}, [1, "a"], deep]


# How a try ends


@dataclass
class Found:
    """What came of all tries."""

    tried: Counter[str] = field(default_factory=Counter)
    opened: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    peak_bytes: int = 0  # most that a try took
    peak_share: float = 0.0  # most that a try took of what it was allowed to; above 1 is a complaint


class OpeningChild:
    """A process that opens one model after the other, and is started again when it does not survive one."""

    def __init__(self, opener: str = OPENER, limit_s: float = LIMIT_S) -> None:
        self._opener, self._limit_s = opener, limit_s
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def open(self, path: Path) -> dict[str, Any]:
        """How opening ended: `end` is opened, refused, wrong, died or hung; `text` and `peak_bytes`."""
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{path}\n")
        process.stdin.flush()
        ready, _, _ = select.select([process.stdout], [], [], self._limit_s)
        if not ready:
            self._end()
            return {"end": "hung", "text": f"no end within {self._limit_s} s", "peak_bytes": 0}
        line = process.stdout.readline()
        if not line:
            code = process.wait(self._limit_s)
            self._end()
            return {"end": "died", "text": f"the process ended with {code}", "peak_bytes": 0}
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _start(self) -> subprocess.Popen[str]:
        self._process = subprocess.Popen(
            [sys.executable, "-m", CHILD, self._opener],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a panic in a library writes there
            text=True,
            cwd=ROOT,
        )
        return self._process

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def run_tries(
    place: Path, number: int, seed: int, *, progress: Callable[[int], None] = lambda _: None
) -> Found:
    """Damage models so many times, the kinds and the models in turn.

    Args:
        place: an empty folder.
        number: of tries.
        seed: same seed, same damage.
        progress: called with the number of tries that have ended.
    """
    originals, work, found = make_models(place), place / "work", Found()
    names, kinds = sorted(originals), list(KINDS)
    with OpeningChild() as child:
        for name in names:  # also warms the child up, so that what comes is measured by itself
            answer = child.open(lay_out(work, originals[name]))
            if answer["end"] != "opened":
                raise AssertionError(f"{name} cannot be opened undamaged: {answer}")
        for index in range(number):
            kind, name = kinds[index % len(kinds)], names[index // len(kinds) % len(names)]
            files = dict(originals[name])
            KINDS[kind](random.Random(f"{seed} {index}"), files)
            path = lay_out(work, files)
            judge(found, kind, f"try {index}, {kind} of {name}", path, files, child.open(path))
            progress(index + 1)
    return found


def lay_out(work: Path, files: Files) -> Path:
    """Write the files of a model and return its path, always the same two."""
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    for name, content in files.items():
        (work / name).write_bytes(content)
    single = next(iter(files))
    return work / single if single.endswith(".gguf") and len(files) == 1 else work


def judge(found: Found, kind: str, what: str, path: Path, files: Files, answer: dict[str, Any]) -> None:
    """Count a try, and complain of it if it did not end as it must."""
    found.tried[kind] += 1
    file_bytes = sum(map(len, files.values()))
    taken, text = answer["peak_bytes"], answer["text"]
    found.peak_bytes = max(found.peak_bytes, taken)
    allowed = TIMES_FILE_BYTES * file_bytes + SLACK_BYTES
    found.peak_share = max(found.peak_share, taken / allowed)
    if taken > allowed:
        found.complaints.append(f"{what}: took {taken} bytes for files of {file_bytes}")
    elif answer["end"] == "opened":
        found.opened[kind] += 1
    elif answer["end"] == "refused" and str(path) in text and "\n" not in text:
        found.refused[kind] += 1
    else:
        found.complaints.append(f"{what}: {answer['end']}: {text}")
