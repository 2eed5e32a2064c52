"""One line of the log, and one count, for each request: no texts, no pictures, no tokens."""

import logging
import re
import time
import uuid
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sentifuse.deploy.serving.metrics import Metrics

LOG = logging.getLogger("sentifuse.serve")
_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
_PATH_CHARACTERS = 100


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
        start = time.perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        name = given if _ID.fullmatch(given) else uuid.uuid4().hex
        state = scope.setdefault("state", {})
        status, received, sent = 0, 0, 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def named(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = name
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, counted, named)
        except Exception:
            LOG.exception("request %s", name)
            if not status:
                detail = f"a mistake of the server: its log has more of request {name}"
                await JSONResponse({"detail": detail}, 500)(scope, receive, named)
        finally:
            seconds = time.perf_counter() - start
            path = scope["path"]
            self._metrics.request_ended(path if path in self._paths else "other", status, seconds)
            told = {
                "method": scope["method"],
                "path": path[:_PATH_CHARACTERS],
                "status": status,
                "milliseconds": round(1000 * seconds, 1),
                "bytes_in": received,
                "bytes_out": sent,
                "batch": state.get("batch"),
                "id": name,
            }
            LOG.info("request", extra={"request": told})
