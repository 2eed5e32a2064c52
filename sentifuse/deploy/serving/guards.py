"""ASGI middleware that protects the page: from foreign host names, and from what a browser might load."""

import base64
import hashlib
import re
from collections.abc import Collection

from starlette.datastructures import URL, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class KnownHosts:
    """ASGI middleware: 400 for a host name that is not one of the server's.

    Otherwise any page on the web could point its own name at the address of this machine, and then send
    whatever requests it likes.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app, self._hosts = app, {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            host = URL(scope=scope).hostname if scope["type"] == "http" else None
            known = host is None or host.lower() in self._hosts
        except ValueError:
            host, known = "", False
        if known:
            await self._app(scope, receive, send)
            return
        detail = f"host {host!r}: not a name of this server: start it with --allow-host {host}"
        await JSONResponse({"detail": detail}, 400)(scope, receive, send)


class SecureHeaders:
    """ASGI middleware: every answer tells the browser to be strict."""

    def __init__(self, app: ASGIApp, page: str) -> None:
        self._app = app
        self._headers = {
            "Content-Security-Policy": _content_security_policy(page),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._app(scope, receive, with_headers)


def _content_security_policy(page: str) -> str:
    """Allows the page's own style and script, by their hashes, its own server, and nothing else."""

    def hashes(tag: str) -> str:
        contents = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digests = [hashlib.sha256(content.encode()).digest() for content in contents]
        return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)

    return (
        f"default-src 'none'; script-src {hashes('script')}; style-src {hashes('style')}; "
        "img-src blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
