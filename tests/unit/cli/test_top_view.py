"""What `crystalline top` shows of a picture: who, what, for how long, and who is to worry about."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from crystalline.cli.top_view import head_lines, messages_per_s, rows, view, worry


def node(path: str, *children: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {
        "path": path,
        "actor": "Sphere",
        "state": "running(3)",
        "phase": "live",
        "incarnation": 1,
        "queued": 0,
        "queued_bytes": 0,
        "capacity": 256,
        "handles": None,
        "waits": 0,
        "wait": None,
        "children": list(children),
    } | others


def handling(since_s: float, left_s: float = 100.0) -> dict[str, Any]:
    return {"message": 41, "type": "demo.step", "sender": "/r", "since_s": since_s, "left_s": left_s}


def waiting(target: str) -> dict[str, Any]:
    return {"waiter": "/r", "target": target, "reason": "x", "since_s": 2.0, "left_s": 8.0}


def taken(
    *tree: dict[str, Any], time: float = 0.0, messages: int = 0, pid: int = 7, **loop: Any
) -> dict[str, Any]:
    return {
        "system": "demo",
        "pid": pid,
        "time": time,
        "loop": {"answers": True, "silent_s": 0.0, "actor": "", "place": ""} | loop,
        "statistics": {
            "actors": 3,
            "messages": messages,
            "dead_letters": {"late reply": 2},
            "open_waits": 1,
            "jobs": {"queued": 1, "running": 2, "abandoned": 0, "threads": 2},
        },
        "tree": list(tree),
        "waits": [],
        "jobs": [{"actor": "/r/s", "name": "work", "seen": "after 2.0 s; at a.py:1 in f"}],
        "left_out": {"actors": 0, "waits": 0},
    }


TREE = node(
    "/r",
    node("/r/s", handles=handling(2.0), waits=1, wait=waiting("job work")),
    node("/r/t", phase="restarting", incarnation=2),
    handles=handling(2.0),
    waits=3,
    wait=waiting("/r/s"),
)


def printed(
    picture: dict[str, Any], before: dict[str, Any] | None = None, *, width: int = 100, height: int = 40
) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(view(picture, before, height))
    return out.getvalue()


def test_a_row_for_each_actor() -> None:
    assert list(rows(taken(TREE))) == [
        ("/r", "running(3)", "1", "0", "demo.step #41", "2.0 s", "/r/s +2", "2.0 s", ""),
        ("  s", "running(3)", "1", "0", "demo.step #41", "2.0 s", "job work", "2.0 s", ""),
        ("  t", "running(3), restarting", "2", "0", "", "", "", "", "!"),
    ]


@pytest.mark.parametrize(
    ("one", "sign"),
    [
        (node("/a"), ""),
        (node("/a", handles=handling(1.0, 2.0)), ""),
        (node("/a", handles=handling(3.0, 2.0)), "!!"),
        (node("/a", handles=handling(3.0, 2.0), wait=waiting("job x"), waits=1), "!!"),
        (node("/a", handles=handling(3.0, 2.0), wait=waiting("/a/b"), waits=1), ""),
        (node("/a", phase="stopping"), "!"),
        (node("/a", queued=127), ""),
        (node("/a", queued=128), "!"),
        (node("/a", queued=256), "!!"),
    ],
)
def test_who_is_to_worry_about(one: dict[str, Any], sign: str) -> None:
    assert worry(one) == sign


def test_rates_are_of_two_pictures_of_the_same_process() -> None:
    before, after = taken(time=10.0, messages=100), taken(time=12.0, messages=400)
    assert messages_per_s(after, before) == 150.0
    assert messages_per_s(after, None) is None
    assert messages_per_s(after, taken(time=10.0, pid=8)) is None
    assert messages_per_s(after, after) is None
    assert messages_per_s(before, after) is None


def test_the_head_has_counts_and_what_the_loop_does() -> None:
    text = "\n".join(head_lines(taken(time=12.0, messages=1400), taken(time=10.0)))
    assert "demo, process 7: 3 actors, 1,400 messages, 700.0 a second, 1 waits" in text
    assert "jobs: 2 at work, 1 queued, 0 left behind; dead letters: 2 late reply" in text
    assert "job of /r/s: work, after 2.0 s; at a.py:1 in f" in text
    assert text.endswith("the event loop answers")
    held = head_lines(taken(answers=False, silent_s=3.21, actor="/r", place="at a.py:1 in f"), None)
    assert held[-1] == "the event loop has not answered for 3.2 s: /r at a.py:1 in f"


@pytest.mark.parametrize("width", [80, 120])
def test_everything_has_its_place_in_a_terminal(width: int) -> None:
    lines = printed(taken(TREE), width=width).splitlines()
    assert all(len(line) <= width for line in lines)
    head = next(line for line in lines if line.startswith("actor"))
    for word in ("state", "life", "queued", "handles", "for", "waits for"):
        assert word in head
    assert "restarting" in printed(taken(TREE), width=120)
    assert next(line for line in lines if line.startswith("  t")).rstrip().endswith(" !")


def test_what_does_not_fit_is_counted() -> None:
    text = printed(taken(*(node(f"/n{number}") for number in range(50))), height=20)
    assert "/n11 " in text
    assert "/n12 " not in text
    assert "and 38 actors more" in text


def test_names_cannot_move_the_cursor() -> None:
    text = printed(taken(node("/a\x1b[2Jb", handles=handling(1.0) | {"type": "x\x07"})))
    assert "\x1b" not in text
    assert "\x07" not in text
