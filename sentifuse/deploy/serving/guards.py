"""Protects the server: from foreign host names, foreign pages, strangers, and what a browser might load."""

import hmac
from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SAFE = ("GET", "HEAD", "OPTIONS")
_STRICT = {
    # The page's own files, its own server, pictures that are in the page already, and nothing else.
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        hosts: the names of the server; None stands for any.
        token: that a request has to bring; None for none.
    """

    hosts: Collection[str] | None = None
    token: str | None = None


ANYBODY = Access()


class StrictHeaders:
    """ASGI middleware: tells browsers to load nothing from elsewhere, whatever the answer is."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_STRICT)
            await send(message)

        await self._app(scope, receive, strict)


class Guard:
    """ASGI middleware: 400 for a foreign host, 403 for another site's page, 401 without the token.

    Otherwise any page on the web could point its own name at the address of this machine, or let the browser
    of somebody who can reach it send whatever requests it likes.
    """

    def __init__(self, app: ASGIApp, access: Access, free: Collection[str]) -> None:
        """Takes `free`, the paths that need no token."""
        self._app, self._token, self._free = app, access.token, free
        hosts = access.hosts
        self._hosts = None if hosts is None else {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refused = self._refuse(scope) if scope["type"] == "http" else None
        await (refused or self._app)(scope, receive, send)

    def _refuse(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        if detail := self._foreign_host(scope):
            return JSONResponse({"detail": detail}, 400)
        origin = None if scope["method"] in _SAFE else _other_site(headers)
        if origin is not None:
            detail = f"sent by a page of another site ({origin!r}): open this server's own page"
            return JSONResponse({"detail": detail}, 403)
        if scope["path"] not in self._free and not self._has_token(headers):
            detail = "no token, or not the one of this server: send `Authorization: Bearer TOKEN`"
            return JSONResponse({"detail": detail}, 401, {"WWW-Authenticate": "Bearer"})
        return None

    def _foreign_host(self, scope: Scope) -> str | None:
        try:
            host = Request(scope).url.hostname
            known = self._hosts is None or host is None or host.lower() in self._hosts
        except ValueError:
            host, known = "", self._hosts is None
        if known:
            return None
        return f"host {host!r}: not a name of this server: start it with --allow-host {host}"

    def _has_token(self, headers: Headers) -> bool:
        if self._token is None:
            return True
        kind, _, given = headers.get("authorization", "").partition(" ")
        # In a time that does not depend on how much of it is right.
        same = hmac.compare_digest(given.strip().encode("latin-1"), self._token.encode())
        return kind.lower() == "bearer" and same


def _other_site(headers: Headers) -> str | None:
    """The origin of the page that sent a request, if it is not this server's; programs name none.

    Browsers say themselves whether the page is (https://www.w3.org/TR/fetch-metadata/); old ones, and those
    that do not trust the connection, name just the page's origin.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None:
        return None if site in ("same-origin", "none") else (origin or site)
    if origin is None or urlsplit(origin).netloc == headers.get("host"):
        return None
    return origin
