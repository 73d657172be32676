"""Lines of a file of prompts: what each may say, and the line that cannot be used is named."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003  (fixtures)

import pytest

from crystalline.cli.prompts import Wish, read_prompts
from crystalline.errors import InputError

USUAL = Wish(prompt="", tokens=7, stop=("x",), seed=3, context="slide", logprobs=None, sampling={"top_k": 2})


def test_a_line_is_a_prompt(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(b'\xef\xbb\xbfone \r\n\n  \n{"prompt": 2}\nthree')
    wishes = read_prompts(path, USUAL)
    assert [(wish.line, wish.prompt) for wish in wishes] == [(1, "one "), (4, '{"prompt": 2}'), (5, "three")]
    assert {(wish.tokens, wish.stop, wish.seed) for wish in wishes} == {(7, ("x",), 3)}


def test_a_json_line_has_settings_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    settings = {"tokens": 9, "stop": "end", "top_p": 0.5, "seed": 1, "context": "refuse", "logprobs": 2}
    lines = [{"prompt": "a"}, {"prompt": "b\nc", **settings}, {"prompt": "d", "stop": ["e", "f"]}]
    path.write_text("\n\n".join(map(json.dumps, lines)))
    first, second, third = read_prompts(path, USUAL)
    assert (first.prompt, first.tokens, first.sampling) == ("a", 7, {"top_k": 2})
    assert (second.prompt, second.tokens, second.stop, second.seed) == ("b\nc", 9, ("end",), 1)
    assert (second.context, second.logprobs, second.sampling) == ("refuse", 2, {"top_k": 2, "top_p": 0.5})
    assert third.stop == ("e", "f")
    assert [wish.line for wish in (first, second, third)] == [1, 3, 5]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("3", "no object with a prompt"),
        ('{"tokens": 3}', "no object with a prompt"),
        ('{"prompt": 3}', "prompt is 3"),
        ('{"prompt": "a", "tokenz": 3}', "no setting 'tokenz'"),
        ('{"prompt": "a", "tokens": "3"}', "tokens is '3'"),
        ('{"prompt": "a", "tokens": true}', "tokens is True"),
        ('{"prompt": "a", "stop": [1]}', r"stop is \[1\]"),
        ('{"prompt": "a", "seed": 1.5}', "seed is 1.5"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "fine"}\n\n' + line)
    with pytest.raises(InputError, match=rf"prompts\.jsonl line 3: .*{complaint}"):
        read_prompts(path, USUAL)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(None, "cannot be read"), (b"\n \n", "has no prompt"), (b"a\nb\xff", "line 2 is not UTF-8")],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    path = tmp_path / "prompts.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=complaint):
        read_prompts(path, USUAL)
