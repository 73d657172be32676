"""`crystalline tokenize`: a text in tokens, and back."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests.helpers.command import CRYSTALLINE, LIMIT_S, Finished, environment, run
from tests.helpers.options import untested
from tests.helpers.texts import words

pytestmark = pytest.mark.e2e


def fed(content: bytes, *arguments: str | Path) -> Finished:
    """The command with something on its standard input."""
    done = subprocess.run(
        [CRYSTALLINE, "tokenize", *arguments],
        input=content,
        capture_output=True,
        timeout=LIMIT_S,
        env=environment(),
        check=False,
    )
    texts = subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )
    return Finished(texts)


def ids_of(model: Path, text: str) -> list[int]:
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    return list(tokenizer.encode(text).ids)


def test_no_option_is_without_a_test() -> None:
    assert untested("crystalline.cli.tokenize:tokenize", Path(__file__)) == []


def test_a_line_for_each_token(trained: Path) -> None:
    text = "Ka tomi\n☃"
    head, *rows = run("tokenize", trained, text).out.splitlines()
    assert head.split() == ["place", "id", "piece"]
    assert [int(row.split()[0]) for row in rows] == list(range(len(rows)))
    assert [int(row.split()[1]) for row in rows] == ids_of(trained, text)
    shown = "".join(row.split()[2] for row in rows)
    assert shown == "Ka␣tomi⏎<E2><98><83>"
    assert len({row.index(row.split()[2]) for row in rows}) == 1, "aligned"


def test_ids_count_and_decode(trained: Path) -> None:
    text = "Ka tomi ren. "
    ids = ids_of(trained, text)
    assert run("tokenize", trained, text, "--ids").out == " ".join(map(str, ids)) + "\n"
    assert run("tokenize", trained, text, "--count").out == f"{len(ids)}\n"
    written = run("tokenize", trained, text, "--ids").out
    assert run("tokenize", trained, "--decode", written).out == text + "\n"
    assert run("tokenize", trained, "--decode", str(ids), "--json").json() == {"text": text}


def test_json_is_one_object(trained: Path) -> None:
    found = run("tokenize", trained, "Ka é", "--json").json()
    assert [each["id"] for each in found["tokens"]] == ids_of(trained, "Ka é")
    assert (found["count"], found["bytes"]) == (len(found["tokens"]), 5)
    counted = run("tokenize", trained, "Ka é", "--json", "--count").json()
    assert counted == {"count": found["count"], "bytes": 5}
    assert run("tokenize", trained, "", "--json").json() == {"tokens": [], "count": 0, "bytes": 0}


def test_the_text_comes_from_where_it_is_said_to(trained: Path, tmp_path: Path) -> None:
    text = words(200_000)  # several pieces
    file = tmp_path / "text.txt"
    file.write_text(text)
    wanted = " ".join(map(str, ids_of(trained, text))) + "\n"
    assert run("tokenize", trained, "--file", file, "--ids").out == wanted
    assert fed(text.encode(), trained, "--ids").out == wanted
    assert fed(text.encode(), trained, "-", "--ids").out == wanted
    assert fed(text.encode(), trained / "tokenizer.json", "--file", "-", "--ids").out == wanted
    table = fed(text.encode(), trained).out.splitlines()
    assert len(table) == 1 + len(wanted.split())
    assert len(json.loads(fed(text.encode(), trained, "--json").out)["tokens"]) == len(wanted.split())


def test_special_tokens_are_read_when_asked_to(trained: Path) -> None:
    assert run("tokenize", trained, "<|endoftext|>", "--ids", "--special").out == "0\n"
    assert run("tokenize", trained, "<|endoftext|>", "--ids").out.split() != ["0"]


@pytest.mark.parametrize(
    ("content", "complaint"), [(b"\x7fELF\0\0", "binary"), (b"caf\xe9 au lait", "0xe9 at offset 3")]
)
def test_what_is_no_text_is_refused(trained: Path, tmp_path: Path, content: bytes, complaint: str) -> None:
    assert complaint in fed(content, trained).refusal()
    file = tmp_path / "it"
    file.write_bytes(content)
    line = run("tokenize", trained, "--file", file).refusal()
    assert complaint in line
    assert str(file) in line


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("nowhere", "text"), "there is no model 'nowhere'"),
        (("nowhere.json", "text"), "no file nowhere.json"),
        ((".", "text"), "no .*json"),
        (("MODEL", "a", "--file", "b"), "TEXT and --file"),
        (("MODEL", "a", "--decode", "1"), "TEXT and --decode"),
        (("MODEL", "a", "--ids", "--count"), "--ids and --count"),
        (("MODEL", "a", "--ids", "--json"), "--ids and --json"),
        (("MODEL", "--ids", "--decode", "1"), "--decode and --ids"),
        (("MODEL", "--decode", "1,x"), "'x' is no token id"),
        (("MODEL", "--decode", "1000000"), "'1000000' is no token id"),
        (("MODEL", "--decode=-1"), "'-1' is no token id"),
        (("MODEL", "--file", "nowhere.txt"), "nowhere.txt"),
        (("MODEL", "\udcff"), "TEXT is not valid text"),
    ],
)
def test_what_cannot_be_is_refused(
    trained: Path, tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    given = [trained if word == "MODEL" else word for word in arguments]
    assert re.search(complaint, run("tokenize", *given, cwd=tmp_path).refusal())
