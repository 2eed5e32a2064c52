"""One line of the log, and one count, for each request: no texts, no pictures, no tokens."""

import logging
import re
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sentifuse.deploy.serving.metrics import Metrics

LOG = logging.getLogger("sentifuse.serve")
_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
_PATH_CHARACTERS = 100


@dataclass
class _Seen:
    """What is known of a request so far: its id, when it began, the status and the bytes in and out."""

    name: str
    start: float
    status: int = 0
    received: int = 0
    sent: int = 0


class Observing:
    """ASGI middleware: gives each request an id, counts it and logs it, whatever becomes of it.

    An exception that nobody expected is logged with its traceback and answered with 500.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Collection[str]) -> None:
        """Takes `paths`, those that metrics tell apart."""
        self._app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        seen = _Seen(given if _ID.fullmatch(given) else uuid.uuid4().hex, time.perf_counter())
        scope.setdefault("state", {})  # where the size of the batch will be

        async def counted() -> Message:
            message = await receive()
            seen.received += len(message.get("body", b""))
            return message

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = seen.name
            seen.sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, counted, named)
        except Exception:
            LOG.exception("request %s", seen.name)
            if not seen.status:
                detail = f"a mistake of the server: its log has more of request {seen.name}"
                await JSONResponse({"detail": detail}, 500)(scope, receive, named)
        finally:
            self._tell(scope, seen)

    def _tell(self, scope: Scope, seen: _Seen) -> None:
        seconds, path = time.perf_counter() - seen.start, scope["path"]
        known = path if path in self._paths else "other"
        self._metrics.request_ended(known, seen.status, seconds)
        told = {
            "method": scope["method"],
            "path": path[:_PATH_CHARACTERS],
            "status": seen.status,
            "milliseconds": round(1000 * seconds, 1),
            "bytes_in": seen.received,
            "bytes_out": seen.sent,
            "batch": scope["state"].get("batch"),
            "id": seen.name,
        }
        LOG.info("request", extra={"request": told})
