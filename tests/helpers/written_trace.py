"""Traces that are written down by hand."""

from __future__ import annotations

from typing import Any

from actors.tracing import JobTimes, Trace, TraceEvent

__all__ = ["WrittenRun"]


class WrittenRun:
    """A run that is written down by hand. Numbers of messages are those of the asks' waits."""

    def __init__(self) -> None:
        self.events: list[TraceEvent] = []

    def add(self, time_s: float, kind: str, actor: str, **fields: Any) -> None:
        usual: dict[str, Any] = {"incarnation": 1, "msg_id": 0, "cause_id": 0, "type": "", "detail": ""}
        self.events.append(TraceEvent(time_s, kind, actor, **(usual | fields)))

    def send(
        self, time_s: float, asker: str, cause: int, to: str, number: int, tag: str, size: int = 10
    ) -> None:
        reason = f"reply to {tag}"
        self.add(time_s, "wait", asker, cause_id=cause, type=to, detail=reason, wait_id=number)
        self.add(
            time_s,
            "send",
            asker,
            cause_id=cause,
            type=tag,
            detail=to,
            msg_id=number,
            size=size,
            wait_id=number,
        )

    def receive(self, time_s: float, actor: str, number: int, tag: str) -> None:
        self.add(time_s, "receive", actor, msg_id=number, type=tag)

    def reply(self, time_s: float, actor: str, number: int, tag: str) -> None:
        self.add(time_s, "reply", actor, msg_id=number, cause_id=number, type="t.answer")
        self.add(time_s, "done", actor, msg_id=number, type=tag)

    def wait_end(
        self, time_s: float, asker: str, cause: int, to: str, number: int, how: str = "answered"
    ) -> None:
        self.add(time_s, "wait_end", asker, cause_id=cause, type=to, detail=how, wait_id=number)

    def job(
        self, begin_s: float, actor: str, cause: int, number: int, name: str, times: JobTimes, end_s: float
    ) -> None:
        target = f"job {name}"
        self.add(begin_s, "wait", actor, cause_id=cause, type=target, detail="its result", wait_id=number)
        self.add(begin_s, "job", actor, cause_id=cause, type=name, wait_id=number)
        self.add(end_s, "wait_end", actor, cause_id=cause, type=target, detail="answered", wait_id=number)
        self.add(end_s, "job_end", actor, cause_id=cause, type=name, detail=str(times), wait_id=number)

    def trace(self) -> Trace:
        return Trace.of(sorted(self.events, key=lambda event: event.time_s))
