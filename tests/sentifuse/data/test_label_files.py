from pathlib import Path

import pytest

from sentifuse.data import label_files, label_rows
from sentifuse.data.label_rows import FoundRow, LabelTable
from sentifuse.data.splits import LabelRow
from sentifuse.errors import UserError
from tests.raw_files import HEADER
from tests.raw_files import label_files as written

LABELS = ("negative", "positive")
UNSAFE = [
    "..", "../x", "a/b", "/etc/passwd", ".hidden", "a b", "", "é", "a\\b", "C:x", "*", "a" * 300,
    "\x00", "~", "$HOME", "a\u2028b",
]  # fmt: skip


def read(root: Path, train: str, predict: str | None = None) -> LabelTable:
    return label_files.read(written(root, train, predict), LABELS)


def told(found: LabelTable) -> list[tuple[str, str, str]]:
    """The name of the file, the guid and the reason of each problem."""
    return [(Path(each.file).name, each.guid, each.reason) for each in found.problems]


# The file


@pytest.mark.parametrize(
    "raw",
    [
        b"guid,tag\n3,positive\n1,negative\n",
        b"guid,tag\r\n3,positive\r\n1,negative\r\n",
        b"\xef\xbb\xbfguid,tag\n3,positive\n1,negative\n",
        b"guid,tag\n3,positive\n\n1,negative\n\n",
        b"guid, tag\n 3 , positive \n1,negative",
        b'"guid","tag"\n"3","positive"\n1,negative\n',
        b"guid,tag\r3,positive\r1,negative\r",
    ],
    ids=["plain", "crlf", "mark", "blank", "spaces", "quotes", "cr"],
)
def test_rows_are_read_in_file_order_however_the_file_was_written(
    tmp_path: Path, raw: bytes
) -> None:
    (tmp_path / "train.txt").write_bytes(raw)
    path = tmp_path / "train.txt"
    assert label_files.read_rows(path) == [
        FoundRow("3", "positive", str(path)),
        FoundRow("1", "negative", str(path)),
    ]


def test_a_missing_label_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"train\.txt: no such file"):
        label_files.read_rows(tmp_path / "train.txt")


def test_a_folder_in_place_of_a_label_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.txt").mkdir()
    with pytest.raises(UserError, match=r"train\.txt: Is a directory; expected a file of rows"):
        label_files.read_rows(tmp_path / "train.txt")


@pytest.mark.parametrize("first", ["", "1,positive\n", "guid,tag,more\n", "tag,guid"])
def test_a_file_without_the_header_is_refused(tmp_path: Path, first: str) -> None:
    with pytest.raises(UserError, match=r"train\.txt: line 1: .*expected the header `guid,tag`"):
        read(tmp_path, first)


@pytest.mark.parametrize(("char", "name"), [("\t", r"\\t"), (";", ";"), ("|", r"\|")])
def test_a_file_with_another_delimiter_is_refused_with_its_name(
    tmp_path: Path, char: str, name: str
) -> None:
    with pytest.raises(UserError, match=f"'guid{name}tag', separated by '{name}': expected the"):
        read(tmp_path, f"guid{char}tag\n1{char}positive\n")


def test_a_long_first_line_is_shortened(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path, "x" * 100_000)
    assert len(str(caught.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize(
    "raw", [b"guid,tag\n1,n\xe9gatif\n", "guid,tag\n1,positive\n".encode("utf-16")]
)
def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "train.txt").write_bytes(raw)
    with pytest.raises(UserError, match=r"train\.txt: not UTF-8 text at byte \d+"):
        label_files.read_rows(tmp_path / "train.txt")


def test_an_unbalanced_quote_in_a_long_file_is_one_line(tmp_path: Path) -> None:
    rows = "".join(f"{number},positive\n" for number in range(20_000))
    with pytest.raises(UserError, match=r"train\.txt: line") as caught:
        read(tmp_path, f'{HEADER}"0,positive\n{rows}')
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["train.txt", "test_without_label.txt"])
def test_a_label_file_that_is_a_link_out_of_the_data_set_is_refused(
    tmp_path: Path, name: str
) -> None:
    root = written(tmp_path / "root", f"{HEADER}1,positive\n2,negative\n", HEADER)
    (root / name).rename(tmp_path / "elsewhere")
    (root / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=rf"{name}: a link out of .*put the file itself there"):
        label_files.read(root, LABELS)


def test_the_data_set_itself_may_be_a_link(tmp_path: Path) -> None:
    root = written(tmp_path / "root", f"{HEADER}1,positive\n2,negative\n", HEADER)
    (tmp_path / "link").symlink_to(root)
    assert len(label_files.read(tmp_path / "link", LABELS).labelled) == 2


# Rows


def test_labelled_and_unlabelled_rows_come_apart(tmp_path: Path) -> None:
    found = read(tmp_path, f"{HEADER}2,positive\n1,negative\n", f"{HEADER}9,null\n8,null\n")
    assert found.labelled == [LabelRow("2", "positive"), LabelRow("1", "negative")]
    assert found.predict == [LabelRow("9", "null"), LabelRow("8", "null")]
    assert found.problems == []
    assert found.train_rows == 2


@pytest.mark.parametrize("predict", [None, HEADER])
def test_there_may_be_nothing_to_predict(tmp_path: Path, predict: str | None) -> None:
    assert read(tmp_path, f"{HEADER}2,positive\n1,negative\n", predict).predict == []


@pytest.mark.parametrize("row", ["2", "2,positive,x", "2;positive", "  ", '2,"pos,itive",'])
def test_a_row_without_two_fields_is_left_out_and_named_by_its_line(
    tmp_path: Path, row: str
) -> None:
    found = read(tmp_path, f"{HEADER}1,positive\n\n{row}\n3,negative\n")
    assert [problem.reason for problem in found.problems] == ["row without two fields"]
    assert found.problems[0].detail.startswith("line 4: ")
    assert [each.guid for each in found.labelled] == ["1", "3"]


@pytest.mark.parametrize("guid", UNSAFE)
def test_a_guid_that_is_no_plain_file_name_is_listed_and_not_used(
    tmp_path: Path, guid: str
) -> None:
    found = read(tmp_path, f"{HEADER}1,positive\n2,negative\n{guid},positive\n")
    assert told(found) == [("train.txt", guid, "guid is not a plain file name")]
    assert [row.guid for row in found.labelled] == ["1", "2"]
    assert not label_rows.is_safe(guid)
    assert "\n" not in str(found.problems[0])


def test_a_guid_with_a_line_end_or_a_comma_is_read_as_one_field_and_listed(tmp_path: Path) -> None:
    text = f'{HEADER}1,positive\n2,negative\n"a\nb",positive\n"a,b",negative\n'
    found = read(tmp_path, text, f'{HEADER}"x\ny",null\n')
    assert [guid for _, guid, _ in told(found)] == ["x\ny", "a\nb", "a,b"]
    assert {reason for _, _, reason in told(found)} == {"guid is not a plain file name"}
    assert [row.guid for row in found.predict] == ["x\ny"]
    assert r"guid 'a\nb'" in str(found.problems[1])


@pytest.mark.parametrize("guid", ["4597", "007", "a", "A-1_b.c", "-x", "_", "1..2", "1e3", "NA"])
def test_plain_file_names_are_guids_letter_by_letter(tmp_path: Path, guid: str) -> None:
    found = read(tmp_path, f"{HEADER}7,negative\n{guid},positive\n")
    assert found.labelled[1].guid == guid
    assert found.problems == []


def test_leading_zeros_make_another_guid(tmp_path: Path) -> None:
    found = read(tmp_path, f"{HEADER}7,negative\n07,positive\n007,positive\n")
    assert [row.guid for row in found.labelled] == ["7", "07", "007"]
    assert found.problems == []


def test_of_equal_rows_the_first_is_kept(tmp_path: Path) -> None:
    found = read(tmp_path, f"{HEADER}1,positive\n2,negative\n1,positive\n1,positive\n")
    assert told(found) == [("train.txt", "1", "guid stands twice")] * 2
    assert [row.guid for row in found.labelled] == ["1", "2"]


def test_of_rows_with_different_tags_none_is_kept(tmp_path: Path) -> None:
    found = read(tmp_path, f"{HEADER}1,positive\n2,negative\n1,negative\n")
    assert told(found) == [("train.txt", "1", "guid stands twice with different tags")] * 2
    assert [row.guid for row in found.labelled] == ["2"]


def test_a_guid_that_is_to_be_predicted_is_not_trained_on(tmp_path: Path) -> None:
    found = read(tmp_path, f"{HEADER}1,positive\n2,negative\n", f"{HEADER}3,null\n2,null\n")
    assert told(found) == [("train.txt", "2", "guid is also to be predicted")]
    assert [row.guid for row in found.labelled] == ["1"]
    assert [row.guid for row in found.predict] == ["3", "2"]


@pytest.mark.parametrize(
    ("guids", "repeats"),
    [("323", "3"), ("3323", "33"), ("2323", "23"), ("33", "3"), ("32", "")],
)
def test_rows_to_predict_that_stand_twice_are_listed_and_all_kept(
    tmp_path: Path, guids: str, repeats: str
) -> None:
    rows = "".join(f"{guid},null\n" for guid in guids)
    found = read(tmp_path, f"{HEADER}1,positive\n", HEADER + rows)
    assert told(found) == [
        ("test_without_label.txt", guid, "guid stands twice") for guid in repeats
    ]
    assert [row.guid for row in found.predict] == list(guids)


@pytest.mark.parametrize("tag", ["Positive", "angry", "1", "pos\nitive"])
def test_an_unknown_tag_is_listed_with_the_known_ones(tmp_path: Path, tag: str) -> None:
    found = read(tmp_path, f'{HEADER}1,positive\n2,negative\n3,"{tag}"\n')
    assert told(found) == [("train.txt", "3", "unknown tag")]
    assert found.problems[0].detail == f"{tag!r} is not one of negative, positive"
    assert len(found.labelled) == 2
    assert found.train_rows == 3


@pytest.mark.parametrize("tag", ["null", "", " "])
def test_an_unlabelled_row_among_the_labelled_is_listed(tmp_path: Path, tag: str) -> None:
    found = read(tmp_path, f"{HEADER}1,positive\n2,negative\n3,{tag}\n")
    assert told(found) == [("train.txt", "3", "no tag")]


def test_a_class_may_be_called_null(tmp_path: Path) -> None:
    root = written(tmp_path, f"{HEADER}1,null\n2,x\n")
    assert len(label_files.read(root, ("null", "x")).labelled) == 2


def test_a_tag_of_a_row_to_predict_is_listed_and_the_row_is_predicted(tmp_path: Path) -> None:
    found = read(tmp_path, f"{HEADER}1,positive\n", f"{HEADER}3,positive\n4\n")
    assert told(found) == [
        ("test_without_label.txt", "4", "row without two fields"),
        ("test_without_label.txt", "3", "tag in a row to predict"),
    ]
    assert [row.guid for row in found.predict] == ["3", "4"]


def test_unsound_rows_to_predict_stay_in_their_order(tmp_path: Path) -> None:
    found = read(tmp_path, f"{HEADER}1,positive\n", f"{HEADER}b,null\n../a,null\n/x,null\na,null\n")
    assert [row.guid for row in found.predict] == ["b", "../a", "/x", "a"]
    assert [guid for _, guid, _ in told(found)] == ["../a", "/x"]


def test_a_row_to_predict_that_no_csv_file_can_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"test_without_label\.txt: guid 'a\\x00b': a NUL"):
        read(tmp_path, f"{HEADER}1,positive\n", f"{HEADER}x,null\na\0b,null\n")


def test_labels_that_the_data_lack_are_named_with_those_that_there_are() -> None:
    rows = [LabelRow("1", "positive"), LabelRow("2", "joy")]
    with pytest.raises(UserError) as caught:
        label_rows.check_labels("train.txt", rows, ("positive", "anger", "fear"))
    assert str(caught.value) == (
        "labels: ['positive', 'anger', 'fear']: train.txt has no usable row with the tag "
        "'anger', 'fear'; there are: 'joy', 'positive'"
    )
    with pytest.raises(UserError, match=r"there are: none$"):
        label_rows.check_labels("train.txt", [], ("positive",))
    label_rows.check_labels("train.txt", rows, ("joy", "positive"))
