"""Tests of the record, and of the names of spaces: different whenever a row could differ."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sentifuse.encoders import registry
from sentifuse.encoders.interface import Backbone
from sentifuse.errors import UserError
from sentifuse.features import encoding, encoding_record
from sentifuse.features.encoding import Modality, Setting
from sentifuse.features.encoding_record import EncodingRecord
from tests.sentifuse.features.test_encoding import PRECISIONS, SETTING
from tools.clip_folder import make_clip_folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return registry.load(str(make_clip_folder(tmp_path_factory.mktemp("clip"))), None)


@pytest.fixture(scope="module")
def record(clip: Backbone) -> EncodingRecord:
    return encoding_record.of(clip, clip.name, None, SETTING, 3)


def test_it_is_read_as_it_was_written(record: EncodingRecord, tmp_path: Path) -> None:
    encoding_record.write(record, tmp_path)
    assert encoding_record.read(tmp_path) == record
    assert record.setting == SETTING
    assert (record.version, record.views, record.max_tokens) == (encoding.VERSION, 3, 77)
    assert record.image_spec.crop == 32
    assert set(record.libraries) == {"torch", "transformers", "pillow"}
    assert record.image_fingerprint != record.text_fingerprint


def test_a_missing_record_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"encoding\.json: no such file: run `dvc repro"):
        encoding_record.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"views": "3"}, "views: '3'"), ({"new": 1}, "new: unknown key"), ({"views": None}, "views")],
)
def test_another_shape_is_refused(
    record: EncodingRecord, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    encoding_record.write(record, tmp_path)
    path = tmp_path / "encoding.json"
    document = {**json.loads(path.read_text(encoding="utf-8")), **change}
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(UserError, match=rf"encoding\.json: {message}"):
        encoding_record.read(tmp_path)


def test_a_record_from_before_there_was_a_choice_of_precision_is_read(
    record: EncodingRecord, tmp_path: Path
) -> None:
    encoding_record.write(record, tmp_path)
    path = tmp_path / "encoding.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["setting"].pop("precision") == "fp32"
    assert document["setting"].pop("device") == "cpu"
    path.write_text(json.dumps(document), encoding="utf-8")
    assert encoding_record.read(tmp_path) == record


def space_name(modality: Modality, backbone: Backbone, setting: Setting) -> str:
    record = encoding_record.of(backbone, backbone.name, None, setting, views=1)
    return record.space(modality).name


@pytest.fixture(scope="module")
def bundled() -> Backbone:
    return registry.load("bundled", None)


def test_a_space_is_named_for_all_that_decides_its_rows(clip: Backbone) -> None:
    def names(setting: Setting, backbone: Backbone = clip) -> tuple[str, str]:
        return space_name("image", backbone, setting), space_name("text", backbone, setting)

    image, text = names(SETTING)
    assert image.startswith("image-")
    assert text.startswith("text-")
    assert names(replace(SETTING)) == (image, text)
    for changes, new_image, new_text in (
        ({"tokens": False}, True, True),
        ({"hidden_dtype": "float32"}, True, True),
        ({"image_split": 1}, True, False),
        ({"image_batch": 8}, True, False),
        ({"views": replace(SETTING.views, jitter=0.3)}, True, False),
        ({"text_split": 1}, False, True),
        ({"text_batch": 8}, False, True),
        ({"precision": "bf16"}, True, True),
        ({"precision": "fp16"}, True, True),
        ({"device": "cuda"}, True, True),
        ({"numerics": "portable"}, True, True),
    ):
        changed = names(replace(SETTING, **changes))
        assert (changed[0] != image, changed[1] != text) == (new_image, new_text), changes
    low = {names(replace(SETTING, precision=each))[0] for each in PRECISIONS}
    assert len(low) == len(PRECISIONS)


@pytest.mark.parametrize(
    ("library", "new_image", "new_text"),
    [("torch", True, True), ("transformers", True, True), ("pillow", True, False)],
)
def test_another_version_of_a_library_has_another_space(
    library: str,
    new_image: bool,
    new_text: bool,
    clip: Backbone,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def names() -> list[str]:
        return [space_name("image", clip, SETTING), space_name("text", clip, SETTING)]

    assert library in encoding_record.versions()
    before, libraries = names(), encoding_record.versions()
    monkeypatch.setattr(encoding_record, "versions", lambda: {**libraries, library: "0.0"})
    changed = [name != old for name, old in zip(names(), before, strict=True)]
    assert changed == [new_image, new_text]


@pytest.mark.parametrize("version", ["VERSION", "TEXT_VERSION"])
def test_another_version_of_this_code_has_another_space(
    version: str, clip: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = space_name("text", clip, SETTING)
    monkeypatch.setattr(encoding, version, 99)
    assert space_name("text", clip, SETTING) != before


def test_another_image_size_and_other_weights_have_another_space(tmp_path: Path) -> None:
    def names(folder: Path) -> tuple[str, str]:
        backbone = registry.load(str(folder), None)
        return space_name("image", backbone, SETTING), space_name("text", backbone, SETTING)

    first = make_clip_folder(tmp_path / "first")
    same = names(make_clip_folder(tmp_path / "same"))
    assert same == names(first)
    path = first / "preprocessor_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    # What is cut out of the picture; the encoder's own size stays.
    path.write_text(json.dumps({**config, "size": {"shortest_edge": 40}}), encoding="utf-8")
    assert names(first)[0] != same[0]
    assert names(first)[1] == same[1]
    other = names(make_clip_folder(tmp_path / "other", seed=1))
    assert other[0] != same[0]
    assert other[1] != same[1]


def test_another_encoder_has_another_space(clip: Backbone, bundled: Backbone) -> None:
    for modality in ("image", "text"):
        assert space_name(modality, clip, SETTING) != space_name(modality, bundled, SETTING)
