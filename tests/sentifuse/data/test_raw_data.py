from collections import Counter
from pathlib import Path

import pytest

from sentifuse.config.recipe import COLUMNS
from sentifuse.data import raw_data
from sentifuse.errors import UserError
from tests.places import REAL_DATA, on_real_data
from tests.raw_files import HEADER, label_files, sample_files

LABELS = ("negative", "positive")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four labelled samples and four to predict, all sound."""
    root = sample_files(tmp_path / "raw", dict.fromkeys("abcdwxyz", ".png"))
    train = "".join(f"{guid},{tag}\n" for guid, tag in zip("dbca", LABELS * 2, strict=True))
    return label_files(root, HEADER + train, HEADER + "".join(f"{guid},null\n" for guid in "zxyw"))


def break_some(root: Path) -> None:
    data = root / "data"
    (data / "b.png").unlink()
    (data / "x.png").unlink()
    (data / "y.txt").write_bytes(b"")
    (data / "w.txt").unlink()
    (data / "w.png").write_bytes(b"no image")
    with (root / "test_without_label.txt").open("a", encoding="utf-8") as file:
        file.write("../../etc/passwd,null\n")


def test_sound_data_are_all_used(root: Path) -> None:
    raw = raw_data.read(root, LABELS, COLUMNS)
    for policy in ("error", "skip"):
        found = raw_data.usable(raw, root, LABELS, policy)  # type: ignore[arg-type]
        assert [row.guid for row in found.labelled] == list("dbca")
        assert [row.guid for row in found.predict] == list("zxyw")
        assert list(found.samples["guid"]) == list("abcdwxyz")
        assert found.no_input == frozenset()
        assert found.report == {
            "labelled_left_out": 0,
            "predicted_without": {"image": 0, "text": 0, "image+text": 0},
            "reasons": {},
            "notes": {},
        }


def test_bad_samples_stop_with_the_list(root: Path) -> None:
    break_some(root)
    raw = raw_data.read(root, LABELS, COLUMNS)
    with pytest.raises(UserError, match=r"raw: 5 bad rows \(") as caught:
        raw_data.usable(raw, root, LABELS, "error")
    for guid in ("b", "x", "y", "w", "../../etc/passwd"):
        assert f"guid {guid}: " in str(caught.value)


def test_or_are_left_out_of_training_and_predicted_from_what_they_have(root: Path) -> None:
    break_some(root)
    found = raw_data.usable(raw_data.read(root, LABELS, COLUMNS), root, LABELS, "skip")
    assert [row.guid for row in found.labelled] == list("dca")
    assert [row.guid for row in found.predict] == [*"zxyw", "../../etc/passwd"]
    assert found.no_input == {"w", "../../etc/passwd"}
    rows = found.samples.set_index("guid")
    assert list(rows.index) == list("acdxyz")
    assert (rows.loc["x", "image"], rows.loc["y", "text"]) == ("", "")
    assert rows.loc["x", "text"]
    assert rows.loc["y", "image"]
    assert found.report == {
        "labelled_left_out": 1,
        "predicted_without": {"image": 1, "text": 1, "image+text": 2},
        "reasons": {
            "guid is not a plain file name": 1, "no image file": 2, "no text file": 1,
            "not an image": 1, "text empty": 1,
        },
        "notes": {},
    }  # fmt: skip


def test_a_label_whose_every_row_is_bad_is_named(root: Path) -> None:
    for guid in "dc":
        (root / "data" / f"{guid}.txt").unlink()
    raw = raw_data.read(root, LABELS, COLUMNS)
    with pytest.raises(UserError, match=r"^labels: .* no usable row with the tag 'negative'"):
        raw_data.usable(raw, root, LABELS, "skip")


@on_real_data
def test_the_real_data_have_no_bad_sample() -> None:
    labels = ("negative", "neutral", "positive")
    raw = raw_data.read(REAL_DATA, labels, COLUMNS)
    assert raw.problems == []
    reasons = Counter(note.reason for note in raw.notes)
    assert reasons == {"text empty after cleaning": 44, "encoding in doubt": 11}
    found = raw_data.usable(raw, REAL_DATA, labels, "error")
    assert (len(found.labelled), len(found.predict), len(found.samples)) == (4000, 511, 4511)
