import asyncio
from collections.abc import Awaitable, Callable

import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from sentifuse.deploy.serving.limits import BodyLimit, Limits


def limits(**changes: float) -> Limits:
    values = {"upload_bytes": 10, "pixels": 1, "text_characters": 1, "seconds": 5.0}
    load = {"workers": 1, "queue": 0, "batch": 1, "delay": 0.0}
    return Limits(**{**values, **load, **changes})  # type: ignore[arg-type]


def run(check: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await check()

    asyncio.run(main())


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
