"""Log records know in which actor they were made, and a line of JSON holds whatever they say."""

# ruff: noqa: ARG002 - the signature of a handler is the runtime's, whether it needs all of it or not

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from actors import Actor, ActorSystem, Context, JobToken, on
from actors.living import ActorLogFilter, JsonFormatter, install_log
from actors.living.logs import whereabouts
from tests.helpers.cast import Echo, Note, Sleep
from tests.helpers.virtual_loop import virtual

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGGER = logging.getLogger("tests.logs")


class Records(logging.Handler):
    """Keeps what comes."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[logging.LogRecord] = []
        self.addFilter(ActorLogFilter())

    def emit(self, record: logging.LogRecord) -> None:
        self.kept.append(record)

    def places(self) -> dict[str, tuple[str, int]]:
        """Actor and message by text."""
        return {record.getMessage(): (vars(record)["actor"], vars(record)["msg_id"]) for record in self.kept}


@pytest.fixture
def records() -> Iterator[Records]:
    handler = Records()
    LOGGER.addHandler(handler)
    yield handler
    LOGGER.removeHandler(handler)


class Logging(Actor):
    """Logs in its hook, its handlers, in a task of a handler, and in a job."""

    async def on_start(self, ctx: Context) -> None:
        LOGGER.warning("hook of %s", ctx.self_ref)

    @on(Echo)
    async def echo(self, msg: Echo, ctx: Context) -> Note:
        LOGGER.warning("handler of %s", ctx.self_ref)
        await asyncio.create_task(self.help(ctx))
        await ctx.offload(job, str(ctx.self_ref))
        assert ctx._cell.run is not None
        return Note(str(ctx._cell.run.cause_id))

    @on(Sleep)
    async def sleep(self, msg: Sleep, ctx: Context) -> Note:
        await asyncio.sleep(msg.seconds)
        LOGGER.warning("after a sleep")
        return Note()

    async def help(self, ctx: Context) -> None:
        LOGGER.warning("task of %s", ctx.self_ref)


def job(_token: JobToken, whose: str) -> None:
    LOGGER.warning("job of %s", whose)


@virtual
async def _run(records: Records) -> None:
    async with ActorSystem() as system:
        first = await system.spawn(Logging, name="first")
        second = await system.spawn(Logging, name="second")
        numbers = [int((await system.ask(ref, Echo(), timeout_s=5.0)).text) for ref in (first, second)]
        sleeping = asyncio.ensure_future(system.ask(first, Sleep(1.0), timeout_s=5.0))
        await asyncio.sleep(0.5)
        await system.ask(second, Echo(), timeout_s=5.0)  # in between
        LOGGER.warning("outside")
        await sleeping
    places = records.places()
    for path, number in zip(("/first", "/second"), numbers, strict=True):
        assert places[f"hook of {path}"] == (path, 0)
        if path == "/first":
            assert places[f"handler of {path}"] == (path, number)
            assert places[f"task of {path}"] == (path, number)
            assert places[f"job of {path}"] == (path, number)
    assert places["after a sleep"][0] == "/first"
    assert places["after a sleep"][1] > numbers[1]
    assert places["outside"] == ("", 0)


def test_a_record_knows_the_actor_and_the_message_it_was_made_in(records: Records) -> None:
    _run(records)
    assert whereabouts() == ("", 0), "nothing is left behind"


def test_a_thread_forgets_whose_job_it_has_done(records: Records) -> None:
    async def jobs() -> None:
        async with ActorSystem(job_threads=1) as system:
            ref = await system.spawn(Logging, name="a")
            await system.ask(ref, Echo(), timeout_s=30.0)
            host = system.host
            future = host.executor.submit(lambda: LOGGER.warning("a bare call"))
            await asyncio.wrap_future(future)

    asyncio.run(jobs())
    assert records.places()["a bare call"] == ("", 0)
    assert records.places()["job of /a"][0] == "/a"


def made(message: object, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    info = (type(error), error, error.__traceback__) if error is not None else None
    return logging.LogRecord("some.logger", logging.ERROR, "file.py", 1, message, args, info)


def test_a_line_has_all_of_a_record() -> None:
    record = made("step %d of %s", 3, "run")
    record.actor, record.msg_id = "/root", 41
    line = json.loads(JsonFormatter().format(record))
    when = datetime.fromisoformat(line.pop("time"))
    assert when.utcoffset() == timedelta(0)
    assert abs(when.timestamp() - record.created) < 0.002
    assert line == {
        "level": "ERROR",
        "logger": "some.logger",
        "message": "step 3 of run",
        "actor": "/root",
        "msg_id": 41,
    }


def test_a_line_has_the_error_with_its_notes() -> None:
    error = LookupError("no such shard")
    error.add_note("outside waits for /root")
    line = json.loads(JsonFormatter().format(made("failed", error=error)))
    assert "LookupError: no such shard" in line["exception"]
    assert "outside waits for /root" in line["exception"]
    assert line["notes"] == ["outside waits for /root"]


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "record",
    [
        made("two\nlines\r\x00\u2028 \U0001f600"),
        made("a file \udcff"),
        made("%d", "no number"),
        made("%s %s", "one"),
        made({"a": object()}),
        made("failed", error=UnprintableError()),
    ],
    ids=["controls", "surrogate", "type", "count", "object", "error"],
)
def test_any_text_is_one_line_of_ascii(record: logging.LogRecord) -> None:
    line = JsonFormatter().format(record)
    assert line.isascii()
    assert len(line.splitlines()) == 1
    assert json.loads(line)["logger"] == "some.logger"


@pytest.fixture
def _root_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.mark.usefixtures("_root_as_it_was")
def test_the_log_of_a_program_goes_to_a_stream() -> None:
    stream = io.StringIO()
    install_log(json_lines=True, level=logging.INFO, stream=stream)
    LOGGER.info("seen")
    LOGGER.debug("not seen")
    (line,) = stream.getvalue().splitlines()
    assert (json.loads(line)["message"], json.loads(line)["actor"]) == ("seen", "")


@pytest.mark.usefixtures("_root_as_it_was")
def test_lines_of_text_name_the_actor(capsys: pytest.CaptureFixture[str]) -> None:
    install_log()
    LOGGER.warning("outside")
    record: Any = made("inside")
    record.actor, record.msg_id = "/root/a", 7
    logging.getLogger().handle(record)
    outside, inside = capsys.readouterr().err.splitlines()
    assert outside.endswith("WARNING tests.logs: outside")
    assert inside.endswith("ERROR some.logger: inside [/root/a, message 7]")


@pytest.mark.usefixtures("_root_as_it_was")
def test_standard_error_is_the_one_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    install_log()
    display = io.StringIO()
    monkeypatch.setattr(sys, "stderr", display)
    LOGGER.warning("above the display")
    assert "above the display" in display.getvalue()
