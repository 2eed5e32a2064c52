"""Tests of the text in pictures as a source of its own, from the manifest to the features."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sentifuse.errors import UserError
from sentifuse.features import encoding_record
from sentifuse.features.encoding import Item
from sentifuse.features.engines import local, ray
from sentifuse.features.engines.cluster import Cluster
from sentifuse.features.key_table import KeyTable
from sentifuse.features.reading import ReaderRecord
from sentifuse.features.store import contents
from sentifuse.features.store.space import Space
from sentifuse.models.classifier import Classifier
from tests.fake_ocr import (
    IMAGE,
    IN_IMAGES,
    OCR,
    SETTING,
    TEXT,
    FakeReader,
    install,
    picture,
    preprocessed,
    samples,
)
from tests.serial_pool import SerialPool
from tests.synthetic import model_config
from tools.clip_folder import make_clip_folder


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> FakeReader:
    monkeypatch.setattr(local, "ProcessPoolExecutor", SerialPool)
    return install(monkeypatch)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip_folder(tmp_path_factory.mktemp("made") / "clip")


def test_the_features_have_one_more_text(
    tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features, record, report = preprocessed(tmp_path, clip)
    assert [each.key for each in features.meta.encoders] == [IMAGE, TEXT, OCR]
    last = features.meta.encoders[-1]
    assert (last.modality, last.tail) == ("text", None)
    assert record.of(OCR).ocr == FakeReader.fingerprint
    assert encoding_record.read(tmp_path / "features") == record
    found = features.arrays[OCR]
    assert found.embeddings.shape == (6, 1, last.dim)
    assert (found.tokens, found.hidden, found.offsets) == (None, None, None)
    assert [bool(row.any()) for row in found.embeddings] == [True, False, True, True, False, True]
    np.testing.assert_array_equal(found.embeddings[0], found.embeddings[3])
    assert np.abs(found.embeddings[0] - found.embeddings[2]).max() > 0
    assert report[OCR] == report[TEXT]
    told = capsys.readouterr()
    assert "text in 4 of 6 images" in told.out
    assert "read text in images: 100%" in told.err
    assert f"encode text in images: {clip}: 100%" in told.err


def test_a_text_is_encoded_as_one_that_stands_in_a_file(tmp_path: Path, clip: Path) -> None:
    features, record, _ = preprocessed(tmp_path, clip)
    path = tmp_path / "in_image.txt"
    path.write_text(IN_IMAGES[2], encoding="utf-8")
    space = Space(tmp_path / "other", "text")
    local.encode(record.of(OCR), SETTING, [Item("a", str(path), 0)], space)
    [(_, row)] = space.rows(KeyTable(["a"]))
    np.testing.assert_array_equal(features.arrays[OCR].embeddings[2], row["embedding"])
    assert record.of(OCR).fingerprint == record.of(TEXT).fingerprint


def test_each_picture_is_read_once_whatever_encodes_its_text(
    tmp_path: Path, clip: Path, reader: FakeReader, capsys: pytest.CaptureFixture[str]
) -> None:
    first, _, _ = preprocessed(tmp_path, clip)
    assert reader.seen == len(IN_IMAGES)
    capsys.readouterr()
    second, _, _ = preprocessed(tmp_path, clip)
    np.testing.assert_array_equal(second.arrays[OCR].embeddings, first.arrays[OCR].embeddings)
    assert capsys.readouterr().err == ""
    other, _, _ = preprocessed(tmp_path, clip, make_clip_folder(tmp_path / "other", seed=1))
    assert other.arrays["ocr_other"].embeddings.shape == first.arrays[OCR].embeddings.shape
    assert reader.seen == len(IN_IMAGES)


def test_texts_that_were_damaged_in_the_store_are_read_again(
    tmp_path: Path, clip: Path, reader: FakeReader, capsys: pytest.CaptureFixture[str]
) -> None:
    first, record, _ = preprocessed(tmp_path, clip)
    assert record.reader is not None
    space = Space(tmp_path / "store", record.reading_space(record.reader).name)
    for path in space.paths():
        raw = bytearray(path.read_bytes())
        raw[-1] ^= 1
        path.write_bytes(raw)
    second, _, _ = preprocessed(tmp_path, clip)
    np.testing.assert_array_equal(second.arrays[OCR].embeddings, first.arrays[OCR].embeddings)
    assert reader.seen == 2 * len(IN_IMAGES)
    assert "damaged and are gone" in capsys.readouterr().err


def test_the_store_says_what_its_spaces_are(tmp_path: Path, clip: Path) -> None:
    _, record, _ = preprocessed(tmp_path, clip)
    found = {each.name: each for each in contents.read(tmp_path / "store", verify=True)}
    assert found.keys() == {each.name for each in record.spaces()}
    assert record.reader is not None
    own = found[record.reading_space(record.reader).name]
    assert (own.rows, own.garbage) == (len(IN_IMAGES), [])
    assert own.purpose().startswith("text in images, reader ffffffffffff, pillow ")


def test_how_close_a_lower_precision_comes_is_told(tmp_path: Path, clip: Path) -> None:
    _, _, report = preprocessed(tmp_path, clip, precision="bf16")
    assert report[OCR]["precision"] == "bf16"
    assert 0.999 < report[OCR]["least_cosine_to_fp32"] < 1


class Here(Cluster):
    """A cluster that is this process."""

    def cores(self) -> int:
        return 2

    def run(self, make: Any, arguments: Any, tasks: Any) -> Iterator[tuple[int, str]]:
        work = make(**arguments)
        for number, task in enumerate(tasks):
            yield number, work(task)


def test_nodes_of_a_cluster_write_the_same_shards(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentifuse.runtime.threads.cores", lambda: 2)
    _, record, _ = preprocessed(tmp_path, clip)
    jobs: list[tuple[Any, list[Item]]] = [
        (ReaderRecord(FakeReader.fingerprint), []),
        (record.of(OCR), [Item(text, "", 0, text) for text in IN_IMAGES if text][:2]),
    ]
    for number, sample in enumerate(samples(tmp_path)):
        jobs[0][1].append(Item(f"i{number}", sample.image, 0))
    for job, items in jobs:
        spaces = Space(tmp_path, f"here-{job.task[:4]}"), Space(tmp_path, f"there-{job.task[:4]}")
        local.encode(job, SETTING, items, spaces[0])
        ray.encode(Here(None), job, SETTING, items, spaces[1])
        here, there = ({path.name for path in space.paths()} for space in spaces)
        assert here == there
        assert len(here) == 2


def test_the_text_side_of_the_model_is_wider(tmp_path: Path, clip: Path) -> None:
    features, _, _ = preprocessed(tmp_path, clip)
    image, text, last = features.meta.encoders
    config = model_config(encoders=features.meta.encoders)
    plain = model_config(encoders=(image, text))
    wider = Classifier(config).fusion.out_dim - Classifier(plain).fusion.out_dim
    assert wider == last.dim
    for fusion in ("gated", "film", "cross_attn"):
        assert Classifier(model_config(encoders=features.meta.encoders, fusion=fusion))


def test_a_picture_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture(0)[:60])
    items = [Item("a", str(tmp_path / "a.png"), 0)]
    with pytest.raises(UserError, match=r"a\.png: not an image that can be decoded"):
        local.encode(ReaderRecord(FakeReader.fingerprint), SETTING, items, Space(tmp_path, "s"))
