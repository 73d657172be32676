"""A large text out of Debian's packages: fetched once, the same for the same versions, and named by hashes.

`apt-get download` and `dpkg-deb` need no rights and install nothing.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from tests.benchmarks.large.markup import dictionary_text, html_text, plain_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["SOURCES", "Manifest", "Source", "TextError", "debian_text", "manifest_of"]

# Counts up whenever the same packages would give another text.
_FORMAT: Final = 1
_FETCH_S: Final = 1800.0

Manifest: TypeAlias = dict[str, Any]


class TextError(Exception):
    """The text is not to be had; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Source:
    """One package, and where its text stands.

    Attributes:
        package: its name in every Debian release.
        files: which of its files, a pattern.
        text: from the content of a file to its text.
        stands_for: a pattern of the package that `package` depends on and that has the files; None when it
            has them itself.
        without: folders that are left out.
    """

    package: str
    files: str
    text: Callable[[bytes], str]
    stands_for: str | None = None
    without: tuple[str, ...] = ()


SOURCES: Final = (
    Source("anarchism", "usr/share/doc/anarchism/html/*.html", html_text),
    Source("dict-gcide", "usr/share/dictd/*.dict.dz", dictionary_text),
    Source(
        "linux-doc",
        "usr/share/doc/linux-doc-*/html/_sources/**/*.rst.txt",
        plain_text,
        stands_for=r"linux-doc-[\d.]+",
        without=("translations",),
    ),
    Source(
        "python3-doc",
        "usr/share/doc/python3.*/html/_sources/**/*.rst.txt",
        plain_text,
        stands_for=r"python3\.\d+-doc",
    ),
)
"""About 80 MB of English: political philosophy, a dictionary, and two sets of technical documentation."""


class Fetched(NamedTuple):
    """A package, unpacked."""

    package: str
    version: str
    root: Path


def debian_text(
    work: Path,
    say: Callable[[str], None],
    sources: Sequence[Source] = SOURCES,
    fetch: Callable[[Source, Path], Fetched] | None = None,
) -> tuple[list[Path], Manifest]:
    """The text files in `work/corpus`, a file for each package, made if need be, and their manifest.

    They are used again when each has the length and the SHA-256 that the manifest gives. Otherwise they are
    made anew; the manifest, in `work/corpus.json`, is written last.

    Raises:
        TextError: apt or a package is missing, the download failed, or a package holds no such files.
    """
    folder = work / "corpus"
    beside = work / "corpus.json"
    manifest = _known(folder, beside, sources)
    if manifest is None:
        work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".corpus-", dir=work) as place:
            new = Path(place, "corpus")
            new.mkdir()
            manifest = _make(new, Path(place), sources, fetch or fetch_package, say)
            shutil.rmtree(folder, ignore_errors=True)
            new.rename(folder)
            beside.write_text(json.dumps(manifest, indent=1))
    return [folder / entry["file"] for entry in manifest["sources"]], manifest


def manifest_of(paths: Iterable[Path]) -> Manifest:
    """What files and folders of one's own hold, in the same form.

    Raises:
        TextError: one of them cannot be read.
    """
    entries = []
    for path in paths:
        files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
        try:
            entries += [{"file": str(file), **_identity(file.read_bytes())} for file in files]
        except OSError as error:
            raise TextError(
                f"{error.filename} cannot be read ({error.strerror}): name a text file"
            ) from error
    return _manifest(entries)


def fetch_package(source: Source, place: Path) -> Fetched:
    """Download a package and unpack it below `place`.

    Raises:
        TextError: see `debian_text`.
    """
    name = source.package if source.stands_for is None else _stood_for(source.package, source.stands_for)
    room = place / name
    room.mkdir()
    _run("apt-get", "download", name, cwd=room)
    archive = next(room.glob("*.deb"))
    version = _run("dpkg-deb", "--field", archive.name, "Version", cwd=room).strip()
    _run("dpkg-deb", "--extract", archive.name, "root", cwd=room)
    return Fetched(name, version, room / "root")


def _stood_for(package: str, pattern: str) -> str:
    shown = _run("apt-cache", "show", "--no-all-versions", package)
    depends = next((line for line in shown.splitlines() if line.startswith("Depends:")), "")
    names = [found for name in re.split(r"[\s,|]+", depends) if (found := re.fullmatch(pattern, name))]
    if not names:
        raise TextError(f"{package} depends on no {pattern} here: use --text with texts of your own")
    return names[0].group()


def _run(*command: str, cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            check=True,
            capture_output=True,
            text=True,
            timeout=_FETCH_S,
            stdin=subprocess.DEVNULL,
        )
    except FileNotFoundError:
        raise TextError(f"{command[0]} is missing: use Debian, or --text with texts of your own") from None
    except subprocess.TimeoutExpired:
        raise TextError(f"{' '.join(command)} did not end: try again, or use --text") from None
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise TextError(
            f"{' '.join(command)} failed ({last}): "
            "run apt-get update first, or use --text with texts of your own"
        ) from error
    return done.stdout


def _make(
    folder: Path,
    place: Path,
    sources: Sequence[Source],
    fetch: Callable[[Source, Path], Fetched],
    say: Callable[[str], None],
) -> Manifest:
    seen: set[str] = set()
    entries = []
    for source in sources:
        say(f"fetching {source.package}")
        fetched = fetch(source, place)
        texts, dropped = _texts(source, fetched.root, seen)
        if not texts:
            raise TextError(f"{fetched.package} {fetched.version} holds no {source.files}: use --text")
        content = "\n".join(texts).encode()
        name = f"{source.package}.txt"
        (folder / name).write_bytes(content)
        entries.append(
            {
                "package": fetched.package,
                "version": fetched.version,
                "file": name,
                "documents": len(texts),
                "dropped": dropped,
                **_identity(content),
            }
        )
        shutil.rmtree(fetched.root)
    return _manifest(entries)


def _texts(source: Source, root: Path, seen: set[str]) -> tuple[list[str], int]:
    """The texts in the order of their paths, and how many were blank or there before."""
    texts, dropped = [], 0
    for path in sorted(root.glob(source.files)):
        if set(source.without) & set(path.relative_to(root).parts):
            continue
        content = path.read_bytes()
        text = source.text(gzip.decompress(content) if path.suffix in {".dz", ".gz"} else content)
        digest = hashlib.sha256(text.encode()).hexdigest()
        if not text.strip() or digest in seen:
            dropped += 1
            continue
        seen.add(digest)
        texts.append(text)
    return texts, dropped


def _known(folder: Path, beside: Path, sources: Sequence[Source]) -> Manifest | None:
    """The manifest, None unless every file is as it says."""
    try:
        manifest: Manifest = json.loads(beside.read_bytes())
        entries = manifest["sources"]
        same = [_identity((folder / entry["file"]).read_bytes()) == _part(entry) for entry in entries]
        wanted = [f"{source.package}.txt" for source in sources]
        if manifest["format"] != _FORMAT or [entry["file"] for entry in entries] != wanted or not all(same):
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return manifest


def _identity(content: bytes) -> dict[str, Any]:
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _part(entry: dict[str, Any]) -> dict[str, Any]:
    return {"bytes": entry["bytes"], "sha256": entry["sha256"]}


def _manifest(entries: list[dict[str, Any]]) -> Manifest:
    return {"format": _FORMAT, "bytes": sum(entry["bytes"] for entry in entries), "sources": entries}
