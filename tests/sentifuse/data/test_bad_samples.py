from pathlib import Path

import pytest

from sentifuse.data import bad_samples
from sentifuse.data.bad_samples import Problem
from sentifuse.errors import UserError

PROBLEMS = [
    Problem("9", "data/9.jpg", "image empty", "0 bytes"),
    Problem("007", "data/007.txt", "no text file"),
    Problem("9", "data/9.txt", "no text file"),
]


def test_a_problem_is_one_line_whatever_the_guid_holds() -> None:
    assert str(PROBLEMS[0]) == "guid 9: data/9.jpg: image empty (0 bytes)"
    assert PROBLEMS[0].where() == "guid 9: data/9.jpg (0 bytes)"
    evil = Problem("a\n\x1b[31mb", "x\u2028y", "no text file")
    assert str(evil) == r"guid 'a\n\x1b[31mb': 'x\u2028y': no text file"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("007", "007"),
        ("", "''"),
        (" a", "' a'"),
        ("a b", "a b"),
        ("é", "é"),
        ("\u202ex", r"'\u202ex'"),
    ],
)
def test_names_that_could_be_misread_are_quoted(name: str, told: str) -> None:
    assert bad_samples.shown(name) == told


def test_the_table_goes_reason_by_reason() -> None:
    table = bad_samples.table(PROBLEMS)
    assert list(table.columns) == ["guid", "file", "reason", "detail"]
    assert list(table["guid"]) == ["9", "007", "9"]
    assert list(table["reason"]) == ["image empty", "no text file", "no text file"]
    assert bad_samples.table([]).to_csv(index=False) == "guid,file,reason,detail\n"


def test_problems_are_refused_in_one_line_with_counts_and_what_to_do() -> None:
    with pytest.raises(UserError) as caught:
        bad_samples.refuse(Path("raw"), PROBLEMS)
    assert str(caught.value) == (
        "raw: 2 bad rows (image empty: 1, no text file: 2): guid 9: data/9.jpg: image empty (0 bytes); "
        "guid 007: data/007.txt: no text file; guid 9: data/9.txt: no text file. Mend them (`python -m "
        "sentifuse check raw` lists all), or go on without them: data.on_bad_sample=skip"
    )
    bad_samples.refuse(Path("raw"), [])


def test_of_many_problems_ten_are_shown_and_the_rest_counted() -> None:
    many = [Problem(str(number), "train.txt", "unknown tag") for number in range(23)]
    with pytest.raises(UserError, match=r"raw: 23 bad rows \(unknown tag: 23\): ") as caught:
        bad_samples.refuse(Path("raw"), many)
    assert str(caught.value).count("train.txt: unknown tag") == 10
    assert "; and 13 more. " in str(caught.value)


def test_problems_are_counted_by_reason() -> None:
    assert bad_samples.counts(PROBLEMS) == {"image empty": 1, "no text file": 2}
