"""What one request may cost: bytes, pixels, characters, seconds, and a place in the queue."""

import asyncio
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The status of a request whose client left before its answer; nobody reads it but logs and metrics.
CLIENT_LEFT = 499


@dataclass(frozen=True)
class Limits:
    """The limits; each is 1 or more, but `queue` and `delay` may be 0.

    Attributes:
        upload_bytes: of a request.
        pixels: of its image.
        text_characters: of its text.
        seconds: that a request has to arrive, and again to be answered, its time in the queue included.
        workers: threads that predict; each has one batch at a time.
        queue: pairs that may wait while all workers are busy.
        batch: pairs that a worker predicts together.
        delay: seconds that a pair waits for others while a worker is free.
    """

    upload_bytes: int
    pixels: int
    text_characters: int
    seconds: float
    workers: int
    queue: int
    batch: int
    delay: float


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
            # The connection stays open: a client that is still sending would not read the answer otherwise.
            await JSONResponse({"detail": too_large}, 413)(scope, receive, send)
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
