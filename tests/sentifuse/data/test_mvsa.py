import errno
import os
from collections import Counter
from itertools import product
from pathlib import Path

import pytest

from sentifuse.data import mvsa
from sentifuse.data.mvsa import LABELS, Annotated
from sentifuse.errors import UserError

SINGLE = "ID\ttext,image\n"
MULTIPLE = "ID\ttext,image\ttext,image\ttext,image\n"

# Text label, image label -> the label of the pair; empty: it is left out.
MERGED = {
    ("negative", "negative"): "negative",
    ("negative", "neutral"): "negative",
    ("negative", "positive"): "",
    ("neutral", "negative"): "negative",
    ("neutral", "neutral"): "neutral",
    ("neutral", "positive"): "positive",
    ("positive", "negative"): "",
    ("positive", "neutral"): "positive",
    ("positive", "positive"): "positive",
}


def published(folder: Path, labels: str, without: tuple[str, ...] = ()) -> Path:
    """The label file, and both files of every row but those named in `without`."""
    (folder / "data").mkdir(parents=True)
    (folder / "labelResultAll.txt").write_text(labels, encoding="utf-8")
    for line in labels.splitlines()[1:]:
        guid = line.split("\t")[0]
        for name in {f"{guid}.jpg", f"{guid}.txt"} - set(without):
            (folder / "data" / name).write_bytes(f"bytes of {name}".encode())
    return folder


def rows(path: Path) -> list[list[str]]:
    return [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]


def three(votes: tuple[str, ...], others: tuple[str, ...]) -> str:
    return "\t".join(f"{one},{other}" for one, other in zip(votes, others, strict=True))


# The rule


def test_every_pair_of_labels_is_merged_by_the_rule_or_listed(tmp_path: Path) -> None:
    lines = [
        f"{place}\t{text},{image}\n" for place, (text, image) in enumerate(product(LABELS, LABELS))
    ]
    folder = published(tmp_path / "mvsa", SINGLE + "".join(lines))
    found = mvsa.import_to(folder, tmp_path / "out")
    merged = {(row.text_label, row.image_label): row.label for row in found.samples}
    merged |= {(row.text_label, row.image_label): "" for row in found.left_out}
    assert merged == MERGED
    assert {row.reason for row in found.left_out} == {"text and image have opposite labels"}
    assert found.annotators == 1


def test_three_annotators_have_a_majority_unless_all_say_something_else(tmp_path: Path) -> None:
    triples = list(product(LABELS, repeat=3))
    lines = [
        f"{place}\t{three(texts, images)}\n"
        for place, (texts, images) in enumerate(product(triples, triples))
    ]
    path = tmp_path / "labels.txt"
    path.write_text(MULTIPLE + "".join(lines), encoding="utf-8")
    annotators, found = mvsa.read_labels(path)
    assert (annotators, len(found)) == (3, 27 * 27)
    # The middle of three ordered labels is the majority, if there is one.
    expected = {votes: "" if len(set(votes)) == 3 else sorted(votes)[1] for votes in triples}
    assert Counter(expected.values()) == {"negative": 7, "neutral": 7, "positive": 7, "": 6}
    for row, (texts, images) in zip(found, product(triples, triples), strict=True):
        assert (row.text_label, row.image_label) == (expected[texts], expected[images])


def test_majorities_are_merged_like_single_labels_and_pairs_without_one_are_listed(
    tmp_path: Path,
) -> None:
    split, agreed = ("negative", "neutral", "positive"), ("neutral", "positive", "positive")
    lines = {
        "kept": three(agreed, ("neutral",) * 3),
        "text": three(split, agreed),
        "image": three(agreed, split),
        "both": three(split, split),
        "opposite": three(agreed, ("negative", "negative", "positive")),
    }
    labels = MULTIPLE + "".join(f"{guid}\t{votes}\n" for guid, votes in lines.items())
    mvsa.import_to(published(tmp_path / "mvsa", labels), tmp_path / "out")
    assert rows(tmp_path / "out" / "samples.csv")[1:] == [
        ["kept", "data/kept.jpg", "data/kept.txt", "positive", "positive", "neutral"]
    ]
    assert rows(tmp_path / "out" / "left_out.csv") == [
        ["id", "reason", "text_label", "image_label"],
        ["text", "no majority of annotators", "", "positive"],
        ["image", "no majority of annotators", "positive", ""],
        ["both", "no majority of annotators", "", ""],
        ["opposite", "text and image have opposite labels", "positive", "negative"],
    ]


def test_merging_gives_the_counts_of_the_literature(tmp_path: Path) -> None:
    # The sums over merged pairs and their total are those of MVSA-Single; how they are divided among
    # the pairs is made up.
    table = {
        ("negative", "negative"): 700, ("negative", "neutral"): 358, ("neutral", "negative"): 300,
        ("neutral", "neutral"): 470,
        ("positive", "positive"): 1400, ("positive", "neutral"): 683, ("neutral", "positive"): 600,
        ("positive", "negative"): 158, ("negative", "positive"): 200,
    }  # fmt: skip
    pairs = [pair for pair, count in table.items() for _ in range(count)]
    lines = [f"{place}\t{text},{image}\n" for place, (text, image) in enumerate(pairs, start=1)]
    path = tmp_path / "labels.txt"
    path.write_text(SINGLE + "".join(lines), encoding="utf-8")
    _, found = mvsa.read_labels(path)
    assert len(found) == 4869
    merged = Counter(mvsa.merge(row.text_label, row.image_label) for row in found)
    assert merged == {"negative": 1358, "neutral": 470, "positive": 2683, "": 358}


# What is written


def test_the_table_has_paths_beside_it_and_the_labels_of_both_modalities(tmp_path: Path) -> None:
    folder = published(tmp_path / "mvsa", f"{SINGLE}7\tneutral,negative\n3\tpositive,positive\n")
    found = mvsa.import_to(folder, tmp_path / "new" / "out")
    out = tmp_path / "new" / "out"
    assert (out / "samples.csv").read_text(encoding="utf-8") == (
        "id,image,text_file,label,text_label,image_label\n"
        "7,data/7.jpg,data/7.txt,negative,neutral,negative\n"
        "3,data/3.jpg,data/3.txt,positive,positive,positive\n"
    )
    assert rows(out / "left_out.csv") == [["id", "reason", "text_label", "image_label"]]
    assert [sample.id for sample in found.samples] == ["7", "3"]
    assert sorted(os.listdir(out / "data")) == ["3.jpg", "3.txt", "7.jpg", "7.txt"]


def test_files_are_linked_byte_for_byte_in_any_encoding(tmp_path: Path) -> None:
    folder = published(tmp_path / "mvsa", f"{SINGLE}1\tneutral,neutral\n")
    odd = b"caf\xe9 \x80 \xff\x00\r\n"
    (folder / "data" / "1.txt").write_bytes(odd)
    mvsa.import_to(folder, tmp_path / "out")
    linked = tmp_path / "out" / "data" / "1.txt"
    assert linked.read_bytes() == odd
    assert linked.samefile(folder / "data" / "1.txt")


def test_files_of_another_disk_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    folder = published(tmp_path / "mvsa", f"{SINGLE}1\tneutral,neutral\n")
    monkeypatch.setattr(os, "link", refuse)
    mvsa.import_to(folder, tmp_path / "out")
    copied = tmp_path / "out" / "data" / "1.jpg"
    assert copied.read_bytes() == b"bytes of 1.jpg"
    assert not copied.samefile(folder / "data" / "1.jpg")


def test_no_link_leads_out_of_the_new_folder(tmp_path: Path) -> None:
    folder = published(tmp_path / "mvsa", f"{SINGLE}1\tneutral,neutral\n")
    picture = folder / "data" / "1.jpg"
    picture.rename(tmp_path / "elsewhere.jpg")
    picture.symlink_to(tmp_path / "elsewhere.jpg")
    mvsa.import_to(folder, tmp_path / "out")
    linked = tmp_path / "out" / "data" / "1.jpg"
    assert not linked.is_symlink()
    assert linked.read_bytes() == b"bytes of 1.jpg"


def test_rows_without_a_file_are_listed_with_their_labels(tmp_path: Path) -> None:
    labels = f"{SINGLE}1\tneutral,positive\n2\tneutral,positive\n3\tneutral,neutral\n4\tneutral,neutral\n"
    folder = published(tmp_path / "mvsa", labels, without=("1.jpg", "2.txt", "4.jpg", "4.txt"))
    (folder / "data" / "4.jpg").mkdir()
    found = mvsa.import_to(folder, tmp_path / "out")
    assert [sample.id for sample in found.samples] == ["3"]
    assert rows(tmp_path / "out" / "left_out.csv")[1:] == [
        ["1", "no image file", "neutral", "positive"],
        ["2", "no text file", "neutral", "positive"],
        ["4", "no image file", "neutral", "neutral"],
    ]


def test_suffixes_in_upper_case_become_lower_case(tmp_path: Path) -> None:
    labels = f"{SINGLE}1\tneutral,neutral\n2\tneutral,neutral\n"
    folder = published(tmp_path / "mvsa", labels, without=("1.jpg", "1.txt"))
    (folder / "data" / "1.JPG").write_bytes(b"one")
    (folder / "data" / "1.Txt").write_bytes(b"two")
    (folder / "data" / "2.TXT").write_bytes(b"another 2.txt")
    found = mvsa.import_to(folder, tmp_path / "out")
    assert [sample.image for sample in found.samples] == ["data/1.jpg"]
    assert (tmp_path / "out" / "data" / "1.jpg").read_bytes() == b"one"
    assert (tmp_path / "out" / "data" / "1.txt").read_bytes() == b"two"
    assert [(row.id, row.reason) for row in found.left_out] == [
        ("2", "files that differ in case only")
    ]


# Where it looks


def test_the_data_set_may_lie_one_level_deeper(tmp_path: Path) -> None:
    published(tmp_path / "unpacked" / "MVSA_Single", f"{SINGLE}1\tneutral,neutral\n")
    found = mvsa.import_to(tmp_path / "unpacked", tmp_path / "out")
    assert [sample.id for sample in found.samples] == ["1"]


def test_one_of_several_data_sets_has_to_be_named(tmp_path: Path) -> None:
    for name in ("MVSA", "MVSA_Single"):
        published(tmp_path / "unpacked" / name, f"{SINGLE}1\tneutral,neutral\n")
    told = r"unpacked: several data sets: name one: .*/unpacked/MVSA, .*/unpacked/MVSA_Single$"
    with pytest.raises(UserError, match=told):
        mvsa.import_to(tmp_path / "unpacked", tmp_path / "out")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"/none: no such folder: expected MVSA as its authors"):
        mvsa.import_to(tmp_path / "none", tmp_path / "out")
    folder = published(tmp_path / "mvsa", SINGLE)
    with pytest.raises(
        UserError, match=r"mvsa/data: no labelResultAll\.txt in it, nor in a folder"
    ):
        mvsa.import_to(folder / "data", tmp_path / "out")
    (folder / "data").rename(folder / "images")
    with pytest.raises(UserError, match=r"mvsa: no folder `data` beside labelResultAll\.txt"):
        mvsa.import_to(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_usable_row_is_an_error_that_says_why(tmp_path: Path) -> None:
    labels = f"{SINGLE}1\tneutral,positive\n2\tneutral,positive\n3\tnegative,positive\n"
    folder = published(tmp_path / "mvsa", labels, without=("1.jpg", "2.jpg"))
    told = r"mvsa: none of 3 rows can be used \(no image file: 2, text and image have opposite labels: 1\)$"
    with pytest.raises(UserError, match=told):
        mvsa.import_to(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_with_files_is_not_written_into(tmp_path: Path) -> None:
    folder = published(tmp_path / "mvsa", f"{SINGLE}1\tneutral,neutral\n")
    with pytest.raises(UserError, match=r"mvsa: not an empty folder: name a new one$"):
        mvsa.import_to(folder, folder)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file: not an empty folder: name a new one$"):
        mvsa.import_to(folder, tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert mvsa.import_to(folder, tmp_path / "empty").samples


# The label file


@pytest.mark.parametrize(
    "raw",
    [
        b"ID\ttext,image\n3\tneutral,positive\n1\tnegative,negative\n",
        b"ID\ttext,image\r\n3\tneutral,positive\r\n1\tnegative,negative\r\n",
        b"\xef\xbb\xbfID\ttext,image\n3\tneutral,positive\n1\tnegative,negative",
        b"id\ttext, image\t\n3 \t neutral , positive\t\n\n1\tnegative,negative\n\n",
    ],
    ids=["published", "crlf", "mark", "spaces"],
)
def test_rows_are_read_in_file_order_however_the_file_was_written(
    tmp_path: Path, raw: bytes
) -> None:
    path = tmp_path / "labels.txt"
    path.write_bytes(raw)
    found = [Annotated("3", "neutral", "positive"), Annotated("1", "negative", "negative")]
    assert mvsa.read_labels(path) == (1, found)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", r"line 1: ''"),
        (f"{SINGLE}\n", r"no rows below the header$"),
        ("guid,tag\n", r"line 1: 'guid,tag'"),
        ("1\tneutral,positive\n", r"line 1: '1\\tneutral,positive'"),
        ("ID\ttext,image\ttext,image\n", r"line 1: .*three \(MVSA-Multiple\)"),
        ("ID\timage,text\n", r"line 1: .*expected the header 'ID\\ttext,image'"),
        (
            f"{SINGLE}1\tneutral,positve\n",
            r"line 2: .*'positve' is not one of negative, neutral, pos",
        ),
        (f"{SINGLE}1\tNeutral,\n", r"line 2: .*'Neutral' is not one of .*; '' is not one of"),
        (f"{SINGLE}1\tneutral\n", r"line 2: .*: 'neutral' is not a pair `text,image`$"),
        (f"{SINGLE}1\tneutral,neutral,neutral\n", r"'neutral,neutral,neutral' is not a pair"),
        (
            f"{SINGLE}1,neutral,positive\n",
            r"line 2: .*: the id .*; 1 fields, where the header has 2$",
        ),
        (f"{SINGLE}1\t{three(('neutral',) * 3, ('neutral',) * 3)}\n", r"4 fields, where .* has 2$"),
        (f"{MULTIPLE}1\tneutral,positive\n", r"line 2: .*: 2 fields, where the header has 4$"),
        (
            f"{SINGLE}../1\tneutral,neutral\n",
            r"line 2: .*the id '\.\./1' is not a plain file name$",
        ),
        (f"{SINGLE}{'1' * 300}\tneutral,neutral\n", r"the id '1{100}' is not a plain file name$"),
        (
            f"{SINGLE}5\tneutral,neutral\n6\tneutral,neutral\n5\tpositive,neutral\n",
            r"line 4: '5\\tpositive,neutral': the id '5' stands in line 2, too$",
        ),
    ],
)
def test_a_bad_label_file_is_refused_with_the_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=rf"labels\.txt: {told if told[0] == 'l' else '.*' + told}"):
        mvsa.read_labels(path)


def test_ten_bad_lines_are_listed_and_the_others_counted(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(SINGLE + "".join(f"{place}\tjoy,joy\n" for place in range(12)), "utf-8")
    with pytest.raises(UserError, match=r"line 2: .*line 11: .*; and 2 more$"):
        mvsa.read_labels(path)


def test_a_label_file_in_another_encoding_or_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "labels.txt"
    with pytest.raises(UserError, match=r"labels\.txt: No such file or directory: expected the"):
        mvsa.read_labels(path)
    path.write_text(f"{SINGLE}1\tneutral,neutral\n", encoding="utf-16")
    with pytest.raises(UserError, match=r"labels\.txt: not UTF-8 text at byte 0$"):
        mvsa.read_labels(path)
