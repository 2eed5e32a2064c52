import re
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from sentifuse.deploy.pairs import Prediction
from sentifuse.deploy.serving.app import PAGE, create_app
from sentifuse.deploy.serving.limits import Limits
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
        self.asked: list[tuple[bytes | None, str | None]] = []
        self.go, self.busy = threading.Event(), threading.Event()
        self.go.set()

    def predict(self, image: bytes | None = None, text: str | None = None) -> Prediction:
        self.asked.append((image, text))
        self.busy.set()
        self.go.wait(10)
        if image == b"broken":
            raise UserError("image: not an image that can be read")
        return Prediction(**{**ANSWER, "used": ("image", "text")})  # type: ignore[arg-type]


@pytest.fixture
def predictor() -> FakePredictor:
    return FakePredictor()


def client(predictor: Any, **changes: float) -> TestClient:
    values = {"upload_bytes": 5000, "pixels": 1000, "text_characters": 20, "seconds": 5.0}
    limits = Limits(**{**values, "workers": 1, "queue": 0, **changes})  # type: ignore[arg-type]
    return TestClient(create_app(predictor, limits))


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


@pytest.mark.parametrize("path", ["/", "/health"])
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
    limits = Limits(5000, 1000, 20, 5.0, 1, 0)
    own = TestClient(create_app(predictor, limits, ["localhost", "::1"]))  # type: ignore[arg-type]
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
    }


def test_the_description_is_typed_and_knows_the_errors(predictor: FakePredictor) -> None:
    own = client(predictor)
    document = own.get("/openapi.json").json()
    post = document["paths"]["/predict"]["post"]
    assert set(post["responses"]) == {"200", "400", "408", "413", "415", "422", "503", "504"}
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
        assert policy.startswith("default-src 'none'; script-src 'sha256-")
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_the_page_holds_all_that_it_needs_and_makes_no_html_of_texts() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert not re.search(r"https?://|//cdn|@import|url\(", page)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b", page)
    assert not re.search(r"""\s(?:style|on\w+)=["']""", page)
    assert page.count("<script") == page.count("<style") == 1
