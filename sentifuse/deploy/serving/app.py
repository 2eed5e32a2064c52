"""The web application: the page, `POST /predict` and `/explain`, `GET /health` and `/metrics`,
`/openapi.json`."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, File, Form, Request, Response, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field

from sentifuse.deploy.answers import Explanation, Prediction
from sentifuse.deploy.pair_predictor import PairPredictor
from sentifuse.deploy.pairs import Pair
from sentifuse.deploy.serving.batching import Batches
from sentifuse.deploy.serving.forms import FormRoute, read_text
from sentifuse.deploy.serving.guards import ANYBODY, Access, Guard, StrictHeaders
from sentifuse.deploy.serving.limits import BodyLimit, Limits
from sentifuse.deploy.serving.metrics import Metrics
from sentifuse.deploy.serving.observing import Observing
from sentifuse.errors import UserError

# Path -> file and content type of the page.
PAGE = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    **{
        f"/{name}": (name, "text/javascript")
        for name in ("page.js", "explain.js", "server.js", "table.js", "csv.js")
    },
}
FOLDER = Path(__file__).parent
_Image = Annotated[UploadFile | None, File(description="JPEG, PNG, WebP, GIF ...")]
_Text = Annotated[str | None, Form(description="the text, in any encoding; blank is none")]
# They tell nothing of what is asked, and a page that takes the token has to come first.
_WITHOUT_TOKEN = {*PAGE, "/health", "/openapi.json"}


class LimitsOut(BaseModel):
    """What a request may have."""

    upload_bytes: int
    pixels: int
    text_characters: int


class HealthOut(BaseModel):
    """Whether the server takes requests, and what it serves."""

    status: str = Field(description="`ok`, or `stopping` with status 503")
    labels: list[str] = Field(description="in the order of training")
    limits: LimitsOut
    token: bool = Field(description="whether a prediction needs a token")


class ProblemOut(BaseModel):
    """What is wrong with a request."""

    detail: str


_PROBLEMS = {
    400: "the request names a host that the server does not go by",
    401: "the request lacks the token",
    403: "the request comes from a page of another site",
    408: "the request took too long to arrive",
    413: "the request has too many bytes",
    415: "the request has something else than a form",
    422: "no image and no text, an image that cannot be read or has too many pixels, or a long text",
    503: "busy, or about to stop: try again after the seconds of `Retry-After`",
    504: "the answer took too long",
}


def create_app(
    predictor: PairPredictor, limits: Limits, access: Access = ANYBODY, digest: str = ""
) -> FastAPI:
    """Builds the application; its `state.batches` is the queue.

    Args:
        predictor: of what is served.
        limits: of a request.
        access: who may ask.
        digest: SHA-256 of the model, for `/metrics`.
    """
    # FastAPI's own pages of documentation load their scripts from another server.
    app = FastAPI(title="sentifuse", version="1", docs_url=None, redoc_url=None)
    metrics = Metrics(digest, predictor.labels)
    batches = app.state.batches = Batches(predictor, limits, metrics)
    app.include_router(_pages())
    app.include_router(_states(predictor.labels, limits, access, batches, metrics))
    app.include_router(_prediction(limits, batches, metrics))

    @app.exception_handler(UserError)
    async def unusable(_: Request, error: UserError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, 422)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return JSONResponse({"detail": f"{first['loc'][-1]}: {first['msg']}"}, 422)

    # The last one comes first.
    app.add_middleware(BodyLimit, limits=limits)
    app.add_middleware(Guard, access=access, free=_WITHOUT_TOKEN)
    paths = {*_WITHOUT_TOKEN, "/predict", "/explain", "/metrics"}
    app.add_middleware(Observing, metrics=metrics, paths=paths)
    app.add_middleware(StrictHeaders)
    return app


def _pages() -> APIRouter:
    router = APIRouter()

    def add(path: str, content: bytes, kind: str) -> None:
        async def show(_: Request) -> Response:
            return Response(content, media_type=kind)

        router.add_route(path, show, methods=["GET"], include_in_schema=False)

    for path, (name, kind) in PAGE.items():
        add(path, (FOLDER / name).read_bytes(), kind)
    return router


def _states(
    labels: Sequence[str], limits: Limits, access: Access, batches: Batches, metrics: Metrics
) -> APIRouter:
    router = APIRouter()
    bounds = LimitsOut(
        upload_bytes=limits.upload_bytes,
        pixels=limits.pixels,
        text_characters=limits.text_characters,
    )

    @router.head("/health", include_in_schema=False)
    @router.get("/health", responses={503: {"model": HealthOut, "description": "about to stop"}})
    async def health(response: Response) -> HealthOut:
        """Says whether the server takes requests, and what it serves."""
        response.status_code = 503 if batches.stopping else 200
        return HealthOut(
            status="stopping" if batches.stopping else "ok",
            labels=list(labels),
            limits=bounds,
            token=access.token is not None,
        )

    @router.get("/metrics", response_class=Response)
    async def count() -> Response:
        """What the server has counted, for Prometheus."""
        return Response(metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return router


def _prediction(limits: Limits, batches: Batches, metrics: Metrics) -> APIRouter:
    described: dict[int | str, dict[str, Any]] = {
        status: {"model": ProblemOut, "description": text} for status, text in _PROBLEMS.items()
    }
    router = APIRouter(route_class=FormRoute, responses=described)

    async def pair_of(request: Request, image: _Image = None, text: _Text = None) -> Pair:
        words = read_text(text or "", request.state.charset)
        if words is not None and len(words) > limits.text_characters:
            raise UserError(
                f"text: {len(words)} characters, at most {limits.text_characters} are taken"
            )
        return Pair(await image.read() if image is not None else None, words)

    given = Depends(pair_of)

    @router.post("/predict")
    async def predict(request: Request, pair: Pair = given) -> Prediction:
        """Predicts a pair; one of the two may be missing."""
        found, request.state.batch = await batches.predict(pair, partial(_left, request))
        metrics.answered(found.label)
        return found

    @router.post("/explain")
    async def explain(request: Request, pair: Pair = given) -> Explanation:
        """Predicts a pair, and says what each word and each part of the picture adds to the confidence.

        It takes as long as some thirty predictions.
        """
        found, request.state.batch = await batches.explain(pair, partial(_left, request))
        metrics.answered(found.prediction.label)
        return found

    return router


async def _left(request: Request) -> None:
    """Returns when the client leaves."""
    while (await request.state.receive())["type"] != "http.disconnect":
        pass
