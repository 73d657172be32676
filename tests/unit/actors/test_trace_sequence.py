"""A trace as a sequence diagram in Mermaid's language.

What may stand in a line is written down here as a grammar. It is a small part of Mermaid's own.
"""

from __future__ import annotations

import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.tracing import Trace, TraceQueryError, sequence
from tests.helpers.told_traces import event, senseless, small_system

A, B = "/a", "/a/b"
TEXT = r"(?P<text>(?:[\w ./()+,='!?|@*\[\]-]|#\d+;)+)"
GRAMMAR = [
    re.compile(pattern)
    for pattern in (
        rf"(?P<what>participant|actor) (?P<one>p\d+) as {TEXT}",
        rf"(?P<one>p\d+)(?P<what>->>|-->>|-x|--x)(?P<two>p\d+): {TEXT}",
        r"(?P<what>activate|deactivate) (?P<one>p\d+)",
        rf"(?P<what>Note) over (?P<one>p\d+)(?:,(?P<two>p\d+))?: {TEXT}",
    )
]


def read(diagram: str) -> list[tuple[str, ...]]:
    """The lines of a diagram: what it is, who is in it, and the text that a person reads."""
    first, *lines, last = diagram.split("\n")
    assert (first, last) == ("sequenceDiagram", "")
    names: dict[str, str] = {}
    bars: Counter[str] = Counter()
    told: list[tuple[str, ...]] = []
    for line in lines:
        assert line.startswith("    ")
        found = next((found for rule in GRAMMAR if (found := rule.fullmatch(line[4:]))), None)
        assert found is not None, line
        parts: dict[str, str] = {"text": ""} | {
            name: part for name, part in found.groupdict().items() if part
        }
        text = re.sub(r"#(\d+);", lambda entity: chr(int(entity[1])), parts["text"])
        if parts["what"] in {"participant", "actor"}:
            assert not told, "who takes part stands at the top"
            assert parts["one"] not in names
            names[parts["one"]] = text
            continue
        bars[parts["one"]] += (parts["what"] == "activate") - (parts["what"] == "deactivate")
        assert bars[parts["one"]] >= 0, "no bar ends before it begins"
        ends = [names[parts[end]] for end in ("one", "two") if end in parts]
        told.append((parts["what"], *ends, text))
    assert set(bars.values()) <= {0}, "every bar ends"
    return told


def drawn(diagram: str) -> list[tuple[str, ...]]:
    """Its arrows and notes."""
    return [line for line in read(diagram) if line[0] not in {"activate", "deactivate"}]


ASK = (
    event(1.0, "send", "outside", "t.ask", A, msg_id=1, wait_id=1),
    event(2.0, "receive", A, "t.ask", "outside", msg_id=1),
    event(2.0, "state", A, "running(1)", cause_id=1),
    event(2.5, "send", A, "t.tell", B, msg_id=2, cause_id=1),
    event(3.0, "receive", B, "t.tell", A, msg_id=2),
    event(3.0, "job", B, "f", cause_id=2, wait_id=9),
    event(4.0, "job_end", B, "f", "queued 0.002000 s, worked 0.500000 s", cause_id=2, wait_id=9),
    event(5.0, "done", B, "t.tell", msg_id=2),
    event(6.0, "error", A, "ValueError", "no", msg_id=1, cause_id=1),
    event(6.0, "reply", A, "actors.failure", "outside", msg_id=1, cause_id=1),
    event(6.0, "done", A, "t.ask", msg_id=1),
    event(7.0, "send", "outside", "t.tell", "/gone", msg_id=3),
    event(7.0, "drop", "outside", "t.tell", "no such actor", msg_id=3),
)


def test_a_conversation_is_drawn_in_the_order_of_time() -> None:
    assert read(sequence(Trace.of(ASK))) == [
        ("->>", "outside", "a", "t.ask (1)"),
        ("activate", "a", ""),
        ("Note", "a", "running(1)"),
        ("->>", "a", "b", "t.tell (2)"),
        ("activate", "b", ""),
        ("Note", "b", "job f, queued 2 ms, 500 ms"),
        ("deactivate", "b", ""),
        ("Note", "a", "error ValueError: no"),
        ("-->>", "a", "outside", "actors.failure (1)"),
        ("deactivate", "a", ""),
        ("-x", "outside", "gone", "t.tell (3) no such actor"),
    ]


def test_people_outside_are_figures_and_actors_are_boxes_in_order_of_the_tree() -> None:
    heads = [line.strip() for line in sequence(Trace.of(ASK)).splitlines()[1:5]]
    expected = ["actor p0 as outside", "participant p1 as a", "participant p2 as b", "participant p3 as gone"]
    assert heads == expected


def test_names_that_two_have_are_told_apart_by_their_paths() -> None:
    events = [event(1.0, "send", "/x/twin", "t.tell", "/y/twin", msg_id=1)]
    assert read(sequence(Trace.of(events))) == [("->>", "/x/twin", "/y/twin", "t.tell (1)")]


def test_an_answer_that_comes_too_late_reaches_nobody() -> None:
    events = [*ASK[:2], event(9.0, "drop", A, "t.answer", "late reply", msg_id=1, cause_id=1)]
    assert ("--x", "a", "outside", "late reply (1)") in read(sequence(Trace.of(events)))


def test_a_job_that_was_left_behind_is_noted_when_it_began_and_when_it_was_left() -> None:
    events = [
        event(1.0, "job", A, "f", wait_id=1),
        event(2.0, "state", A, "idle"),
        event(3.0, "job_end", A, "f", "left behind after 2 s, progress: 3 of 7", wait_id=1),
        event(4.0, "job", A, "g", wait_id=2),
    ]
    assert [line[-1] for line in read(sequence(Trace.of(events)))] == [
        "job f",
        "idle",
        "job f left behind after 2 s, progress: 3 of 7",
        "job g, goes on",
    ]


def test_a_message_is_shown_with_all_that_it_has_caused_and_nothing_else() -> None:
    below = drawn(sequence(Trace.of(ASK), message=2))
    assert below == [("->>", "a", "b", "t.tell (2)"), ("Note", "b", "job f, queued 2 ms, 500 ms")]
    assert {line[-1] for line in drawn(sequence(Trace.of(ASK), message=1))} > {line[-1] for line in below}
    assert "gone" not in sequence(Trace.of(ASK), message=1)


@pytest.mark.parametrize("name", ["b", B])
def test_actors_are_shown_with_whom_they_talk_to(name: str) -> None:
    assert drawn(sequence(Trace.of(ASK), actors=[name])) == [
        ("->>", "a", "b", "t.tell (2)"),
        ("Note", "b", "job f, queued 2 ms, 500 ms"),
    ]


def test_what_is_not_there_is_said_with_what_there_is() -> None:
    with pytest.raises(TraceQueryError, match=r"no message 8 in this trace: its messages are 1 to 3"):
        sequence(Trace.of(ASK), message=8)
    with pytest.raises(TraceQueryError, match=r"no actor 'c' in this trace: it has outside, /a, /a/b, /gone"):
        sequence(Trace.of(ASK), actors=["a", "c"])
    with pytest.raises(TraceQueryError, match="it has no messages"):
        sequence(Trace.of([]), message=1)
    with pytest.raises(ValueError, match="limit must be positive, got 0"):
        sequence(Trace.of(ASK), limit=0)


def test_of_many_actors_a_few_are_named() -> None:
    many = Trace.of([event(1.0, "state", f"/a{number}", "idle") for number in range(20)])
    with pytest.raises(TraceQueryError, match=r"it has /a0, .*, /a11 and 8 more$"):
        sequence(many, actors=["b"])


def test_the_first_steps_are_shown_and_how_many_are_not() -> None:
    whole = drawn(sequence(Trace.of(ASK)))
    for limit in range(1, len(whole)):
        *shown, last = drawn(sequence(Trace.of(ASK), limit=limit))
        assert shown == whole[:limit]
        assert last[-1] == f"{len(whole) - limit} more arrows and notes are left out"
    assert drawn(sequence(Trace.of(ASK), limit=len(whole))) == whole


def test_nothing_to_show_is_a_diagram_too() -> None:
    assert read(sequence(Trace.of([]))) == [("Note", "nobody", "there is nothing to show")]


@given(st.text(max_size=40))
def test_any_text_can_be_read_as_it_is(text: str) -> None:
    (shown,) = read(sequence(Trace.of([event(1.0, "blocked", A, detail=text)])))
    assert shown == ("Note", "a", f"blocked {' '.join(text.split())}".strip())


def test_long_text_is_cut_off() -> None:
    (shown,) = read(sequence(Trace.of([event(1.0, "blocked", A, detail="x" * 500)])))
    assert len(shown[-1]) == 120
    assert shown[-1].endswith("x…")


def test_of_a_system_that_ran_every_message_is_an_arrow() -> None:
    found = Counter(line[0] for line in read(sequence(small_system(), limit=1000)))
    kinds = Counter(one.kind for one in small_system())
    assert found["->>"] + found["-x"] == kinds["send"]
    assert found["-->>"] == kinds["reply"]
    assert found["activate"] == kinds["receive"]


@given(senseless(), st.integers(1, 12))
def test_any_trace_becomes_a_diagram_within_its_limit(trace: Trace, limit: int) -> None:
    assert len(drawn(sequence(trace, limit=limit))) <= limit + 1
    for number in sorted({one.msg_id for one in trace if one.kind == "send"}):
        read(sequence(trace, message=number))
    for actor in set(trace.actors):
        read(sequence(trace, actors=[actor]))
