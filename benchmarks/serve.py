"""The server under load: rate and latency at 1, 8 and 64 clients, nothing lost, memory, refusals.

The models are those of `benchmarks.export`. Each is served as `serve` does by default, and beside that by one
worker without batches, which is what a server does that answers one request at a time. A client sends its
next request when it has the answer to the last one. The clients run on the same cores as the server.
"""

import asyncio
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import httpx2
import numpy as np

from benchmarks import export
from benchmarks.measurement import Measurement
from sentifuse.deploy.exporting import samples
from sentifuse.deploy.opening import open_model
from sentifuse.runtime.files import write_text

_CLIENTS = (1, 8, 64)
_REQUESTS = {1: 48, 8: 128, 64: 256}
_ONE_AT_A_TIME = ("--workers", "1", "--max-batch", "1", "--queue", "64")
_TOLERANCE = 1e-5
_REFUSALS = {400, 401, 403, 408, 413, 415, 422, 503, 504}


@dataclass(frozen=True)
class _Request:
    """What to post to `/predict`, and the probabilities or the status that it must get."""

    text: str
    image: bytes | None = None
    expected: Mapping[str, float] | int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Answer:
    """Its status, whether it is the right one, and its seconds; a request without an answer is status 0."""

    status: int
    right: bool
    seconds: float


def measure(work: Path, *, short: bool) -> list[Measurement]:
    """Rates and latencies of all models, then memory and refusals of the export in fp32."""
    folders = export.folders(work)
    found: list[Measurement] = []
    for name in ("fp32", "int8", "torch"):
        found += _under_load(name, folders[name], work, short=short)
    found.append(_memory(folders["fp32"], work, short=short))
    found.append(_refused(folders["fp32"], work))
    return found


def _under_load(name: str, folder: Path, work: Path, *, short: bool) -> list[Measurement]:
    requests = _requests(folder)
    answers: dict[tuple[str, int], tuple[float, list[_Answer]]] = {}
    with (
        _serving(folder, work / "ours.log") as ours,
        _serving(folder, work / "plain.log", *_ONE_AT_A_TIME) as plain,
    ):
        for clients in _CLIENTS:
            count = clients if short else _REQUESTS[clients]
            for server, address in (("ours", ours), ("plain", plain)):
                _load(address, requests[:4], 2)  # warm
                start = time.perf_counter()
                got = _load(address, list(islice(cycle(requests), count)), clients)
                answers[server, clients] = count / (time.perf_counter() - start), got
    found = []
    for clients in _CLIENTS:
        (rate, own), (plain_rate, others) = (answers[each, clients] for each in ("ours", "plain"))
        at = f"{clients} client{'s' * (clients > 1)}, {name}"
        found.append(_told(f"requests, {at}", rate, plain_rate, "requests/s"))
        for share in (50, 99):
            own_ms, plain_ms = (_percentile(got, share) for got in (own, others))
            found.append(_told(f"latency p{share}, {at}", own_ms, plain_ms, "ms"))
    everything = [each for _, got in answers.values() for each in got]
    found.append(_nothing_lost(name, everything))
    return found


def _nothing_lost(name: str, answers: Sequence[_Answer]) -> Measurement:
    """Each request has the right answer for its pair, or is told that there is no place or no time."""
    refused = sum(each.status in (503, 504) for each in answers)
    right, sent = sum(each.right for each in answers), len(answers) - refused
    what = f"right answers, {name}; {refused} more were told 503 or 504"
    return Measurement("serve", what, "requests sent", right, sent, "", right / sent, 1.0)


def _memory(folder: Path, work: Path, *, short: bool) -> Measurement:
    """The server's memory after 10,000 requests beside that after 2,000: pairs, texts alone, refusals."""
    whole = _requests(folder)
    predictor = open_model(folder, threads=1)
    texts = [
        _Request(each.text, None, predictor.predict(text=each.text).probabilities)
        for each in whole
        if each.text and not each.text.startswith("http")
    ]
    bad = [_Request("what a day", b"no picture", 422), _Request("x" * 3000, None, 422)]
    mixed = [each for three in zip(whole, cycle(texts), cycle(bad), strict=False) for each in three]
    least, most = (10, 50) if short else (2_000, 10_000)
    with _serving(folder, work / "memory.log") as address:
        following = cycle(mixed)
        got = _load(address, list(islice(following, least)), 8)
        before = _resident(address)
        got += _load(address, list(islice(following, most - least)), 8)
        after = _resident(address)
    wrong = Counter(each.status for each in got if not each.right)
    if wrong or len(got) != most:
        raise RuntimeError(f"{len(got)} of {most} answers; wrong ones by status: {wrong}")
    return Measurement(
        "serve",
        f"memory after {most:,} requests",
        f"after {least:,}",
        after,
        before,
        "MiB",
        after / before,
        1.05,
        "less",
    )


def _refused(folder: Path, work: Path) -> Measurement:
    """Every refusal has its status, and says in its `detail` what is wrong."""
    token = work / "token"
    write_text(token, "s3cret")
    token.chmod(0o600)
    options = ("--token-file", str(token), "--timeout", "0.5", "--workers", "1", "--max-batch", "1")
    known = {"Authorization": "Bearer s3cret"}
    picture = samples.made().pairs[0].image
    assert isinstance(picture, bytes)
    with _serving(folder, work / "refused.log", *options, "--queue", "20") as address:
        pair = _Request("what a day", picture, 200, known)
        got = _load(address, [pair] * 64, 64)  # too many at once, and too slow for the last of them
        for headers in (
            {**known, "Host": "evil.example"},
            {},
            {**known, "Origin": "http://evil.example"},
        ):
            got += _load(address, [_Request("what a day", None, 200, headers)], 1)
        got += _load(address, [_Request("x" * 3000, None, 422, known)], 1)
        got += _load(address, [_Request("x", bytes(11_000_000), 413, known)], 1)
        post = {"url": f"{address}/predict", "headers": known}
        statuses = [
            httpx2.post(**post, json={"text": "x"}).status_code,  # type: ignore[arg-type]
            _slow_body(address, known),
        ]
    seen = _REFUSALS & {*statuses, *(each.status for each in got)}
    return Measurement(
        "serve",
        "refusals seen, each with its status: " + ", ".join(map(str, sorted(seen))),
        "those there are",
        len(seen),
        len(_REFUSALS),
        "",
        len(seen) / len(_REFUSALS),
        1.0,
    )


def _slow_body(address: str, headers: Mapping[str, str]) -> int:
    def body() -> Iterator[bytes]:
        yield b"text="
        time.sleep(1.5)
        yield b"x"

    form = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
    return httpx2.post(f"{address}/predict", content=body(), headers=form, timeout=10).status_code


def _requests(folder: Path) -> list[_Request]:
    """The made pairs, each with what the model says of it alone."""
    predictor = open_model(folder, threads=1)
    found = []
    for pair in samples.made().pairs:
        assert isinstance(pair.image, bytes)
        alone = predictor.predict(pair.image, pair.text).probabilities
        found.append(_Request(pair.text or "", pair.image, alone))
    return found


@contextmanager
def _serving(folder: Path, log: Path, *options: str) -> Iterator[str]:
    """The address of a server; when it is told to stop it must end with status 0."""
    command = [sys.executable, "-m", "sentifuse", "serve", "--model", str(folder), "--port", "0"]
    with log.open("wb") as file:
        process = subprocess.Popen([*command, "--log", "json", *options], stderr=file)
    try:
        while not (found := re.search(r"running on (http://\S+)", log.read_text())):
            if process.poll() is not None:
                raise RuntimeError(f"the server ended: {log.read_text()[-2000:]}")
            time.sleep(0.1)
        yield found[1]
    finally:
        process.terminate()
        status = process.wait(60)
    if status != 0:
        raise RuntimeError(f"the server ended with status {status}")


def _load(address: str, requests: Sequence[_Request], clients: int) -> list[_Answer]:
    """Sends all of them from `clients` clients; gives the answers in the order in which they came."""
    return asyncio.run(_ask_all(address, requests, clients))


async def _ask_all(address: str, requests: Sequence[_Request], clients: int) -> list[_Answer]:
    left, answers = iter(requests), []
    limits = httpx2.Limits(max_connections=clients)
    async with httpx2.AsyncClient(base_url=address, timeout=300, limits=limits) as client:

        async def work() -> None:
            for request in left:
                answers.append(await _ask(client, request))

        await asyncio.gather(*(work() for _ in range(clients)))
    return answers


async def _ask(client: httpx2.AsyncClient, request: _Request) -> _Answer:
    files = None if request.image is None else {"image": request.image}
    start = time.perf_counter()
    try:
        got = await client.post(
            "/predict", data={"text": request.text}, files=files, headers=dict(request.headers)
        )
    except httpx2.HTTPError:
        return _Answer(0, False, time.perf_counter() - start)
    seconds = time.perf_counter() - start
    return _Answer(got.status_code, _is_right(got, request.expected), seconds)


def _is_right(got: httpx2.Response, expected: Mapping[str, float] | int) -> bool:
    told: dict[str, Any] = got.json()
    if isinstance(expected, int):
        return got.status_code == expected and ("detail" in told or expected == 200)
    if got.status_code != 200:
        return False
    return all(
        abs(told["probabilities"][label] - share) <= _TOLERANCE for label, share in expected.items()
    )


def _resident(address: str) -> float:
    """The memory of the server, in MiB."""
    text = httpx2.get(f"{address}/metrics").text
    [value] = re.findall(r"^process_resident_memory_bytes (\S+)$", text, re.MULTILINE)
    return float(value) / 2**20


def _percentile(answers: Sequence[_Answer], share: int) -> float:
    """In milliseconds."""
    return 1000 * float(np.percentile([each.seconds for each in answers], share))


def _told(what: str, ours: float, theirs: float, unit: str) -> Measurement:
    return Measurement(
        part="serve",
        what=what,
        reference="one worker, one request at a time",
        ours=ours,
        theirs=theirs,
        unit=unit,
        ratio=ours / theirs,
        target=None,
        better="less" if unit == "ms" else "more",
    )
