import json
import logging
import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from sentifuse.deploy.answers import Explanation, Prediction, Word
from sentifuse.deploy.pairs import Pair
from sentifuse.deploy.serving.app import FOLDER, PAGE, create_app
from sentifuse.deploy.serving.guards import ANYBODY, Access
from sentifuse.deploy.serving.limits import Limits
from sentifuse.deploy.serving.logs import Json, Text
from sentifuse.errors import UserError

ANSWER = {
    "label": "<b>good</b>",
    "probabilities": {"bad": 0.25, "<b>good</b>": 0.75},
    "confidence": 0.75,
    "text_contribution": 0.5,
    "image_contribution": -0.25,
    "base": 0.5,
    "used": ["image", "text"],
}


class FakePredictor:
    """Remembers what it was asked, and may be made to wait."""

    labels = ("bad", "<b>good</b>")

    def __init__(self) -> None:
        self.asked: list[tuple[Any, str | None]] = []
        self.go, self.busy = threading.Event(), threading.Event()
        self.go.set()

    def use_threads(self, count: int) -> None:
        """It needs none."""

    def try_many(self, pairs: Sequence[Pair]) -> Iterator[Prediction | UserError]:
        self.asked += [(pair.image, pair.text) for pair in pairs]
        self.busy.set()
        self.go.wait(10)
        for pair in pairs:
            if pair.text == "a mistake":
                raise ZeroDivisionError("of the program")
            if pair.image == b"broken":
                yield UserError("image: not an image that can be read")
            else:
                yield Prediction(**{**ANSWER, "used": ("image", "text")})  # type: ignore[arg-type]

    def explain(self, image: Any, text: str | None) -> Explanation:
        [found] = self.try_many([Pair(image, text)])
        if isinstance(found, UserError):
            raise found
        return Explanation(found, text or "", (Word("day", 7, 10, 0.25),), ((0.5, -0.5),))


@pytest.fixture
def predictor() -> FakePredictor:
    return FakePredictor()


LIMITS = Limits(
    upload_bytes=5000, pixels=1000, text_characters=20, seconds=5.0, workers=1, queue=0, batch=4, delay=0.0
)  # fmt: skip


def client(predictor: Any, access: Access = ANYBODY, **changes: Any) -> TestClient:
    app = create_app(predictor, replace(LIMITS, **changes), access, digest="ab12")
    return TestClient(app)


def test_a_pair_is_predicted(predictor: FakePredictor) -> None:
    answer = client(predictor).post(
        "/predict", files={"image": ("a.jpg", b"bytes")}, data={"text": "what a day"}
    )
    assert (answer.status_code, answer.json()) == (200, ANSWER)
    assert predictor.asked == [(b"bytes", "what a day")]


@pytest.mark.parametrize(
    ("form", "asked"),
    [
        ({"data": {"text": "hello"}}, (None, "hello")),
        ({"files": {"image": ("a.jpg", b"bytes")}}, (b"bytes", None)),
        ({"files": {"image": ("a.jpg", b"bytes")}, "data": {"text": " "}}, (b"bytes", None)),
        ({}, (None, None)),
    ],
)
def test_one_of_the_two_may_be_missing(
    predictor: FakePredictor, form: dict[str, Any], asked: tuple[Any, Any]
) -> None:
    client(predictor).post("/predict", **form)
    assert predictor.asked == [asked]


def test_a_pair_is_explained(predictor: FakePredictor) -> None:
    here = client(predictor)
    answer = here.post(
        "/explain", files={"image": ("a.jpg", b"bytes")}, data={"text": "what a day"}
    )
    assert answer.status_code == 200
    assert answer.json() == {
        "prediction": ANSWER,
        "text": "what a day",
        "words": [{"text": "day", "start": 7, "end": 10, "contribution": 0.25}],
        "grid": [[0.5, -0.5]],
    }
    assert predictor.asked == [(b"bytes", "what a day")]
    assert 'sentifuse_requests_total{path="/explain",status="200"} 1.0' in here.get("/metrics").text


def test_what_cannot_be_explained_is_422(predictor: FakePredictor) -> None:
    here = client(predictor)
    broken = here.post("/explain", files={"image": ("a.jpg", b"broken")})
    assert (broken.status_code, broken.json()["detail"]) == (
        422,
        "image: not an image that can be read",
    )
    long = here.post("/explain", data={"text": "x" * 21})
    assert (long.status_code, long.json()["detail"]) == (
        422,
        "text: 21 characters, at most 20 are taken",
    )
    assert here.post("/explain", json={}).status_code == 415


CHINESE = "今天天气真好"
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (CHINESE.encode(), CHINESE),
        (CHINESE.encode("gbk"), CHINESE),
        ("開心".encode("big5"), "開心"),
        ("don’t".encode("cp1252"), "don’t"),
        (CHINESE.encode("utf-16"), CHINESE),
        ("é".encode(), "é"),
        ("Ã© is é".encode(), "Ã© is é"),
        (b"a&b+c=d%20", "a&b+c=d%20"),
    ],
)
@pytest.mark.parametrize("kind", ["multipart", "percent", "bytes"])
def test_texts_are_read_in_any_encoding_as_in_training(
    predictor: FakePredictor, raw: bytes, text: str, kind: str
) -> None:
    own = client(predictor)
    if kind == "multipart":
        body = (
            b'--x\r\nContent-Disposition: form-data; name="text"\r\n\r\n' + raw + b"\r\n--x--\r\n"
        )
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
    else:  # as `curl -d` sends what it is given, but for what has a meaning there
        safe = "".join(map(chr, range(128, 256))) if kind == "bytes" else ""
        body = b"text=" + quote(raw.decode("latin-1"), safe, "latin-1").encode("latin-1")
        headers = {"Content-Type": FORM}
    answer = own.post("/predict", content=body, headers=headers)
    assert (answer.status_code, predictor.asked) == (200, [(None, text)])


@pytest.mark.parametrize(
    ("charset", "raw", "text"),
    [
        ("gbk", "北京".encode("gbk"), "北京"),
        ("UTF-8", "北京".encode(), "北京"),
        ('"windows-1251"', "привет".encode("cp1251"), "привет"),
        ("utf-8", "北京".encode("gbk"), None),
        ("klingon", b"x", None),
        ("hex", b"x", None),
        ("idna", b"\xff", None),
    ],
)
def test_a_charset_that_the_request_names_is_kept_to(
    predictor: FakePredictor, charset: str, raw: bytes, text: str | None
) -> None:
    answer = client(predictor).post(
        "/predict", content=b"text=" + raw, headers={"Content-Type": f"{FORM}; charset={charset}"}
    )
    if text is None:
        assert answer.status_code == 422
        assert answer.json()["detail"].startswith("text: not in the charset that the request names")
        assert predictor.asked == []
    else:
        assert predictor.asked == [(None, text)]


@pytest.mark.parametrize("raw", [b"a\0b", b"\x01\x02\x03 abc", b"\xff\xfeh\0i\0\0\0"])
def test_a_text_that_is_no_text_is_422(predictor: FakePredictor, raw: bytes) -> None:
    answer = client(predictor).post(
        "/predict", content=b"text=" + raw, headers={"Content-Type": FORM}
    )
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("text: not text (")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("application/json", "'application/json'"),
        ("Application/JSON; charset=utf-8", "'application/json'"),
        ("image/jpeg", "'image/jpeg'"),
        ("text/plain", "'text/plain'"),
        (None, "''"),
    ],
)
def test_what_is_no_form_is_415_and_says_what_to_send(
    predictor: FakePredictor, kind: str | None, told: str
) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    answer = client(predictor).post("/predict", content=b'{"text":"what a day"}', headers=headers)
    assert answer.status_code == 415
    assert answer.json()["detail"].startswith(
        f"content type {told}: expected a form with the fields"
    )
    assert predictor.asked == []


@pytest.mark.parametrize("path", [*PAGE, "/health"])
def test_heads_are_answered(predictor: FakePredictor, path: str) -> None:
    assert client(predictor).head(path).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("localhost:8000", 200),
        ("LOCALHOST:1", 200),
        ("[::1]:8000", 200),
        ("evil.example", 400),
        ("localhost.evil.example", 400),
        ("127.0.0.1", 400),
        ("[::1", 400),
        ("", 400),
    ],
)
def test_an_unknown_host_is_400_where_the_hosts_are_known(
    predictor: FakePredictor, host: str, status: int
) -> None:
    own = client(predictor, Access(["localhost", "::1"]))
    for answer in (
        own.get("/health", headers={"Host": host}),
        own.post("/predict", data={"text": "x"}, headers={"Host": host}),
    ):
        assert answer.status_code == status
        if status == 400:
            assert "--allow-host" in answer.json()["detail"]
            assert "Content-Security-Policy" in answer.headers
    assert client(predictor).get("/health", headers={"Host": host}).status_code == 200


def test_what_cannot_be_predicted_is_422(predictor: FakePredictor) -> None:
    answer = client(predictor).post("/predict", files={"image": ("a.jpg", b"broken")})
    assert answer.status_code == 422
    assert answer.json() == {"detail": "image: not an image that can be read"}


def test_a_long_text_is_422_unread(predictor: FakePredictor) -> None:
    answer = client(predictor).post("/predict", data={"text": "x" * 21})
    assert answer.status_code == 422
    assert answer.json() == {"detail": "text: 21 characters, at most 20 are taken"}
    assert predictor.asked == []


def test_another_form_is_422_in_one_line(predictor: FakePredictor) -> None:
    answer = client(predictor).post("/predict", data={"image": "not a file"})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("image: ")


def test_a_large_upload_is_413_whether_its_length_is_told_or_not(
    predictor: FakePredictor,
) -> None:
    own = client(predictor)
    told = own.post("/predict", files={"image": ("a.jpg", bytes(6000))})
    untold = own.post(
        "/predict",
        content=(bytes(1000) for _ in range(6)),
        headers={"Content-Type": "multipart/form-data; boundary=x"},
    )
    for answer in (told, untold):
        assert answer.status_code == 413
        assert answer.json() == {"detail": "the request has more than 5000 bytes"}
        assert "Content-Security-Policy" in answer.headers
    assert predictor.asked == []


def test_a_full_queue_is_503_and_says_when_to_come_again(predictor: FakePredictor) -> None:
    predictor.go.clear()
    with client(predictor) as own, ThreadPoolExecutor(1) as pool:
        first = pool.submit(own.post, "/predict", data={"text": "one"})
        assert predictor.busy.wait(5)
        second = own.post("/predict", data={"text": "two"})
        predictor.go.set()
        assert first.result().status_code == 200
    assert second.status_code == 503
    assert second.headers["Retry-After"] == "1"
    assert "busy" in second.json()["detail"]


def test_an_answer_that_takes_too_long_is_504(predictor: FakePredictor) -> None:
    predictor.go.clear()
    with client(predictor, seconds=0.1) as own:
        answer = own.post("/predict", data={"text": "one"})
        predictor.go.set()
    assert answer.status_code == 504
    assert answer.json() == {"detail": "no answer within 0.1 s"}


def test_health_tells_labels_and_limits(predictor: FakePredictor) -> None:
    assert client(predictor).get("/health").json() == {
        "status": "ok",
        "labels": ["bad", "<b>good</b>"],
        "limits": {"upload_bytes": 5000, "pixels": 1000, "text_characters": 20},
        "token": False,
    }


def test_the_description_is_typed_and_knows_the_errors(predictor: FakePredictor) -> None:
    own = client(predictor)
    document = own.get("/openapi.json").json()
    post = document["paths"]["/predict"]["post"]
    assert set(post["responses"]) == {
        *("200", "400", "401", "403", "408", "413", "415", "422", "503", "504")
    }
    answer = document["components"]["schemas"]["Prediction"]
    assert set(answer["required"]) == set(ANSWER)
    form = document["components"]["schemas"]["Body_predict_predict_post"]
    assert set(form["properties"]) == {"image", "text"}
    assert "required" not in form
    # FastAPI's own pages would load scripts from elsewhere.
    for path in ("/docs", "/redoc"):
        assert own.get(path).status_code == 404


def test_every_answer_is_strict_with_the_browser(predictor: FakePredictor) -> None:
    own = client(predictor)
    for answer in (own.get("/"), own.get("/nowhere"), own.post("/predict", data={"text": "x"})):
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost:3000"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://mood.example"}, 200),
        ({"Origin": "http://testserver"}, 200),
        ({"Origin": "http://testserver:81"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
    ],
)
def test_a_page_of_another_site_cannot_ask(
    predictor: FakePredictor, headers: dict[str, str], status: int
) -> None:
    own = client(predictor)
    answer = own.post("/predict", data={"text": "x"}, headers=headers)
    assert answer.status_code == status
    assert len(predictor.asked) == (status == 200)
    assert own.get("/", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (None, 401),
        ("Bearer s3cret", 200),
        ("bearer  s3cret", 200),
        ("Bearer s3cre", 401),
        ("Bearer s3crets", 401),
        ("Basic s3cret", 401),
        ("s3cret", 401),
        (b"Bearer \xff", 401),
        ("Bearer ", 401),
    ],
)
def test_a_token_is_wanted_for_all_but_the_page_and_its_health(
    predictor: FakePredictor, given: Any, status: int
) -> None:
    own = client(predictor, Access(token="s3cret"))
    headers = {} if given is None else {"Authorization": given}
    for answer in (
        own.post("/predict", data={"text": "x"}, headers=headers),
        own.get("/metrics", headers=headers),
    ):
        assert answer.status_code == status
        assert answer.headers.get("WWW-Authenticate") == ("Bearer" if status == 401 else None)
        assert "s3cret" not in answer.text
    for path in (*PAGE, "/health", "/openapi.json"):
        assert own.get(path).status_code == 200
    assert own.get("/health").json()["token"] is True


def test_refusals_come_before_the_body_is_read(predictor: FakePredictor) -> None:
    own = client(predictor, Access(token="s3cret"))
    assert own.post("/predict", files={"image": ("a.jpg", bytes(6000))}).status_code == 401


def test_a_mistake_of_the_program_is_500_for_its_own_pair_only(
    predictor: FakePredictor, caplog: pytest.LogCaptureFixture
) -> None:
    predictor.go.clear()
    with client(predictor, queue=4) as own, ThreadPoolExecutor(4) as pool:
        texts = ["first", "a mistake", "a day"]
        first, *others = [pool.submit(own.post, "/predict", data={"text": text}) for text in texts]
        end = time.monotonic() + 5
        while len(predictor.asked) + metric(own, "sentifuse_queue_pairs") < 3:
            assert time.monotonic() < end
            time.sleep(0.02)
        predictor.go.set()
        assert [each.result().status_code for each in (first, *others)] == [200, 500, 200]
    answer = others[0].result()
    assert answer.headers["X-Request-ID"] in answer.json()["detail"]
    assert "ZeroDivisionError" in caplog.text


def metric(own: TestClient, name: str) -> float:
    [line] = [each for each in own.get("/metrics").text.splitlines() if each.startswith(f"{name} ")]
    return float(line.rpartition(" ")[2])


def test_metrics_count_what_was_done_and_no_words_of_clients(predictor: FakePredictor) -> None:
    own = client(predictor)
    own.post("/predict", data={"text": "secret words"})
    own.post("/predict", files={"image": ("a.jpg", b"broken")})
    own.get("/anything/a/client/likes")
    told = own.get("/metrics")
    assert told.headers["Content-Type"].startswith("text/plain; version=")
    for name, value in {
        'sentifuse_requests_total{path="/predict",status="200"}': 1,
        'sentifuse_requests_total{path="/predict",status="422"}': 1,
        'sentifuse_requests_total{path="other",status="404"}': 1,
        'sentifuse_request_seconds_count{path="/predict"}': 2,
        'sentifuse_batch_pairs_bucket{le="1.0"}': 2,
        "sentifuse_queue_seconds_count": 2,
        "sentifuse_queue_pairs": 0,
        'sentifuse_answers_total{label="<b>good</b>"}': 1,
        'sentifuse_answers_total{label="bad"}': 0,
        'sentifuse_model_info{sha256="ab12"}': 1,
    }.items():
        assert metric(own, name) == value
    assert "secret" not in told.text
    assert "likes" not in told.text


@pytest.mark.parametrize(
    ("given", "kept"),
    [("a-1.b_c:D", True), ("", False), ("x" * 129, False), ("a b", False), ('a"}', False)],
)
def test_a_request_has_one_line_in_the_log_without_its_contents(
    predictor: FakePredictor, caplog: pytest.LogCaptureFixture, given: str, kept: bool
) -> None:
    caplog.set_level(logging.INFO, "sentifuse.serve")
    answer = client(predictor, Access(token="s3cret")).post(
        "/predict?text=secret",
        data={"text": "secret words"},
        headers={"X-Request-ID": given, "Authorization": "Bearer s3cret"},
    )
    name = answer.headers["X-Request-ID"]
    assert (name == given) == kept
    [record] = [each for each in caplog.records if each.name == "sentifuse.serve"]
    line = Json().format(record)
    told = json.loads(line)
    assert list(told) == [
        *("time", "level", "method", "path", "status", "milliseconds", "bytes_in", "bytes_out", "batch", "id")
    ]  # fmt: skip
    assert (told["method"], told["path"], told["status"]) == ("POST", "/predict", 200)
    assert (told["batch"], told["id"]) == (1, name)
    assert told["bytes_in"] == len("text=secret+words")
    assert told["bytes_out"] == len(answer.content)
    assert "secret" not in line
    assert "s3cret" not in line + Text().format(record)


def test_a_path_stays_on_its_line(
    predictor: FakePredictor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "sentifuse.serve")
    client(predictor).get("/a%0A%1B[31mb")
    [record] = [each for each in caplog.records if each.name == "sentifuse.serve"]
    for line in (Json().format(record), Text().format(record)):
        assert r"/a\n\u001b[31mb" in line
        assert len(line.splitlines()) == 1


def test_while_it_stops_it_is_not_healthy_and_takes_no_pairs(predictor: FakePredictor) -> None:
    predictor.go.clear()
    own = client(predictor)
    batches = own.app.state.batches  # type: ignore[attr-defined]
    with own, ThreadPoolExecutor(1) as pool:
        begun = pool.submit(own.post, "/predict", data={"text": "one"})
        assert predictor.busy.wait(5)
        batches.stopping = True
        health, refused = own.get("/health"), own.post("/predict", data={"text": "two"})
        predictor.go.set()
        assert begun.result().status_code == 200
    assert (health.status_code, health.json()["status"]) == (503, "stopping")
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
    assert predictor.asked == [(None, "one")]


def test_the_page_holds_all_that_it_needs_and_makes_no_html_of_texts() -> None:
    for name, _ in PAGE.values():
        page = (FOLDER / name).read_text(encoding="utf-8")
        code = re.sub(r"(?m)//.*$", "", page)  # comments name their sources
        assert not re.search(r"https?://|//cdn|@import|url\(", code)
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|localStorage", page
        )
        assert not re.search(r"""\s(?:style|on\w+)=["']""", page)
