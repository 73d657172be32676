"""The page of a trace, without a browser: what is in it, and that no text can become a part of it."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from importlib import resources
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.tracing import Trace, TraceEvent, spans, write_html
from actors.tracing.exports.html import _SCRIPTS
from tests.helpers.synthetic_trace import synthetic_events
from tests.helpers.trace_page_data import PageData

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

PAGE = resources.files("actors.tracing.exports") / "page"


def page_of(events: Iterable[TraceEvent], folder: Path) -> PageData:
    write_html(Trace.of(events), folder / "page.html")
    return PageData(folder / "page.html")


def same(found: list[float], expected: list[float | None], begin_s: float) -> bool:
    times = [math.nan if time_s is None else time_s - begin_s for time_s in expected]
    return all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(found, times, strict=True))


def test_the_columns_are_the_spans(tmp_path: Path) -> None:
    events = list(synthetic_events(6000))
    page, found = page_of(events, tmp_path), spans(Trace.of(events))
    assert page.texts("rows.name") == list(found.actors)
    numbers = [int(number) for number in page.columns["messages.number"]]
    by_number = {message.msg_id: message for message in found.messages}
    assert set(numbers) == set(by_number)
    messages = [by_number[number] for number in numbers]
    assert page.texts("messages.type") == [message.type for message in messages]
    assert same(page.columns["messages.sent"], [message.sent_s for message in messages], found.begin_s)
    assert same(page.columns["messages.heard"], [message.heard_s for message in messages], found.begin_s)
    assert [found.actors[int(row)] for row in page.columns["messages.from"]] == [m.sender for m in messages]
    causes = [numbers[int(place)] if place >= 0 else 0 for place in page.columns["messages.cause"]]
    assert causes == [message.cause_id for message in messages]
    assert page.texts("jobs.name") == [job.name for job in found.jobs]
    assert same(page.columns["jobs.end"], [job.end_s for job in found.jobs], found.begin_s)
    assert page.texts("waits.outcome") == [wait.outcome for wait in found.waits]
    assert page.texts("marks.text") == [mark.text for mark in found.marks]
    assert sorted(page.texts("handlers.type")) == sorted(handler.type for handler in found.handlers)
    for name in ("rows", "messages", "handlers", "jobs", "waits", "marks", "states"):
        assert page.table(name)


def test_what_is_in_a_row_comes_in_order_of_its_begins(tmp_path: Path) -> None:
    page = page_of(synthetic_events(6000), tmp_path)
    for name in ("messages.at", "handlers.begin", "jobs.asked", "waits.begin", "marks.time", "states.begin"):
        assert page.columns[name] == sorted(page.columns[name]), name


def test_parents_stand_above_their_children(tmp_path: Path) -> None:
    names = ["/a/b/c", "outside/1", "/a", "/a/b/c/d", "/ab"]
    page = page_of([TraceEvent(1.0, "start", name, 1, 0, 0, "X", "") for name in names], tmp_path)
    rows = page.texts("rows.name")
    parents = {
        name: rows[int(above)] if above >= 0 else None
        for name, above in zip(rows, page.columns["rows.parent"], strict=True)
    }
    assert parents == {"outside/1": None, "/a": None, "/a/b/c": "/a", "/a/b/c/d": "/a/b/c", "/ab": None}
    assert all(above < row for row, above in enumerate(page.columns["rows.parent"]))


def test_states_follow_each_other_from_start_to_end(tmp_path: Path) -> None:
    events = [
        TraceEvent(1.0, "start", "/a", 1, 0, 0, "X", ""),
        TraceEvent(2.0, "state", "/a", 1, 0, 0, "running(1)", ""),
        TraceEvent(3.0, "state", "/a", 1, 0, 0, "shutdown(1)", "it failed"),
        TraceEvent(4.0, "end", "/a", 1, 0, 0, "X", "stopped"),
        TraceEvent(5.0, "start", "/a", 2, 0, 0, "X", ""),
        TraceEvent(6.0, "send", "/a", 2, 1, 0, "t", "/b"),
    ]
    page = page_of(events, tmp_path)
    assert page.texts("states.name") == ["idle", "running(1)", "shutdown(1)", "idle"]
    assert page.columns["states.begin"] == [0.0, 1.0, 2.0, 4.0]
    assert page.columns["states.end"][:3] == [1.0, 2.0, 3.0]
    assert math.isnan(page.columns["states.end"][3]), "it goes on when the trace ends"


def test_a_trace_that_begins_in_the_middle_names_what_it_does_not_tell(tmp_path: Path) -> None:
    events = list(synthetic_events(6000))[2000:]
    page = page_of(events, tmp_path)
    count = len(page.columns["messages.number"])
    for name in ("handlers.message", "messages.cause", "jobs.cause", "waits.cause", "marks.cause"):
        assert all(-1 <= place < count for place in page.columns[name]), name
    epoch = next(event.cause_id for event in events if event.kind == "send" and event.cause_id)
    place = page.columns["messages.number"].index(epoch)
    assert math.isnan(page.columns["messages.sent"][place])
    assert place in page.columns["jobs.cause"] or place in page.columns["messages.cause"]


def test_an_empty_trace_is_a_page(tmp_path: Path) -> None:
    page = page_of([], tmp_path)
    assert page.head["span_s"] == 0.0
    assert page.head["troubles"] == []
    assert page.table("messages")["number"] == []


def test_troubles_that_are_alike_are_one_the_gravest_first(tmp_path: Path) -> None:
    texts = [f"row {n} is wrong" for n in (5.0, 6.5, 7.0)]
    events = [
        TraceEvent(1.0, "drop", "/a", 1, 1, 0, "t", "late reply"),
        TraceEvent(2.0, "drop", "/a", 1, 2, 0, "t", "late reply"),
        TraceEvent(3.0, "wait", "/a", 1, 0, 0, "/b", "reply to t", wait_id=9),
        TraceEvent(4.0, "wait_end", "/a", 1, 0, 0, "/b", "Expired", wait_id=9),
        *(TraceEvent(5.0, "error", "/b", 1, 7, 7, "ValueError", text) for text in texts),
        TraceEvent(8.0, "wait", "/a", 1, 0, 0, "/b", "its end", wait_id=10),
    ]
    page = page_of(events, tmp_path)
    troubles = page.head["troubles"]
    assert [(each["what"], each["count"]) for each in troubles] == [
        ("error in a handler", 3),
        ("a wait failed", 1),
        ("dead letter", 2),
        ("still waiting at the end", 1),
    ]
    assert troubles[0]["text"] == "ValueError: row 5.0 is wrong"
    marks = page.texts("marks.text")
    assert [marks[item] for item in troubles[0]["items"]] == [f"ValueError: {text}" for text in texts]
    rows = page.texts("rows.name")
    assert rows[troubles[0]["actor"]] == "/b"
    summary = dict(page.head["summary"])
    assert (summary["errors"], summary["dead letters"], summary["failed waits"]) == ("3", "2", "1")


def test_damage_is_said(tmp_path: Path) -> None:
    trace = Trace([], damage="cut off at byte 100", rotated=True)
    write_html(trace, tmp_path / "page.html")
    warnings = PageData(tmp_path / "page.html").head["warnings"]
    assert len(warnings) == 2
    assert warnings[1] == "cut off at byte 100"


@given(st.lists(st.text(st.characters(exclude_categories=())), min_size=1, max_size=5))
def test_any_text_comes_back_and_changes_nothing_around_it(
    tmp_path_factory: pytest.TempPathFactory, words: list[str]
) -> None:
    path = tmp_path_factory.mktemp("page") / "page.html"
    events = [TraceEvent(1.0, "error", f"/{word}", 1, 3, 3, word, word) for word in [*words, "</script><!--"]]
    write_html(Trace.of(events), path)
    page = PageData(path)
    assert page.texts("rows.name")[0] in {f"/{word}" for word in [*words, "</script><!--"]}
    assert {f"/{word}" for word in words} <= set(page.strings)
    tags = [*re.findall(r"</?script", page.html)]
    write_html(Trace.of([]), path)
    assert tags == re.findall(r"</?script", PageData(path).html), "no text ends or begins a script"
    assert "<!--" not in page.html


def test_the_policy_allows_this_script_this_style_and_nothing_else(tmp_path: Path) -> None:
    html = page_of(synthetic_events(1000), tmp_path).html
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy[1].split("; "))
    script = html.rpartition("<script>")[2].partition("</script>")[0]
    style = html.partition("<style>")[2].partition("</style>")[0]
    for name, text in (("script-src", script), ("style-src", style)):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert rules.pop(name) == f"'sha256-{digest}'"
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_it_is_called_as_its_file_or_as_one_likes(tmp_path: Path) -> None:
    assert page_of(synthetic_events(60), tmp_path).head["title"] == "page"
    write_html(Trace.of([]), tmp_path / "page.html", title="mine.trace")
    assert PageData(tmp_path / "page.html").head["title"] == "mine.trace"


def test_it_says_when_the_run_began_where_that_is_known(tmp_path: Path) -> None:
    events = [TraceEvent(5.0, "start", "/a", 1, 0, 0, "A", "")]
    assert page_of(events, tmp_path).head["summary"][0] == ["on the loop's clock", "5.000000 s"]
    trace = Trace.of(events)
    trace.wall_s = 86400.0
    write_html(trace, tmp_path / "page.html")
    assert PageData(tmp_path / "page.html").head["summary"][0] == ["begins at", "1970-01-02 00:00:05 UTC"]


def test_every_part_of_the_page_is_shipped_and_used() -> None:
    parts = {part.name for part in PAGE.iterdir()}
    assert parts == {"page.html", "page.css", *(f"{name}.js" for name in _SCRIPTS)}


def test_the_scripts_never_make_markup_of_text_and_reach_for_nothing() -> None:
    for part in PAGE.iterdir():
        text = part.read_text(encoding="utf-8")
        found = re.findall(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|https?://|//cdn|XMLHttpRequest|\bfetch\(",
            text,
        )
        assert found == [], part.name
        assert part.name == "page.html" or not re.search(r"</script|<!--|</style", text), part.name
        assert len(text.splitlines()) <= 600, part.name


def test_a_page_that_cannot_be_completed_leaves_what_was_there(tmp_path: Path) -> None:
    class Broken(Trace):
        def __iter__(self) -> Iterator[TraceEvent]:
            yield from synthetic_events(10)
            raise OSError("the disk is gone")

    path = tmp_path / "page.html"
    path.write_text("as it was")
    with pytest.raises(OSError, match="the disk is gone"):
        write_html(Broken([]), path)
    assert path.read_text() == "as it was"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError):
        write_html(Trace.of([]), tmp_path / "no" / "page.html")
