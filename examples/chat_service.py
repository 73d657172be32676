"""A web service around a model, on nothing but asyncio: many clients at once, each sees its text as it comes.

    python examples/chat_service.py MODEL --port 8000       serve a model, by path or name, until Ctrl-C
    curl -N localhost:8000/generate -d '{"prompt": "Once", "tokens": 50}'
    python examples/chat_service.py                         show all this with a tiny model, and end

`POST /generate` takes a JSON object with `prompt`, or with `messages` for a model that has a chat template,
and with `tokens`, `temperature`, `seed` and `stop` if wanted. It answers with server-sent events:
`{"text": ...}` for each piece, then `{"done": true}`, or `{"error": ...}` if something broke on the way.

What matters here: a client that goes away (or closes its sending side) ends its request, so that its place is
free at the next step; when the generator's queue is full a client hears 503 at once; what a client sends is
bounded in size and time; each address is a caller of its own, so that one that sends hundreds of requests
keeps nobody out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crystalline.data import Corpus
from crystalline.errors import CrystallineError, InputError, QueueFull
from crystalline.inference import Generator, SamplingOptions, TextModel
from crystalline.inference.chat_template import render
from crystalline.model import ModelConfig
from crystalline.models import reading_model
from crystalline.training import TrainConfig, Trainer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from crystalline.inference import Piece

HEAD_BYTES_MAX = 16 * 1024
BODY_BYTES_MAX = 64 * 1024
TOKENS_MAX = 2_000
CONNECTIONS_MAX = 500
READ_S = 10.0  # a request must have arrived by then
LINGER_S = 1.0
WRITE_S = 30.0  # a client that does not read for so long is gone

STREAMED = {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}
REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    411: "Length Required",
    413: "Content Too Large",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "HTTP Version Not Supported",
}


# What a request may have, and of which kind.
KINDS = {
    "prompt": str,
    "messages": list,
    "tokens": int,
    "temperature": int | float,
    "seed": int,
    "stop": list,
}


class Refusal(Exception):
    """A request that is answered with a status other than 200."""

    def __init__(self, status: int, story: str, **headers: str) -> None:
        super().__init__(story)
        self.status = status
        self.headers = headers


@contextmanager
def refused() -> Iterator[None]:
    """What the model's side cannot use is the client's mistake."""
    try:
        yield
    except InputError as error:
        raise Refusal(400, str(error)) from None


# What a client sends: bytes in, a request or a Refusal out


@dataclass(frozen=True)
class Head:
    method: str
    path: str
    headers: dict[str, str]


def parse_head(data: bytes) -> Head:
    lines = data.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    match lines[0].split(" "):
        case [method, target, version] if method.isalpha() and target.startswith("/"):
            pass
        case _:
            raise Refusal(400, "the first line is no HTTP request")
    if version != "HTTP/1.1":
        raise Refusal(505 if version.startswith("HTTP/") else 400, "this service speaks HTTP/1.1")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            raise Refusal(400, "a header has no name, or is folded over lines")
        if name.lower() in headers and name.lower() in {"content-length", "transfer-encoding", "host"}:
            raise Refusal(400, f"{name} is there twice")
        headers[name.lower()] = value.strip()
    if "host" not in headers:
        raise Refusal(400, "there is no Host")
    return Head(method, target.partition("?")[0], headers)


def body_length(head: Head) -> int:
    if head.path != "/generate":
        raise Refusal(404, "there is /generate, and nothing else")
    if head.method != "POST":
        raise Refusal(405, "/generate takes POST", Allow="POST")
    if "transfer-encoding" in head.headers:
        raise Refusal(501, "send the body in one piece, with a Content-Length")
    length = head.headers.get("content-length")
    if length is None:
        raise Refusal(411, "there is no Content-Length")
    if not (length.isascii() and length.isdigit()):
        raise Refusal(400, "the Content-Length is no number")
    if len(length) > len(str(BODY_BYTES_MAX)) or int(length) > BODY_BYTES_MAX:
        raise Refusal(413, f"the body may have {BODY_BYTES_MAX} bytes")
    return int(length)


def parse_body(body: bytes, model: TextModel) -> dict[str, Any]:
    """What to ask the generator for."""
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, f"the body is not JSON: {error}") from None
    if not isinstance(asked, dict) or not asked.keys() <= KINDS.keys():
        raise Refusal(400, f"the body is no object with {', '.join(KINDS)}")
    for name, value in asked.items():
        if not isinstance(value, KINDS[name]) or isinstance(value, bool):
            raise Refusal(400, f"{name} cannot be {json.dumps(value)[:40]}")
    if ("prompt" in asked) == ("messages" in asked):
        raise Refusal(400, "send either prompt or messages")
    if not all(isinstance(text, str) for text in asked.get("stop", [])):
        raise Refusal(400, "stop is a list of texts")
    options: dict[str, Any] = {
        "prompt": asked["prompt"] if "prompt" in asked else conversation(asked["messages"], model),
        "tokens": min(asked.get("tokens", 200), TOKENS_MAX),
        "seed": asked.get("seed", 0),
        "stop": asked.get("stop", []),
        "overflow": "slide",
    }
    with refused():
        options["options"] = SamplingOptions(temperature=asked.get("temperature", 0.8))
    return options


def conversation(messages: Sequence[Any], model: TextModel) -> list[int]:
    if not messages:
        raise Refusal(400, "messages is empty: send one at least")
    if not all(is_message(each) for each in messages):
        raise Refusal(400, 'messages is a list of {"role": ..., "content": ...}, all of them texts')
    text = model.text
    if text.chat_template is None:
        raise Refusal(400, "this model has no chat template: send a prompt")
    with refused():
        asked = render(text.chat_template, messages, begin_token=text.begin_token, end_token=text.end_token)
        return model.encode(asked, special=True)


def is_message(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and {"role", "content"} <= value.keys()
        and all(isinstance(each, str) for each in value.values())
    )


# Connections


class Service:
    """Answers clients with what a generator says."""

    def __init__(self, generator: Generator, model: TextModel) -> None:
        self._generator = generator
        self._model = model
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._closed = False

    async def serve(self, host: str, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._connected, host, port, limit=HEAD_BYTES_MAX)

    async def close(self) -> None:
        self._closed = True
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closed:  # it was accepted just before the server was closed
            writer.transport.abort()
            return
        task = asyncio.get_running_loop().create_task(self._converse(reader, writer))
        self._connections[task] = writer
        task.add_done_callback(self._gone)

    def _gone(self, task: asyncio.Task[None]) -> None:
        self._connections.pop(task).close()  # a task that is cancelled before its first step closes nothing

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, one request: a client that wants more opens another one."""
        try:
            await self._answer(reader, writer)
        except Refusal as refusal:
            with suppress(OSError, TimeoutError):
                await refuse(writer, refusal)
                async with asyncio.timeout(LINGER_S):  # what is never read would take the answer away
                    await gone(reader)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            pass  # the client is gone
        finally:
            writer.close()
            with suppress(OSError, TimeoutError):
                await asyncio.wait_for(writer.wait_closed(), 1.0)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) > CONNECTIONS_MAX:
            raise Refusal(503, "too many connections", **{"Retry-After": "1"})
        options = await self._read(reader, writer)
        address = str(writer.get_extra_info("peername", ("",))[0])
        with refused():
            stream = self._generator.stream(**options, caller=address)
        answering = asyncio.current_task()
        if answering is None:
            raise RuntimeError("an answer is given in a task")
        watching = asyncio.create_task(gone(reader))
        watching.add_done_callback(lambda task: task.cancelled() or answering.cancel())
        try:
            async with aclosing(stream) as pieces:
                await write_events(writer, pieces)
        except asyncio.CancelledError:
            if watching.done() and not watching.cancelled():
                raise ConnectionResetError from None  # the client's end, not the service's
            raise
        finally:
            watching.cancel()
            await asyncio.wait([watching])  # a connection has one reader

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> dict[str, Any]:
        try:
            async with asyncio.timeout(READ_S):
                head = parse_head(await reader.readuntil(b"\r\n\r\n"))
                length = body_length(head)
                if head.headers.get("expect", "").lower() == "100-continue":
                    writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                body = await reader.readexactly(length)
        except asyncio.LimitOverrunError:
            raise Refusal(431, f"the head of a request may have {HEAD_BYTES_MAX} bytes") from None
        except TimeoutError:
            raise Refusal(408, f"the request was not complete after {READ_S:g} s") from None
        return parse_body(body, self._model)


async def gone(reader: asyncio.StreamReader) -> None:
    """Return when the client has hung up. What else it sends is nobody's business."""
    with suppress(OSError):
        while await reader.read(1024):
            pass


async def write_events(writer: asyncio.StreamWriter, pieces: AsyncIterator[Piece]) -> None:
    """Write an answer, in chunks, as it comes. The status is known when the first piece is there."""
    begun = False
    try:
        async for piece in pieces:
            if not begun:
                begun = True
                write_head(writer, 200, **STREAMED)
            if piece.text:
                await write_event(writer, {"text": piece.text})
        if not begun:
            write_head(writer, 200, **STREAMED)
        await write_event(writer, {"done": True})
    except CrystallineError as error:
        if not begun and isinstance(error, QueueFull):
            raise Refusal(503, str(error), **{"Retry-After": "1"}) from None
        if not begun:
            raise Refusal(400 if isinstance(error, InputError) else 500, str(error)) from None
        await write_event(writer, {"error": str(error)})
    writer.write(b"0\r\n\r\n")
    await flush(writer)


async def write_event(writer: asyncio.StreamWriter, event: dict[str, Any]) -> None:
    data = f"data: {json.dumps(event)}\n\n".encode()
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))
    await flush(writer)


async def flush(writer: asyncio.StreamWriter) -> None:
    async with asyncio.timeout(WRITE_S):
        await writer.drain()


def write_head(writer: asyncio.StreamWriter, status: int, **headers: str) -> None:
    lines = [f"HTTP/1.1 {status} {REASONS[status]}", "Connection: close", "Cache-Control: no-store"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))


async def refuse(writer: asyncio.StreamWriter, refusal: Refusal) -> None:
    body = json.dumps({"error": str(refusal)}).encode()
    length = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    write_head(writer, refusal.status, **length, **refusal.headers)
    writer.write(body)
    await flush(writer)


# The program


def opened(name: str) -> TextModel:
    """A model by its path, or by its name in the models folder."""
    with reading_model(name) as path:
        return TextModel.load(path)


async def serve(name: str, host: str, port: int) -> None:
    model = await asyncio.to_thread(opened, name)
    async with Generator(model) as generator:
        service = Service(generator, model)
        server = await service.serve(host, port)
        port = server.sockets[0].getsockname()[1]
        print(f"listening on http://{host}:{port}/generate, Ctrl-C ends", flush=True)
        try:
            await asyncio.get_running_loop().create_future()  # until Ctrl-C
        finally:
            server.close()
            await service.close()
            await server.wait_closed()  # for the connections, since Python 3.12: they go first


async def post(port: int, body: str | dict[str, Any], *, head: str = "", leave_after: int = -1) -> str:
    """A client: the whole answer, or as much as was there before it left."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    data = (body if isinstance(body, str) else json.dumps(body)).encode()
    head = head or f"POST /generate HTTP/1.1\r\nHost: here\r\nContent-Length: {len(data)}\r\n\r\n"
    writer.write(head.encode() + data)
    answer = (await reader.read(leave_after)).decode()
    writer.close()
    await writer.wait_closed()
    return answer


def text_of(answer: str) -> str:
    events = [json.loads(line[6:]) for line in answer.splitlines() if line.startswith("data: ")]
    return "".join(event.get("text", "") for event in events)


async def show() -> None:
    """Train a tiny model for a moment, and be its clients."""
    corpus = Corpus.from_paths([Path(__file__).parent.parent / "docs"])
    config = ModelConfig(vocab_size=512, dim=32, layers=2, heads=4, seq_len=64)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        settings = TrainConfig(spheres=2, steps=30, batch_size=24)
        async with Trainer(config, settings, corpus, out=run) as trainer:
            await trainer.fit()
        model = TextModel.load(run)
    async with Generator(model, slots=4, queue=8, backend="numpy") as generator:
        service = Service(generator, model)
        async with await service.serve("127.0.0.1", 0) as server:
            try:
                await be_clients(server.sockets[0].getsockname()[1], generator)
            finally:
                await service.close()


async def be_clients(port: int, generator: Generator) -> None:
    ask = {"prompt": "The actor ", "tokens": 20, "seed": 1}
    alone = text_of(await post(port, ask))
    print(f"one client hears: {alone!r}")
    answers = await asyncio.gather(*(post(port, ask) for _ in range(8)))
    print(f"eight clients at once hear the same: {all(text_of(answer) == alone for answer in answers)}")

    many = await asyncio.gather(*(post(port, {**ask, "tokens": 40}) for _ in range(60)))
    full = sum(answer.startswith("HTTP/1.1 503") for answer in many)
    whole = sum('{"done": true}' in answer for answer in many)
    print(f"of many at once some find the queue full: {min(full, whole) > 0 and full + whole == len(many)}")

    began = await post(port, {**ask, "tokens": 2000}, leave_after=1)
    for _ in range(500):
        if not generator.statistics().running:
            break
        await asyncio.sleep(0.01)
    forgotten = generator.statistics().ended.get("cancelled") == 1
    print(f"one that hangs up is forgotten: {began == 'H' and forgotten}")

    host, length = "Host: here\r\n", "Content-Length: 0\r\n"
    for head, body in {
        f"GET /generate HTTP/1.1\r\n{host}\r\n": "",
        f"POST /elsewhere HTTP/1.1\r\n{host}{length}\r\n": "",
        f"POST /generate HTTP/1.1\r\n{host}Content-Length: 99999\r\n\r\n": "",
        f"POST /generate HTTP/1.1\r\n{host}\r\n": "",
        "POST /generate HTTP/1.1\r\nHost: " + "x" * HEAD_BYTES_MAX + "\r\n\r\n": "",
        "nonsense\r\n\r\n": "",
        "": '{"prompt": 3}',
    }.items():
        answer = await post(port, body, head=head)
        print(f"{(head or body).splitlines()[0][:40]} -> {answer.splitlines()[0]}")


def main() -> None:
    parser = argparse.ArgumentParser(description="A web service around a model.")
    parser.add_argument(
        "model",
        nargs="?",
        help="a path, or a name in the models folder ($CRYSTALLINE_MODELS, else ./models); without one, a "
        "tiny model shows itself",
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args()
    try:
        asyncio.run(show() if given.model is None else serve(given.model, given.host, given.port))
    except KeyboardInterrupt:
        pass
    except (CrystallineError, OSError, OverflowError) as error:  # the last for a port beyond all ports
        sys.exit(failed(error))


def failed(error: Exception) -> int:
    """Say in one line why it cannot go on; the exit code."""
    print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
