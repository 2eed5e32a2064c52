"""What one request may cost: bytes, pixels, characters, seconds, and a place in the queue."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """The limits; each is 1 or more, but `queue` may be 0.

    A request has `seconds` to arrive, and again to be answered, including its time in the queue. There is one
    thread per worker.
    """

    upload_bytes: int
    pixels: int
    text_characters: int
    seconds: float
    workers: int
    queue: int


class Workers:
    """Threads that work off a short queue."""

    def __init__(self, limits: Limits) -> None:
        self._seconds = limits.seconds
        self._pool = ThreadPoolExecutor(limits.workers, thread_name_prefix="predict")
        self._places = threading.BoundedSemaphore(limits.workers + limits.queue)

    async def run(self, function: Callable[[], T]) -> T:
        """Calls `function` in a thread and waits for it.

        A thread cannot be stopped: a call that is late keeps its worker until it ends, so that late calls
        do not pile up.

        Raises:
            HTTPException: 503 if all workers are busy and the queue is full, 504 if the call takes too long.
        """
        if not self._places.acquire(blocking=False):
            raise HTTPException(503, "busy: try again in a second", {"Retry-After": "1"})
        work = self._pool.submit(function)
        work.add_done_callback(lambda _: self._places.release())
        try:
            return await asyncio.wait_for(asyncio.wrap_future(work), self._seconds)
        except TimeoutError:
            raise HTTPException(504, f"no answer within {self._seconds:g} s") from None


class BodyLimit:
    """ASGI middleware: 413 for a body that is too large, 408 for one that takes too long to arrive."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits = app, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        most = self._limits.upload_bytes
        too_large = f"the request has more than {most} bytes"
        lengths = [value for name, value in scope["headers"] if name == b"content-length"]
        if any(not value.isdigit() or int(value) > most for value in lengths):
            answer = JSONResponse({"detail": too_large}, 413, {"Connection": "close"})
            await answer(scope, receive, send)
            return
        deadline = asyncio.get_running_loop().time() + self._limits.seconds
        seen, complete = 0, False

        async def counted() -> Message:
            nonlocal seen, complete
            if complete:  # what comes now tells that the client has left
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408, "the request took too long to arrive") from None
            seen += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if seen > most:
                raise HTTPException(413, too_large)
            return message

        await self._app(scope, counted, send)
