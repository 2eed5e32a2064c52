"""Tests of the synthetic data set."""

import csv
from collections import Counter
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from PIL import Image, ImageStat

from demo.camera import SIDES
from demo.generate import LABEL_NOISE, generate, merge, mislabelled, plan, quotas
from demo.scenes import SCENES, paint
from demo.text import FOREIGN, Encoding, Sentiment, compose

LABELLED, UNLABELLED = 120, 16
SENTIMENTS: tuple[Sentiment, ...] = ("negative", "neutral", "positive")
SUFFIXES = {".jpg", ".png", ".webp"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of the size above."""
    path = tmp_path_factory.mktemp("demo")
    generate(path, labelled=LABELLED, unlabelled=UNLABELLED, seed=3)
    return path


def read_back(data: bytes) -> tuple[str, str]:
    """Returns a text and its encoding as a reader would guess it: the first that fits."""
    for encoding in ("utf-8", "gb18030"):
        try:
            return data.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1"), "latin-1"


def table(path: Path) -> list[list[str]]:
    """Returns the rows of a table, its header first."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def contents(root: Path) -> dict[str, bytes]:
    """Returns the bytes of every file by its path within the folder."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


def test_same_arguments_give_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        generate(tmp_path / name, labelled=30, unlabelled=3, seed=seed)
    first, second, other = (contents(tmp_path / name) for name in "abc")
    assert first == second
    assert first != other


def test_the_wrong_labels_that_were_planted_are_known() -> None:
    planted = mislabelled(labelled=200, unlabelled=20, seed=4)
    assert len(planted) == 2 * round(200 * LABEL_NOISE / 2)
    assert planted == mislabelled(labelled=200, unlabelled=20, seed=4)
    assert planted != mislabelled(labelled=200, unlabelled=20, seed=5)


def test_every_sample_has_one_row_one_text_and_one_image(root: Path) -> None:
    train, test = table(root / "train.txt"), table(root / "test_without_label.txt")
    assert train[0] == test[0] == ["guid", "tag"]
    guids = [guid for guid, _ in train[1:] + test[1:]]
    assert (len(train) - 1, len(test) - 1) == (LABELLED, UNLABELLED)
    assert len(set(guids)) == len(guids)
    assert all(str(int(guid)) == guid and int(guid) > 0 for guid in guids)
    texts = sorted(path.stem for path in (root / "data").glob("*.txt"))
    images = sorted(path.stem for path in (root / "data").iterdir() if path.suffix in SUFFIXES)
    assert texts == images == sorted(guids)
    assert len(list((root / "data").iterdir())) == 2 * len(guids)
    assert {path.name for path in root.iterdir()} == {
        "data", "train.txt", "test_without_label.txt"
    }  # fmt: skip


def test_rows_are_in_no_order(root: Path) -> None:
    rows = table(root / "train.txt")[1:]
    guids, tags = [int(guid) for guid, _ in rows], [tag for _, tag in rows]
    assert guids != sorted(guids)
    changes = sum(a != b for a, b in pairwise(tags))
    assert changes > len(tags) / 4


def test_labels_are_as_unbalanced_as_in_the_real_data(root: Path) -> None:
    assert Counter(tag for _, tag in table(root / "train.txt")[1:]) == {
        "positive": 72, "negative": 36, "neutral": 12
    }  # fmt: skip
    assert {tag for _, tag in table(root / "test_without_label.txt")[1:]} == {"null"}


def test_unlabelled_samples_may_be_none(tmp_path: Path) -> None:
    generate(tmp_path, labelled=30, unlabelled=0, seed=1)
    assert (tmp_path / "test_without_label.txt").read_bytes() == b"guid,tag\n"
    assert len(table(tmp_path / "train.txt")) == 31


@pytest.mark.parametrize(
    ("labelled", "unlabelled", "message"),
    [
        (0, 5, "labelled is 0; at least 30"),
        (29, 5, "labelled is 29; at least 30"),
        (-3, 5, "labelled is -3; at least 30"),
        (30, -1, "unlabelled is -1; it must be 0 or more"),
    ],
)
def test_counts_out_of_range_are_named_and_nothing_is_written(
    tmp_path: Path, labelled: int, unlabelled: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        generate(tmp_path / "new", labelled=labelled, unlabelled=unlabelled, seed=1)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("text", "image", "label"),
    [
        ("positive", "positive", "positive"),
        ("neutral", "neutral", "neutral"),
        ("negative", "negative", "negative"),
        ("neutral", "negative", "negative"),
        ("positive", "neutral", "positive"),
        ("negative", "positive", None),
        ("positive", "negative", None),
    ],
)
def test_merge_follows_the_corpus(text: Sentiment, image: Sentiment, label: str | None) -> None:
    assert merge(text, image) == label


@pytest.mark.parametrize("count", [0, 1, 7, 30, 600, 1001])
def test_quotas_add_up(count: int) -> None:
    assert sum(quotas(count).values()) == count
    assert min(quotas(count).values()) >= 0


def test_labels_are_merged_ones_but_for_the_label_noise() -> None:
    samples = plan(1000, Random(1))
    merged = [merge(sample.text, sample.image) for sample in samples]
    assert None not in merged
    wrong = sum(sample.tag != label for sample, label in zip(samples, merged, strict=True))
    assert wrong == round(1000 * LABEL_NOISE)
    assert Counter(sample.tag for sample in samples) == quotas(1000)


def test_neither_modality_alone_determines_the_label() -> None:
    samples = plan(1000, Random(2))
    for name in ("text", "image"):
        pairs = Counter((getattr(sample, name), sample.tag) for sample in samples)
        # A perfect reader of one modality answers the most frequent label of each sentiment.
        best = sum(max(pairs[seen, tag] for tag in SENTIMENTS) for seen in SENTIMENTS)
        assert 0.6 < best / 1000 < 0.85
        # All three labels occur where this modality is neutral, each of them often.
        assert min(pairs["neutral", tag] for tag in SENTIMENTS) > 50


def test_texts_are_short_various_and_of_three_encodings(root: Path) -> None:
    texts = [read_back(path.read_bytes()) for path in sorted((root / "data").glob("*.txt"))]
    assert {encoding for _, encoding in texts} == {"utf-8", "gb18030", "latin-1"}
    lines = [text for text, _ in texts]
    assert all(3 <= len(line.split()) <= 30 and line.count("\n") == 1 for line in lines)
    assert len(set(lines)) > 0.98 * len(lines)
    for mark in ("#", "@", "http://t.co/", "RT @"):
        assert 0.02 < sum(mark in line for line in lines) / len(lines) < 0.9


@pytest.mark.parametrize("encoding", ["utf-8", "gbk", "latin-1"])
@pytest.mark.parametrize("sentiment", SENTIMENTS)
def test_texts_survive_a_reader_that_guesses_the_encoding(
    sentiment: Sentiment, encoding: Encoding
) -> None:
    rng = Random(4)
    expected = "gb18030" if encoding == "gbk" else encoding
    for _ in range(200):
        text = compose(sentiment, encoding, rng)
        assert read_back(text.encode(encoding)) == (text, expected)


@pytest.mark.parametrize("ending", ["", " ", "\n", " #Tag"])
@pytest.mark.parametrize("encoding", ["gbk", "latin-1"])
def test_each_foreign_phrase_is_enough_to_tell_the_encoding(
    encoding: Encoding, ending: str
) -> None:
    for phrase in FOREIGN[encoding]:
        text = f"a b {phrase}{ending}"
        assert read_back(text.encode(encoding))[0] == text


def test_images_open_and_vary_in_size_and_format(root: Path) -> None:
    sizes, formats = set(), Counter[str | None]()
    for path in sorted(path for path in (root / "data").iterdir() if path.suffix in SUFFIXES):
        with Image.open(path) as image:
            image.load()
            sizes.add(image.size)
            formats[image.format] += 1
            assert SIDES[0] <= min(image.size) <= max(image.size) <= SIDES[1]
    assert len(sizes) > 60
    assert {width > height for width, height in sizes} == {True, False}
    assert formats["JPEG"] > 0.8 * formats.total()
    assert len(formats) >= 2


def test_no_scene_stands_for_two_sentiments() -> None:
    scenes = [scene for sentiment in SENTIMENTS for scene in dict.fromkeys(SCENES[sentiment])]
    assert len(set(scenes)) == len(scenes)


def test_brightness_overlaps_between_the_sentiments() -> None:
    rng = Random(6)
    means: dict[Sentiment, list[float]] = {}
    for sentiment in SENTIMENTS:
        pictures = (paint(sentiment, rng).convert("L") for _ in range(20))
        means[sentiment] = sorted(ImageStat.Stat(picture).mean[0] for picture in pictures)
    # The middle half of each sentiment's brightness lies across the others'.
    lowest = max(values[5] for values in means.values())
    highest = min(values[14] for values in means.values())
    assert lowest < highest
