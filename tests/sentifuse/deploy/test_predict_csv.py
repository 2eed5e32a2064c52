import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sentifuse.deploy import predict_csv
from sentifuse.deploy.answers import Prediction
from sentifuse.deploy.pairs import Pair
from sentifuse.errors import UserError


class FakePredictor:
    """Says what it was given; cannot decode files called `cut.jpg`, and sees that `no.jpg` is none."""

    labels = ("bad", "good")

    def __init__(self) -> None:
        self.pairs: list[Pair] = []

    def check_many(self, pairs: Iterable[Pair]) -> Iterator[UserError | None]:
        for pair in pairs:
            bad = str(pair.image).endswith("no.jpg")
            yield UserError("no.jpg: not an image") if bad else None

    def try_many(self, pairs: Iterable[Pair]) -> Iterator[Prediction | UserError]:
        for pair in list(pairs):
            self.pairs.append(pair)
            if str(pair.image).endswith(("cut.jpg", "no.jpg")):
                yield UserError("cannot be decoded")
            else:
                yield Prediction("good", {"bad": 0.25, "good": 0.75}, 0.75, 1 / 3, -0.1, 0.5, ())


@pytest.fixture
def predictor() -> Any:
    return FakePredictor()


def write(folder: Path, text: str, name: str = "pairs.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_columns_are_those_of_infer_with_line_and_problem(
    tmp_path: Path, predictor: Any
) -> None:
    source = write(tmp_path, "guid,image,text\n007,a.jpg,what a day\n")
    out = tmp_path / "new" / "out.csv"
    assert predict_csv.predict(predictor, source, out, skip=False) == (1, 0)
    assert out.read_text(encoding="utf-8").splitlines() == [
        "line,guid,tag,p_bad,p_good,confidence,text_contribution,image_contribution,problem",
        "2,007,good,0.250000,0.750000,0.750000,0.333333,-0.100000,",
    ]
    assert predictor.pairs == [Pair(tmp_path / "a.jpg", "what a day")]


def test_a_text_may_stand_in_a_file_of_any_encoding(tmp_path: Path, predictor: Any) -> None:
    (tmp_path / "t.txt").write_bytes("天气".encode("gbk"))
    (tmp_path / "quoted.txt").write_bytes("don’t".encode("cp1252"))
    (tmp_path / "empty.txt").write_bytes(b"")
    source = write(tmp_path, "image,text_file\na.jpg,t.txt\n,quoted.txt\na.jpg,empty.txt\na.jpg,\n")
    predict_csv.predict(predictor, source, tmp_path / "out.csv", skip=False)
    assert [pair.text for pair in predictor.pairs] == ["天气", "don’t", "", None]


@pytest.mark.parametrize("raw", [b"a\0b", b"\x01\x02\x03 abc", b"a" * 70_000])
def test_a_text_file_that_is_no_text_is_a_bad_row_as_in_training(
    tmp_path: Path, predictor: Any, raw: bytes
) -> None:
    (tmp_path / "t.txt").write_bytes(raw)
    source = write(tmp_path, "image,text_file\na.jpg,t.txt\n")
    with pytest.raises(
        UserError, match=r"1 bad rows: line 2: .*t\.txt: (not text|text too long) \("
    ):
        predict_csv.predict(predictor, source, tmp_path / "out.csv", skip=False)
    assert predictor.pairs == []


def test_an_empty_field_is_a_missing_modality(tmp_path: Path, predictor: Any) -> None:
    source = write(tmp_path, "image,text\na.jpg,  \n,hello\n")
    predict_csv.predict(predictor, source, tmp_path / "out.csv", skip=False)
    assert predictor.pairs == [Pair(tmp_path / "a.jpg", None), Pair(None, "hello")]


def test_quoted_line_breaks_a_byte_order_mark_and_other_columns_are_read(
    tmp_path: Path, predictor: Any
) -> None:
    source = write(tmp_path, '\ufeff,text,label\n0,"one\ntwo",x\n\n1,three,y\n')
    predict_csv.predict(predictor, source, tmp_path / "out.csv", skip=False)
    assert [pair.text for pair in predictor.pairs] == ["one\ntwo", "three"]
    assert [row["line"] for row in rows(tmp_path / "out.csv")] == ["3", "5"]


BAD = "guid,image,text\n1,a.jpg,x\n2,,\n3,no.jpg,x\n4,a.jpg\n5,a.jpg,x,more\n6,b.jpg,y\n"


def test_bad_rows_are_all_listed_before_anything_is_predicted(
    tmp_path: Path, predictor: Any
) -> None:
    source, out = write(tmp_path, BAD), tmp_path / "out.csv"
    with pytest.raises(UserError) as error:
        predict_csv.predict(predictor, source, out, skip=False)
    message = str(error.value)
    assert message.startswith(
        f"{source}: 4 bad rows: line 3: neither an image nor a text; line 4: "
    )
    for part in (
        "line 4: no.jpg: not an image",
        "line 5: another number",
        "line 6: another number",
    ):
        assert part in message
    assert predictor.pairs == []
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.csv"]


def test_bad_rows_are_passed_over_and_marked_where_that_is_asked_for(
    tmp_path: Path, predictor: Any
) -> None:
    source, out = write(tmp_path, BAD), tmp_path / "out.csv"
    assert predict_csv.predict(predictor, source, out, skip=True) == (2, 4)
    found = rows(out)
    assert [row["guid"] for row in found] == ["1", "2", "3", "4", "5", "6"]
    assert [bool(row["problem"]) for row in found] == [False, True, True, True, True, False]
    assert found[2]["problem"] == "cannot be decoded"
    assert found[2]["tag"] == found[2]["p_bad"] == ""


def test_what_only_decoding_shows_leaves_no_file(tmp_path: Path, predictor: Any) -> None:
    source, out = write(tmp_path, "image\na.jpg\ncut.jpg\nb.jpg\n"), tmp_path / "out.csv"
    with pytest.raises(UserError, match=r"1 bad rows: line 3: cannot be decoded"):
        predict_csv.predict(predictor, source, out, skip=False)
    assert [path.name for path in tmp_path.iterdir()] == ["pairs.csv"]


def test_a_file_of_only_bad_rows_is_all_problems(tmp_path: Path, predictor: Any) -> None:
    source, out = write(tmp_path, "text_file,image\nno.txt,\n, \n"), tmp_path / "out.csv"
    assert predict_csv.predict(predictor, source, out, skip=True) == (0, 2)
    problems = [row["problem"] for row in rows(out)]
    assert problems == [f"{tmp_path / 'no.txt'}: No such file or directory", problems[1]]
    assert problems[1] == "neither an image nor a text"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "line 1: ''"),
        (b"a,b\n1,2\n", "line 1: 'a,b'"),
        (b"text,text_file\n", "both `text` and `text_file`"),
        (b"text\n\xff\xfe\n", "not UTF-8"),
        (b"text\n" + b"x" * 200_000 + b"\n", "after line 1: field larger"),
    ],
)
def test_what_is_no_such_csv_is_an_error(
    tmp_path: Path, predictor: Any, raw: bytes, message: str
) -> None:
    (tmp_path / "pairs.csv").write_bytes(raw)
    with pytest.raises(UserError, match=rf"pairs\.csv: .*{message}"):
        predict_csv.predict(predictor, tmp_path / "pairs.csv", tmp_path / "out.csv", skip=True)
    assert not (tmp_path / "out.csv").exists()


def test_a_missing_csv_is_named(tmp_path: Path, predictor: Any) -> None:
    with pytest.raises(UserError, match=r"pairs\.csv: No such file"):
        predict_csv.predict(predictor, tmp_path / "pairs.csv", tmp_path / "out.csv", skip=True)
