"""The web application: one page, `POST /predict`, `GET /health`, `/openapi.json`."""

from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, Field

from sentifuse.deploy.pairs import PairPredictor, Prediction
from sentifuse.deploy.serving.forms import FormRoute, read_text
from sentifuse.deploy.serving.guards import add_guards
from sentifuse.deploy.serving.limits import BodyLimit, Limits, Workers
from sentifuse.errors import UserError

PAGE = Path(__file__).with_name("page.html")


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
    predictor: PairPredictor, limits: Limits, hosts: Collection[str] | None = None
) -> FastAPI:
    """Builds the application; `hosts` are the names of the server, None stands for any."""
    page = PAGE.read_text(encoding="utf-8")
    # FastAPI's own pages of documentation load their scripts from another server.
    app = FastAPI(title="sentifuse", version="1", docs_url=None, redoc_url=None)
    app.include_router(_pages(page, predictor, limits))
    app.include_router(_prediction(predictor, limits))

    @app.exception_handler(UserError)
    async def unusable(_: Request, error: UserError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return JSONResponse({"detail": f"{first['loc'][-1]}: {first['msg']}"}, 422)

    app.add_middleware(BodyLimit, limits=limits)
    add_guards(app, page, hosts)
    return app


def _pages(page: str, predictor: PairPredictor, limits: Limits) -> APIRouter:
    router = APIRouter()

    @router.api_route(
        "/", methods=["GET", "HEAD"], response_class=HTMLResponse, include_in_schema=False
    )
    async def show_page() -> str:
        return page

    @router.head("/health", include_in_schema=False)
    @router.get("/health")
    async def health() -> HealthOut:
        """Says that the server is up, and what it serves."""
        return HealthOut(
            status="ok", labels=list(predictor.labels), limits=LimitsOut(**asdict(limits))
        )

    return router


def _prediction(predictor: PairPredictor, limits: Limits) -> APIRouter:
    router = APIRouter(route_class=FormRoute)
    workers = Workers(limits)

    @router.post(
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
    ) -> Prediction:
        """Predicts a pair; one of the two may be missing."""
        words = read_text(text or "", request.state.charset)
        if words is not None and len(words) > limits.text_characters:
            raise UserError(
                f"text: {len(words)} characters, at most {limits.text_characters} are taken"
            )
        raw = await image.read() if image is not None else None
        return await workers.run(lambda: predictor.predict(raw, words))

    return router
