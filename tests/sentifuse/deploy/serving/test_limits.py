import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable

import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from sentifuse.deploy.serving.limits import BodyLimit, Limits, Workers


def limits(**changes: float) -> Limits:
    values = {"upload_bytes": 10, "pixels": 1, "text_characters": 1, "seconds": 5.0}
    return Limits(**{**values, "workers": 1, "queue": 0, **changes})  # type: ignore[arg-type]


def run(check: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await check()

    asyncio.run(main())


def test_a_worker_answers() -> None:
    async def check() -> None:
        assert await Workers(limits()).run(lambda: 7) == 7

    run(check)


def test_what_a_worker_raises_is_raised() -> None:
    async def check() -> None:
        workers = Workers(limits())
        for _ in range(3):  # and leaves its place
            with pytest.raises(ZeroDivisionError):
                await workers.run(lambda: 1 // 0)

    run(check)


def test_a_full_queue_is_busy_until_a_place_is_free() -> None:
    async def check() -> None:
        workers, go = Workers(limits(workers=2, queue=1)), threading.Event()
        running = [asyncio.create_task(workers.run(go.wait)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(HTTPException, match="503"):
            await workers.run(lambda: True)
        go.set()
        assert await asyncio.gather(*running) == [True] * 3
        assert await workers.run(lambda: True)

    run(check)


def test_a_late_call_keeps_its_worker_until_it_ends() -> None:
    async def check() -> None:
        workers, go = Workers(limits(seconds=0.05)), threading.Event()
        with pytest.raises(HTTPException, match="504"):
            await workers.run(go.wait)
        with pytest.raises(HTTPException, match="503"):
            await workers.run(lambda: True)
        go.set()
        end = time.monotonic() + 5
        while time.monotonic() < end:
            await asyncio.sleep(0.01)
            with contextlib.suppress(HTTPException):
                assert await workers.run(lambda: True)
                return
        raise AssertionError("the worker did not come back")

    run(check)


def test_a_call_that_is_late_in_the_queue_is_never_started() -> None:
    async def check() -> None:
        workers, go, started = Workers(limits(seconds=0.1, queue=1)), threading.Event(), []
        first = asyncio.create_task(workers.run(go.wait))
        await asyncio.sleep(0)
        with pytest.raises(HTTPException, match="504"):
            await workers.run(lambda: started.append(1))
        with pytest.raises(HTTPException, match="504"):
            await first
        go.set()
        await asyncio.sleep(0.1)
        assert started == []

    run(check)


async def read_all(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that reads its request."""
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def ask(parts: list[bytes], headers: list[tuple[bytes, bytes]], **changes: float) -> int:
    sent: list[Message] = []
    left = list(parts)

    async def receive() -> Message:
        if not left:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {"type": "http", "headers": headers}
    await BodyLimit(read_all, limits(**changes))(scope, receive, send)
    return int(sent[0]["status"])


@pytest.mark.parametrize(("length", "status"), [(b"10", 200), (b"11", 413), (b"x", 413)])
def test_a_length_that_is_told_is_refused_unread(length: bytes, status: int) -> None:
    async def check() -> None:
        assert await ask([b"0123456789"], [(b"content-length", length)]) == status

    run(check)


def test_a_length_that_is_not_told_is_counted() -> None:
    async def check() -> None:
        assert await ask([b"01234", b"56789"], []) == 200
        with pytest.raises(HTTPException) as error:
            await ask([b"01234", b"56789", b"0"], [])
        assert error.value.status_code == 413

    run(check)


def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async def check() -> None:
        with pytest.raises(HTTPException) as error:
            await ask([], [], seconds=0.05)
        assert error.value.status_code == 408

    run(check)
