"""Protects the page: from foreign host names, and from what a browser might load."""

import base64
import hashlib
import re
from collections.abc import Collection

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.middleware.base import RequestResponseEndpoint


def add_guards(app: FastAPI, page: str, hosts: Collection[str] | None) -> None:
    """Answers 400 to a host name that is not one of `hosts`, and tells browsers to be strict.

    Otherwise any page on the web could point its own name at the address of this machine, and then send
    whatever requests it likes.
    """
    names = None if hosts is None else {host.lower() for host in hosts}
    headers = {
        "Content-Security-Policy": _content_security_policy(page),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }

    @app.middleware("http")
    async def guard(request: Request, answer: RequestResponseEndpoint) -> Response:
        try:
            host = request.url.hostname
            known = names is None or host is None or host.lower() in names
        except ValueError:
            host, known = "", names is None
        if known:
            response = await answer(request)
        else:
            detail = f"host {host!r}: not a name of this server: start it with --allow-host {host}"
            response = JSONResponse({"detail": detail}, 400)
        response.headers.update(headers)
        return response


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
