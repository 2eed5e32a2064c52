"""The web application: one page, `POST /predict`, `GET /health`, `/openapi.json`."""

import base64
import hashlib
import re
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, Field
from starlette.datastructures import URL, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sentifuse.deploy.predictor import Predictor
from sentifuse.deploy.serving.forms import FormRoute, NoFormError, read_text
from sentifuse.deploy.serving.limits import BodyLimit, BusyError, LateError, Limits, Workers
from sentifuse.errors import UserError

PAGE = Path(__file__).with_name("page.html")


class PredictionOut(BaseModel):
    """What the model says of a pair."""

    label: str = Field(description="the class with the highest probability")
    probabilities: dict[str, float] = Field(description="label -> probability; they sum to 1")
    confidence: float = Field(description="the probability of `label`")
    text_contribution: float = Field(description="what the text adds to `confidence`, -1..1")
    image_contribution: float = Field(description="what the image adds to `confidence`, -1..1")
    base: float = Field(description="the probability of `label` without seeing anything")
    used: list[str] = Field(description="the modalities that spoke, of `image` and `text`")


class LimitsOut(BaseModel):
    """What a request may have."""

    upload_bytes: int
    pixels: int
    text_characters: int


class HealthOut(BaseModel):
    """That the server is up, and what it serves."""

    status: str
    labels: list[str] = Field(description="in the order of training")
    limits: LimitsOut


class ProblemOut(BaseModel):
    """What is wrong with a request."""

    detail: str


_PROBLEMS = {
    400: "the request names a host that the server does not go by",
    408: "the request took too long to arrive",
    413: "the request has too many bytes",
    415: "the request has something else than a form",
    422: "no image and no text, an image that cannot be read or has too many pixels, or a long text",
    503: "busy: try again after the seconds of `Retry-After`",
    504: "the answer took too long",
}


def create_app(
    predictor: Predictor, limits: Limits, hosts: Collection[str] | None = None
) -> FastAPI:
    """Builds the application.

    Args:
        predictor: loaded with `max_pixels` of the limits.
        limits: what one request may cost.
        hosts: names that the server goes by; None for any.
    """
    # The usual pages of documentation load their scripts from elsewhere.
    app = FastAPI(title="sentifuse", version="1", docs_url=None, redoc_url=None)
    forms = APIRouter(route_class=FormRoute)
    workers = Workers(limits)
    page = PAGE.read_text(encoding="utf-8")

    @app.api_route(
        "/", methods=["GET", "HEAD"], response_class=HTMLResponse, include_in_schema=False
    )
    async def show_page() -> str:
        return page

    @app.head("/health", include_in_schema=False)
    @app.get("/health")
    async def health() -> HealthOut:
        """Says that the server is up, and what it serves."""
        own = LimitsOut(
            upload_bytes=limits.upload_bytes,
            pixels=limits.pixels,
            text_characters=limits.text_characters,
        )
        return HealthOut(status="ok", labels=list(predictor.labels), limits=own)

    @forms.post(
        "/predict",
        responses={
            status: {"model": ProblemOut, "description": text} for status, text in _PROBLEMS.items()
        },
    )
    async def predict(
        request: Request,
        image: Annotated[UploadFile | None, File(description="JPEG, PNG, WebP, GIF ...")] = None,
        text: Annotated[
            str | None, Form(description="the text, in any encoding; blank is none")
        ] = None,
    ) -> PredictionOut:
        """Predicts a pair; one of the two may be missing."""
        words = read_text(text or "", request.state.charset)
        if words is not None and len(words) > limits.text_characters:
            raise UserError(
                f"text: {len(words)} characters, at most {limits.text_characters} are taken"
            )
        raw = await image.read() if image is not None else None
        found = await workers.run(lambda: predictor.predict(raw, words))
        return PredictionOut(**asdict(found))

    app.include_router(forms)

    @app.exception_handler(UserError)
    async def unusable(_: Request, error: UserError) -> JSONResponse:
        status = 415 if isinstance(error, NoFormError) else 422
        return JSONResponse({"detail": str(error)}, status)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return JSONResponse({"detail": f"{first['loc'][-1]}: {first['msg']}"}, 422)

    @app.exception_handler(BusyError)
    async def busy(_: Request, error: BusyError) -> JSONResponse:
        return JSONResponse({"detail": "busy: try again in a second"}, 503, {"Retry-After": "1"})

    @app.exception_handler(LateError)
    async def late(_: Request, error: LateError) -> JSONResponse:
        return JSONResponse({"detail": f"no answer within {limits.seconds:g} s"}, 504)

    app.add_middleware(BodyLimit, limits=limits)
    if hosts is not None:
        app.add_middleware(KnownHosts, hosts=hosts)
    app.add_middleware(SecureHeaders, policy=content_security_policy(page))
    return app


def content_security_policy(page: str) -> str:
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


class KnownHosts:
    """ASGI middleware: 400 for a host that the server does not go by.

    Else any page on the web could give its own name the address of this machine, and then ask as it likes.
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

    def __init__(self, app: ASGIApp, policy: str) -> None:
        self._app = app
        self._headers = {
            "Content-Security-Policy": policy,
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
