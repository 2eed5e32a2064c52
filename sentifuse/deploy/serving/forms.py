"""The fields of a form as bytes, so that their texts are read as everywhere else, in any encoding.

Programs send Chinese in the encoding of their console, and hardly any program says which one that is.
Starlette would decode all of them as UTF-8 or Latin-1, which gives nonsense without an error.
"""

import re
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import parse_qsl, urlencode

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Message

from sentifuse.data import text
from sentifuse.deploy.serving.limits import CLIENT_LEFT
from sentifuse.errors import UserError

_CHARSET = re.compile(r';\s*charset\s*=\s*"?([^\s";]*)"?', re.IGNORECASE)
_MULTIPART, _URLENCODED = "multipart/form-data", "application/x-www-form-urlencoded"


class FormRoute(APIRoute):
    """A route whose text fields come with one letter per byte (Latin-1); `read_text` decodes them.

    `request.state` gets the `charset` that the request names, and `receive` of the connection.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Changes the request before FastAPI reads its form."""
        handle = super().get_route_handler()

        async def handle_bytes(request: Request) -> Response:
            return await handle(await _as_bytes(request))

        return handle_bytes


async def _as_bytes(request: Request) -> Request:
    try:
        body = await request.body()
    except ClientDisconnect:
        raise HTTPException(CLIENT_LEFT, "the client left") from None
    given = request.headers.get("content-type", "")
    kind = given.partition(";")[0].strip().lower()
    if body and kind not in (_MULTIPART, _URLENCODED):
        raise HTTPException(
            415,
            f"content type {kind!r}: expected a form with the fields `image` (a file) and `text`, such as "
            "curl -F image=@a.jpg -F text='what a day'",
        )
    if kind == _URLENCODED:
        fields = parse_qsl(body.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
        body = urlencode(fields).encode()
    declared = _CHARSET.search(given)
    as_bytes = f"{_CHARSET.sub('', given)}; charset=latin-1".encode("latin-1")
    headers = [pair for pair in request.scope["headers"] if pair[0] != b"content-type"]
    if kind:
        headers.append((b"content-type", as_bytes))

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    changed = Request({**request.scope, "headers": headers}, receive)
    changed.state.charset = declared[1] if declared else ""
    changed.state.receive = request.receive
    return changed


def read_text(letters: str, charset: str) -> str | None:
    """The text of a field with one letter per byte, or None if it is blank.

    `charset` is the one that the request names; if it is empty, `text.read` finds out.

    Raises:
        UserError: the bytes are no text, or not in that charset.
    """
    raw = letters.encode("latin-1")
    try:
        found = raw.decode(charset) if charset else text.read(raw) if raw.strip() else ""
    except text.TextError as error:
        raise UserError(f"text: {error.reason} ({error})") from None
    except (ValueError, LookupError):
        raise UserError(f"text: not in the charset that the request names, {charset!r}") from None
    return found if found.strip() else None
