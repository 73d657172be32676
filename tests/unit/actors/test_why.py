"""Why: what follows from what, in traces made by hand; and how little of a long one is read for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actors.tracing import Trace, TraceEvent, TraceFile, TraceQueryError, why

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path


def event(time_s: float, kind: str, actor: str, type_: str = "", detail: str = "", **more: Any) -> TraceEvent:
    """An event of the first life of an actor."""
    more = {"msg_id": 0, "cause_id": 0, "incarnation": int(actor.startswith("/")), **more}
    return TraceEvent(time_s, kind, actor, type=type_, detail=detail, **more)


def ask(
    time_s: float,
    who: str,
    whom: str,
    number: int,
    *,
    tag: str = "ask",
    cause: int = 0,
    limit_s: float = 30.0,
) -> list[TraceEvent]:
    """What an ask leaves behind when it is admitted."""
    more = {"cause_id": cause, "wait_id": number, "limit_s": limit_s}
    return [
        event(time_s, "wait", who, whom, f"reply to {tag}", **more),
        event(time_s, "send", who, tag, whom, msg_id=number, **more),
    ]


def begin(time_s: float, who: str, number: int, sender: str = "outside", tag: str = "ask") -> TraceEvent:
    return event(time_s, "receive", who, tag, sender, msg_id=number)


def reply(
    time_s: float, who: str, to: str, number: int, *, tag: str = "answer", cause: int = 0
) -> list[TraceEvent]:
    """What an answer leaves behind."""
    return [
        event(time_s, "reply", who, tag, to, msg_id=number, cause_id=number, wait_id=number),
        event(time_s, "done", who, "ask", msg_id=number),
        event(time_s, "wait_end", to, who, "answered", cause_id=cause, wait_id=number),
    ]


def ended(time_s: float, who: str, whom: str, how: str, number: int, cause: int = 0) -> TraceEvent:
    return event(time_s, "wait_end", who, whom, how, cause_id=cause, wait_id=number)


NOTHING = "and waited for nothing that the trace knows"


def answer(events: Sequence[TraceEvent], symptom: str) -> list[str]:
    return why(Trace.of(events), symptom).lines()


def sentence(events: Sequence[TraceEvent], symptom: str) -> str:
    return answer(events, symptom)[0]


# The example of the documentation: an epoch, a step, a sphere, a job.
EPOCH = [
    *ask(0.0, "outside", "/root", 12, tag="train_epoch", limit_s=600.0),
    begin(0.1, "/root", 12, tag="train_epoch"),
    *ask(1.0, "/root", "/root/sphere-7", 41, tag="step", cause=12),
    begin(1.1, "/root/sphere-7", 41, "/root", tag="step"),
    event(1.2, "wait", "/root/sphere-7", "job backward", "its result", cause_id=41, wait_id=42, limit_s=30.0),
    event(1.2, "job", "/root/sphere-7", "backward", cause_id=41, wait_id=42),
    ended(31.0, "/root", "/root/sphere-7", "Expired", 41, cause=12),
    ended(31.0, "/root/sphere-7", "job backward", "given up", 42, cause=41),
    event(
        31.0, "job_end", "/root/sphere-7", "backward", cause_id=41, wait_id=42,
        detail="left behind after 30.000 s; progress: micro-batch 3 of 8; at attention.py:120 in backward",
    ),
    event(31.0, "drop", "/root/sphere-7", "step", "handler ended: its deadline passed", msg_id=41),
    event(31.0, "done", "/root/sphere-7", "step", msg_id=41),
    event(31.0, "error", "/root", "EpochFailed", "epoch 3 failed", msg_id=12, cause_id=12),
    *reply(31.0, "/root", "outside", 12, tag="actors.failure"),
]  # fmt: skip


@pytest.mark.parametrize("symptom", ["/root", "root", "12", "#12", "EpochFailed", "epoch 3", "outside"])
def test_the_chain_goes_from_the_symptom_to_the_root_and_up_to_outside(symptom: str) -> None:
    lines = answer(EPOCH, symptom)
    assert lines[0] == (
        "/root failed with EpochFailed: epoch 3 failed while handling message 12 (train_epoch) because "
        "message 41 (step) from /root to /root/sphere-7 expired after 30.0 s because "
        "job backward of /root/sphere-7 was abandoned after 29.8 s; its last progress: micro-batch 3 of 8, "
        "at attention.py:120 in backward"
    )
    assert lines[1].startswith(
        "hint: job backward of /root/sphere-7 did not come back in 29.8 s; no other job"
    )
    assert [line.split("  ")[0] for line in lines if " sends " in line]


@pytest.mark.parametrize("symptom", ["41", "sphere-7", "backward"])
def test_a_symptom_below_is_told_on_whose_behalf_it_was(symptom: str) -> None:
    lines = answer(EPOCH, symptom)
    assert "job backward of /root/sphere-7 was abandoned after 29.8 s" in lines[0]
    assert (
        lines[2]
        == (
            "on behalf of message 41 (step) from /root to /root/sphere-7, sent while handling message 12 "
            "(train_epoch) from outside to /root"
        )
        or symptom == "41"
    )
    if symptom == "41":
        assert lines[2] == "on behalf of message 12 (train_epoch) from outside to /root"


def test_the_evidence_is_in_the_order_of_its_times() -> None:
    found = why(Trace.of(EPOCH), "root")
    assert [each.time_s for each in found.evidence] == sorted(each.time_s for each in found.evidence)
    assert [each.kind for each in found.evidence][:2] == ["send", "receive"]
    assert found.root.kind == "job"
    assert found.root.event is not None
    assert found.root.event.kind == "job_end"
    data = found.as_dict()
    assert [link["kind"] for link in data["links"]] == ["failed", "expired", "job"]
    assert data["asked"][0]["msg_id"] == 12
    assert data["root"] == data["links"][-1]
    assert "payload" not in data["root"]["event"]


def test_a_file_gives_the_same_answers_as_memory(tmp_path: Path) -> None:
    file = TraceFile(tmp_path / "trace")
    for each in EPOCH:
        file.write(each)
    file.close()
    for symptom in ("root", "41", "EpochFailed", "sphere-7"):
        assert why(Trace.open(tmp_path / "trace"), symptom) == why(Trace.of(EPOCH), symptom)


def test_what_a_simulation_did_is_named() -> None:
    events = [
        *DEAD[:2],
        event(2.0, "fault", "/a/b", detail="crashes"),
        event(2.0, "end", "/a/b", "B", "killed"),
    ]
    assert sentence(events, "/a/b") == "/a/b ended: killed because the simulation did this to /a/b: crashes"


def test_a_message_that_waits_behind_another_leads_to_what_holds_that_one_up() -> None:
    events = [
        *ask(0.0, "outside", "/a", 1, tag="slow"),
        begin(0.0, "/a", 1, tag="slow"),
        event(0.0, "wait", "/a", "foreign awaitable", "the database", cause_id=1, wait_id=2, limit_s=30.0),
        *ask(1.0, "outside", "/a", 3, limit_s=5.0),
        ended(6.0, "outside", "/a", "Expired", 3),
    ]
    assert sentence(events, "3") == (
        "message 3 (ask) from outside to /a expired after 5.00 s because /a had not read it, because it was "
        "at message 1 (slow) for 6.00 s because it was "
        "waiting for foreign awaitable (the database), for 6.00 s"
    )


def test_of_several_waits_the_job_or_what_was_begun_is_followed() -> None:
    events = [
        *ask(0.0, "outside", "/a", 1),
        begin(0.0, "/a", 1),
        *ask(1.0, "/a", "/a/b", 2, cause=1),
        *ask(1.0, "/a", "/a/c", 3, cause=1),
        begin(1.5, "/a/c", 3, "/a"),
        ended(30.0, "outside", "/a", "Expired", 1),
    ]
    assert "/a/c was still at message 3 (ask)" in sentence(events, "1")


def test_an_ask_that_was_given_up_is_told_so() -> None:
    events = [
        *ask(0.0, "/a", "/a/b", 2, cause=1),
        begin(0.5, "/a/b", 2, "/a"),
        ended(4.0, "/a", "/a/b", "given up", 2),
    ]
    assert sentence(events, "2").startswith(
        "message 2 (ask) from /a to /a/b was given up after 4.00 s because /a/b"
    )


def test_a_handler_that_caught_its_trouble_and_went_on_is_not_blamed_on_it() -> None:
    def course(*, went_on: bool) -> list[TraceEvent]:
        more = [event(3.0, "send", "/a", "note", "/b", msg_id=5, cause_id=1)] if went_on else []
        return [
            *ask(0.0, "outside", "/a", 1),
            begin(0.0, "/a", 1),
            *ask(1.0, "/a", "/a/b", 2, cause=1, limit_s=1.0),
            ended(2.0, "/a", "/a/b", "Expired", 2, cause=1),
            *more,
            event(4.0, "error", "/a", "KeyError", "'shard'", msg_id=1, cause_id=1),
        ]

    assert "expired" in sentence(course(went_on=False), "KeyError")
    assert sentence(course(went_on=True), "KeyError") == (
        "/a failed with KeyError: 'shard' while handling message 1 (ask)"
    )


DEAD = [
    event(0.0, "start", "/a", "A"),
    event(0.0, "start", "/a/b", "B"),
    event(1.0, "send", "outside", "bad", "/a/b", msg_id=1),
    begin(1.0, "/a/b", 1, tag="bad"),
    event(1.0, "error", "/a/b", "ValueError", "ValueError: no such shard", msg_id=1, cause_id=1),
    event(1.0, "done", "/a/b", "bad", msg_id=1),
    event(1.0, "end", "/a/b", "B", "ValueError: no such shard"),
]


@pytest.mark.parametrize(
    "loss",
    [
        [*ask(0.5, "/a", "/a/b", 3), ended(1.0, "/a", "/a/b", "ActorDown", 3)],
        [
            event(2.0, "send", "/a", "ask", "/a/b", msg_id=3),
            event(2.0, "drop", "/a", "ask", "no such actor", msg_id=3),
        ],
        [event(2.0, "refuse", "/a", "ask", "/a/b is gone: ValueError: no such shard")],
        [
            event(2.0, "send", "/a", "ask", "/a/b", msg_id=3),
            event(2.0, "drop", "/a", "ask", "actor ended", msg_id=3),
        ],
    ],
)
def test_what_was_lost_with_an_actor_leads_to_why_it_ended(loss: list[TraceEvent]) -> None:
    events = sorted([*DEAD, *loss], key=lambda each: each.time_s)
    numbered = any(each.msg_id == 3 for each in loss)
    text = sentence(events, "3" if numbered else "is gone")
    assert text.endswith(
        "/a/b ended because it failed with ValueError: no such shard while handling message 1 (bad)"
    )


def test_an_end_with_the_parent_leads_to_the_parents() -> None:
    events = [
        *DEAD[:2],
        event(1.0, "error", "/a", "OSError", "disk full", msg_id=1, cause_id=1),
        event(1.1, "end", "/a/b", "B", "its parent ended"),
        event(1.2, "end", "/a", "A", "OSError: disk full"),
    ]
    assert sentence(events, "/a/b") == (
        "/a/b ended: its parent ended because /a ended because it failed with OSError: disk full while "
        "handling message 1"
    )


def test_an_actor_that_escalates_leads_to_the_child_that_was_lost() -> None:
    events = [*DEAD, event(1.0, "end", "/a", "A", "ActorError: /a/b is lost: ValueError: no such shard")]
    assert "because /a/b ended because it failed with ValueError" in sentence(events, "/a")


def test_an_orderly_end_says_who_stopped_it() -> None:
    stop = event(2.0, "wait", "/a", "/a/b", "its end", cause_id=7, wait_id=9)
    events = [*DEAD[:2], stop, event(2.1, "end", "/a/b", "B", "stopped")]
    assert sentence(events, "b") == "/a/b ended: stopped by /a in message 7"


def test_a_job_for_which_no_thread_was_free_names_who_held_one() -> None:
    events = [
        event(0.0, "wait", "/a", "job grind", "its result", cause_id=1, wait_id=2, limit_s=9.0),
        event(0.0, "job", "/a", "grind", cause_id=1, wait_id=2),
        event(1.0, "wait", "/b", "job quick", "its result", cause_id=3, wait_id=4, limit_s=2.0),
        event(1.0, "job", "/b", "quick", cause_id=3, wait_id=4),
        ended(3.0, "/b", "job quick", "Expired", 4, cause=3),
        event(3.0, "job_end", "/b", "quick", "", cause_id=3, wait_id=4),
    ]
    assert sentence(events, "/b") == (
        "job quick of /b was never begun: no thread was free for 2.00 s because job grind of /a had been at "
        "work for 3.00 s"
    )


def test_what_is_well_is_said_to_be_well() -> None:
    events = [*ask(0.0, "outside", "/a", 1), begin(0.25, "/a", 1), *reply(1.0, "/a", "outside", 1)]
    assert sentence(events, "1") == "message 1 (ask) from outside to /a went well: it was handled in 750 ms"
    assert sentence([*events, event(3.0, "state", "/z", "idle")], "/a") == "/a had been idle for 2.00 s"


def test_a_message_that_nobody_waits_for_and_that_is_not_read_says_why() -> None:
    events = [
        event(0.0, "send", "outside", "first", "/a", msg_id=1),
        begin(0.0, "/a", 1, tag="first"),
        event(1.0, "send", "outside", "second", "/a", msg_id=2),
        event(5.0, "state", "/z", "idle"),
    ]
    assert sentence(events, "2") == (
        "message 2 (second) from outside to /a has not been read, 4.00 s after it was sent because /a had "
        "not read it, because it was at message 1 (first) for 5.00 s"
    )


# What is not there

OTHERWISE = (
    "no actor and no error is named 'Kraken' in this trace; its actors: outside, /root, /root/sphere-7; its "
    "errors: EpochFailed"
)


@pytest.mark.parametrize(
    ("symptom", "said"),
    [
        ("99", "no message 99 in this trace: it has messages from 12 to 41"),
        (
            "/root/sphere-8",
            "no actor and no error is named '/root/sphere-8' in this trace: nearest /root/sphere-7",
        ),
        ("EpochFialed", "no actor and no error is named 'EpochFialed' in this trace: nearest EpochFailed"),
        (
            "Kraken",
            OTHERWISE,
        ),
    ],
)
def test_a_symptom_that_is_not_there_says_what_is(symptom: str, said: str) -> None:
    with pytest.raises(TraceQueryError) as error:
        why(Trace.of(EPOCH), symptom)
    assert str(error.value) == said


def test_an_empty_trace_and_an_empty_question_are_told_so() -> None:
    with pytest.raises(TraceQueryError, match="it is empty"):
        why(Trace.of([]), "a")
    with pytest.raises(TraceQueryError, match="it has no messages"):
        why(Trace.of([]), "#1")
    with pytest.raises(TraceQueryError, match="its actors: outside"):
        why(Trace.of(EPOCH), " ")


def test_a_name_that_several_actors_have_is_refused_with_all_of_them() -> None:
    events = [event(0.0, "start", "/a/x", "X"), event(0.0, "start", "/b/x", "X")]
    with pytest.raises(TraceQueryError, match="'x' is the name of 2 actors: /a/x, /b/x"):
        why(Trace.of(events), "x")
    assert sentence(events, "b/x")


# What is missing


@pytest.mark.parametrize("first", range(len(EPOCH)))
@pytest.mark.parametrize("without", range(len(EPOCH)))
def test_a_trace_that_lacks_its_beginning_and_an_event_is_coped_with(first: int, without: int) -> None:
    events = [each for at, each in enumerate(EPOCH) if at >= first and at != without]
    trace = Trace.of([event(0.0, "of a later version", "/root", "?"), *events])
    for symptom in ("root", "41", "12", "sphere-7", "EpochFailed", "outside"):
        try:
            lines = why(trace, symptom).lines()
        except TraceQueryError as error:
            lines = [str(error)]
        assert lines
        assert lines[0]


# A long trace


class Counted:
    """A block of events that counts how often it is read."""

    def __init__(self, events: list[TraceEvent]) -> None:
        self._events = events
        self.reads = 0
        self.count = len(events)
        self.span_s = (events[0].time_s, events[-1].time_s)
        self.actors = self.named = {each.actor for each in events}
        self.kinds = {each.kind for each in events}

        self._own = {number for each in events for number in (each.msg_id, each.wait_id)}
        self._causes = {each.cause_id for each in events}

    def may_be_about(self, numbers: Collection[int]) -> bool:
        return not (self._own | self._causes).isdisjoint(numbers)

    def may_be_of(self, numbers: Collection[int]) -> bool:
        return not self._own.isdisjoint(numbers)

    def events(self) -> list[TraceEvent]:
        self.reads += 1
        return self._events


BLOCKS = 100
STEPS = 30
SPHERES = 4


def long_blocks() -> list[Counted]:
    """One epoch of many steps, as long as the trace, whose last step expires."""
    root, blocks, number = "/root", [], 100
    events = [*ask(0.0, "outside", root, 1, tag="train", limit_s=1e6), begin(0.0, root, 1, tag="train")]
    for at in range(BLOCKS * STEPS):
        number += 1
        sphere, time_s = f"{root}/sphere-{at % SPHERES}", float(at)
        events += [
            *ask(time_s, root, sphere, number, tag="step", cause=1),
            begin(time_s, sphere, number, root, tag="step"),
        ]
        if at < BLOCKS * STEPS - 1:
            events += reply(time_s + 0.5, sphere, root, number, cause=1)
        if at % STEPS == STEPS - 1:
            blocks.append(Counted(events))
            events = []
    end_s = BLOCKS * STEPS + 29.0  # 30 s after the last step was asked for
    last = ended(end_s, root, f"{root}/sphere-{SPHERES - 1}", "Expired", number, cause=1)
    error = event(end_s, "error", root, "EpochFailed", "epoch 1 failed", msg_id=1, cause_id=1)
    return [*blocks, Counted([last, error, *reply(end_s, root, "outside", 1, tag="actors.failure")])]


@pytest.mark.parametrize("symptom", ["root", "1", "EpochFailed", "outside", "1500", "sphere-3"])
def test_of_a_long_trace_only_what_is_around_the_chain_is_read(
    symptom: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limit in ("evidence.LOOKS_MAX", "hints.NEAR_LOOKS_MAX", "symptoms.TROUBLE_LOOKS_MAX"):
        monkeypatch.setattr(f"actors.tracing.answers.{limit}", 500)
    blocks = long_blocks()
    answer = why(Trace(blocks), symptom)
    assert sum(bool(block.reads) for block in blocks) < BLOCKS / 4
    assert answer.asked == () or answer.asked[-1].msg_id == 1
    if symptom != "1500":
        assert "/root/sphere-3 was still at message 3100 (step), for 30.0 s" in answer.sentence


def held(until_s: float) -> list[TraceEvent]:
    """The handler of /a holds the loop, which nobody reports; /b is idle and is asked meanwhile."""
    return [
        *ask(0.0, "outside", "/b", 1),
        begin(0.1, "/b", 1),
        *reply(0.2, "/b", "outside", 1),
        *ask(1.0, "outside", "/a", 2),
        *ask(1.0, "outside", "/b", 3, limit_s=0.3),
        begin(1.0, "/a", 2),
        ended(until_s, "outside", "/b", "Expired", 3),
    ]


def test_who_held_the_loop_unreported_is_named_by_the_silence() -> None:
    assert sentence(held(1.6), "3") == (
        "message 3 (ask) from outside to /b expired after 300 ms because nothing happened for 600 ms: "
        "/a seems to have blocked the event loop in message 2 (ask)"
    )
    assert any("computes or blocks belongs into a job" in line for line in answer(held(1.6), "3"))
    # Where not everything was recorded, silence says nothing.
    sampled = Trace(Trace.of(held(1.6))._blocks, sample=0.5)
    assert why(sampled, "3").sentence.endswith(", as far as a sample of the messages tells")


def test_an_actor_that_is_at_it_until_the_deadline_blocks_nothing() -> None:
    busy = [*held(1.3)[:-1], begin(1.01, "/b", 3), ended(1.3, "outside", "/b", "Expired", 3)]
    assert sentence(busy, "3").endswith("/b was still at message 3 (ask), for 290 ms, " + NOTHING)


def test_a_mailbox_without_room_is_found_by_the_name_of_its_error() -> None:
    full = event(1.0, "full", "/a", "note", "/b holds 2 messages: refused", msg_id=7)
    assert "found the mailbox of /b full" in sentence([full], "MailboxFull")


def test_the_number_of_a_wait_that_is_for_no_message_is_said_to_be_one() -> None:
    waits = [
        event(0.0, "wait", "/a", "/a/b", "its start", wait_id=3),
        event(0.1, "wait_end", "/a", "/a/b", "answered", wait_id=3),
    ]
    assert sentence(waits, "3") == "wait 3: /a waited for /a/b, without trouble"


def test_tries_are_a_storm_while_the_latest_is_under_way() -> None:
    events = [*ask(0.0, "outside", "/a", 1), begin(0.0, "/a", 1)]
    for number in range(2, 22):
        at_s = number / 10
        events += [*ask(at_s, "/a", "/a/b", number, cause=1, limit_s=0.09), begin(at_s, "/a/b", number, "/a")]
        events += [ended(at_s + 0.09, "/a", "/a/b", "Expired", number, cause=1)] * (number < 21)
    events += [ended(2.15, "outside", "/a", "Expired", 1)]
    assert "a retry storm: /a sent ask to /a/b 20 times" in answer(events, "1")[1]


def test_a_wait_of_which_only_the_end_was_recorded_is_not_taken_for_an_older_one() -> None:
    events = [
        event(0.0, "wait", "outside", "/a", "its start", wait_id=1, limit_s=30.0),
        event(0.0, "start", "/a", "Able"),
        event(0.1, "wait_end", "outside", "/a", "answered", wait_id=1),
        event(5.0, "drop", "/a", "ask", "handler ended: its deadline passed", msg_id=2),
        ended(5.0, "outside", "/a", "Expired", 2),
    ]
    trace = Trace(Trace.of(events)._blocks, level="waits")
    unknown = "because what /a did then is not in the trace, which has only the level waits"
    for symptom in ("outside", "Expired", "2"):
        assert (
            why(trace, symptom).sentence
            == f"outside waited for /a (a wait) until its time was over {unknown}"
        )
    dropped = Trace(Trace.of(events[:-1])._blocks, level="lifecycle")
    told = why(dropped, "/a")
    assert told.sentence.startswith(
        "message 2 (ask) to /a was lost: handler ended: its deadline passed because"
    )
    assert not told.asked
