"""The example of a web service as a process: it streams to clients of another library, Ctrl-C ends it."""

from __future__ import annotations

import asyncio
import http.client
import importlib
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crystalline.inference import Generator, complete
from crystalline.model import save_model
from crystalline.models import MODELS_VARIABLE, Store
from tests.helpers.generators import tiny_model

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICE = Path(__file__).resolve().parents[2] / "examples" / "chat_service.py"
LIMIT_S = 40

pytestmark = pytest.mark.e2e


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    """It serves a model that it was given by name."""
    model = tiny_model()
    with Store(tmp_path / "models").adding("tiny") as folder:
        save_model(folder, model.config, model.parameters.flat, model.tokenizer.to_str())
    monkeypatch.setenv(MODELS_VARIABLE, str(tmp_path / "models"))
    command = [sys.executable, "-W", "error", str(SERVICE), "tiny", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def port_of(service: subprocess.Popen[str]) -> int:
    assert service.stdout is not None
    line = service.stdout.readline()
    assert line.startswith("listening on http://127.0.0.1:"), line
    return int(line.split(":")[2].split("/")[0])


def test_it_streams_and_ctrl_c_ends_it(service: subprocess.Popen[str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port_of(service), timeout=LIMIT_S)
    connection.request("POST", "/generate", json.dumps({"prompt": "Ka", "tokens": 20, "seed": 3}))
    answer = connection.getresponse()
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
    lines = answer.read().decode().splitlines()
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line]
    assert events[-1] == {"done": True}
    assert len(events) > 10, "it comes in pieces"
    expected = complete(tiny_model(), "Ka", tokens=20, seed=3, overflow="slide").text
    assert "".join(event.get("text", "") for event in events) == expected

    hanging = http.client.HTTPConnection("127.0.0.1", connection.port, timeout=LIMIT_S)
    hanging.request("POST", "/generate", json.dumps({"prompt": "Ka", "tokens": 2000}))
    with hanging.getresponse() as begun:
        service.send_signal(signal.SIGINT)
        _, errors = service.communicate(timeout=LIMIT_S)
        assert begun.status == 200
    hanging.close()
    assert (service.returncode, errors) == (0, "")


@pytest.mark.parametrize("when", ["just before the end", "just after it"])
async def test_a_connection_that_comes_with_the_end_is_closed(
    when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(SERVICE.parent)
    service_of = importlib.import_module("chat_service").Service
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=ours)
    client, client_writer = await asyncio.open_connection(sock=theirs)
    async with Generator(tiny_model(), backend="numpy") as generator:
        service = service_of(generator, tiny_model())
        if when == "just before the end":
            service._connected(reader, writer)
            await service.close()
        else:
            await service.close()
            service._connected(reader, writer)
        async with asyncio.timeout(LIMIT_S):
            assert await client.read() == b""
    client_writer.close()
    await client_writer.wait_closed()


def test_what_it_does_not_understand_is_refused_with_the_reason(service: subprocess.Popen[str]) -> None:
    port = port_of(service)
    for body, story in {
        "no": "not JSON",
        "[1]": "no object with",
        '{"prompt": "a", "more": 1}': "no object with",
        '{"prompt": true}': "prompt cannot be true",
        '{"prompt": "a", "stop": [1]}': "a list of texts",
        '{"messages": []}': "messages is empty",
        '{"messages": ["a"]}': "a list of",
        '{"messages": [{"role": "user"}]}': "a list of",
        '{"messages": [{"content": "a"}]}': "a list of",
        '{"messages": [{"role": "user", "content": 3}]}': "a list of",
        '{"messages": [{"role": "user", "content": "a"}]}': "no chat template",
        "{}": "either prompt or messages",
        '{"prompt": "a", "tokens": 0}': "tokens is 0",
        '{"prompt": "a", "temperature": -1}': "temperature is -1",
        '{"prompt": "a", "seed": 99999999999999999999}': "below 2",
        '{"prompt": "a", "temperature": 1%s}' % ("0" * 400): "far too large",
        '{"prompt": "a", "stop": ["\\ud800"]}': "cannot be sent",
        '{"prompt": "a", "stop": ["%s"]}' % ("x" * 60_000): "cannot be sent",
    }.items():
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
        connection.request("POST", "/generate", body)
        answer = connection.getresponse()
        assert answer.status == 400
        assert story in json.loads(answer.read())["error"]
        connection.close()
    assert service.poll() is None


def test_what_keeps_it_from_serving_is_one_line(service: subprocess.Popen[str]) -> None:
    port = port_of(service)
    for words, story in {
        ("tiny", "--port", str(port)): "address already in use",
        ("tiny", "--port", "99999"): "port",
        ("tiny", "--host", "256.256.256.256"): "",
        ("other",): "no model 'other' in",
        ("./nothing",): "there is no folder nothing",
        (str(SERVICE),): "neither a model folder nor a GGUF file",
    }.items():
        command = [sys.executable, "-W", "error", str(SERVICE), *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
        assert done.stderr.startswith("error: ")
        assert story in done.stderr
