"""What signals and clients that leave do to a server in a process of its own."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from tests.places import ROOT

pytestmark = pytest.mark.servers


class Served:
    """A running server, its address, and its log so far."""

    def __init__(self, seconds: float, within: float) -> None:
        command = [sys.executable, "-m", "tests.serve_slowly", str(seconds), str(within)]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, encoding="utf-8"
        )
        self.log: list[dict[str, Any]] = []
        threading.Thread(target=self._read, daemon=True).start()
        self.until(lambda: "Uvicorn running" in str(self.log))
        [self.address] = re.findall(r"http://127\.0\.0\.1:\d+", str(self.log))

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(json.loads(line))

    def until(self, holds: Callable[[], bool], seconds: float = 20) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, self.log
            time.sleep(0.02)

    def ask(self) -> httpx2.Response:
        return httpx2.post(f"{self.address}/predict", data={"text": "x"}, timeout=20)

    def metric(self, name: str) -> float:
        text = httpx2.get(f"{self.address}/metrics").text
        return float(re.findall(rf"^{name} (\S+)$", text, re.MULTILINE)[0])


@pytest.fixture
def serve() -> Iterator[Callable[[float, float], Served]]:
    started: list[Served] = []

    def start(seconds: float, within: float) -> Served:
        started.append(Served(seconds, within))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


def test_told_to_stop_it_answers_what_it_has_takes_no_more_and_ends_with_0(
    serve: Callable[[float, float], Served],
) -> None:
    own = serve(2.0, 20.0)
    with ThreadPoolExecutor(2) as pool:
        taken = [pool.submit(own.ask) for _ in range(2)]
        own.until(lambda: own.metric("sentifuse_queue_pairs") == 1)
        own.process.send_signal(signal.SIGTERM)
        own.until(lambda: httpx2.get(f"{own.address}/health").status_code == 503)
        refused = own.ask()
        answers = [each.result() for each in taken]
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert [each.status_code for each in answers] == [200, 200]
    assert own.process.wait(10) == 0
    asked = [each["status"] for each in own.log if each.get("path") == "/predict"]
    assert sorted(asked) == [200, 200, 503]


def test_it_does_not_wait_longer_than_it_was_told_and_ends_with_1(
    serve: Callable[[float, float], Served],
) -> None:
    own = serve(60.0, 0.2)
    with ThreadPoolExecutor(1) as pool:
        begun = pool.submit(own.ask)
        own.until(lambda: own.metric("sentifuse_batch_pairs_count") == 1)
        own.process.send_signal(signal.SIGTERM)
        assert own.process.wait(15) == 1
        assert isinstance(begun.exception(), httpx2.HTTPError) or begun.result().status_code >= 500
    assert "with pairs in work" in own.log[-1]["message"]


def test_what_a_client_that_left_asked_for_is_not_computed(
    serve: Callable[[float, float], Served],
) -> None:
    own = serve(3.0, 20.0)
    port = int(own.address.rpartition(":")[2])
    body = b"text=x"
    head = (
        f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    )
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(own.ask)
        own.until(lambda: own.metric("sentifuse_batch_pairs_count") == 1)
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(head.encode() + body)
            own.until(lambda: own.metric("sentifuse_queue_pairs") == 1)
        own.until(lambda: own.metric("sentifuse_queue_pairs") == 0)
        assert first.result().status_code == 200
    own.process.send_signal(signal.SIGTERM)
    assert own.process.wait(10) == 0
    asked = [each["status"] for each in own.log if each.get("path") == "/predict"]
    assert asked == [499, 200]
