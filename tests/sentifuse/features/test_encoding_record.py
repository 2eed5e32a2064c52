"""Tests of the record, and of the names of spaces: different whenever a row could differ."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from sentifuse.config.backbone import Modality
from sentifuse.encoders import registry
from sentifuse.errors import UserError
from sentifuse.features import encoding, encoding_record
from sentifuse.features.encoding import VERSIONS, EncoderRecord, Setting
from sentifuse.features.encoding_record import EncodingRecord
from tests.sentifuse.features.test_encoding import PRECISIONS, SETTING, record_of
from tools.clip_folder import make_clip_folder
from tools.encoder_folders import make_encoder_folder

MODALITIES: tuple[Modality, Modality] = ("image", "text")


def encoders_of(folder: Path) -> tuple[EncoderRecord, ...]:
    """How both encoders of a CLIP model are used, all states kept."""
    name = str(folder)
    return tuple(
        record_of(registry.load(name, modality), modality, name=name) for modality in MODALITIES
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[EncoderRecord, ...]:
    return encoders_of(make_clip_folder(tmp_path_factory.mktemp("clip")))


@pytest.fixture(scope="module")
def record(clip: tuple[EncoderRecord, ...]) -> EncodingRecord:
    second = replace(clip[1], key="text_net-2", split=0, tokens=False)
    return EncodingRecord((*clip, second), 3, SETTING, encoding_record.versions())


def test_it_is_read_as_it_was_written(record: EncodingRecord, tmp_path: Path) -> None:
    encoding_record.write(record, tmp_path)
    assert encoding_record.read(tmp_path) == record
    assert record.setting == SETTING
    assert set(record.libraries) == {"torch", "transformers", "pillow", "emoji"}


def test_an_encoder_is_found_by_its_key(record: EncodingRecord) -> None:
    keys = ["image_net", "text_net", "text_net-2"]
    assert [record.of(key) for key in keys] == list(record.encoders)


def test_a_missing_record_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"encoding\.json: no such file: run `dvc repro"):
        encoding_record.read(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"views": "3"}, "views: '3'"),
        ({"new": 1}, "new: unknown key"),
        ({"views": None}, "views"),
        ({"encoders": "clip"}, "encoders: 'clip'"),
        ({"encoders": [{"key": "text_net"}]}, r"encoders\.0\.\w+: "),
    ],
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modality": "sound"}, "modality: 'sound'"),
        ({"split": "all"}, "split: 'all'"),
        ({"revision": None}, "revision: unknown key"),
    ],
)
def test_another_shape_of_an_encoder_is_refused(
    record: EncodingRecord, change: dict[str, object], message: str
) -> None:
    document = json.loads(json.dumps(asdict(record)))
    document["encoders"][1] |= change
    with pytest.raises(UserError, match=rf"^here: encoders\.1\.{message}"):
        encoding_record.parse(document, "here")


def space_name(
    encoder: EncoderRecord, setting: Setting = SETTING, libraries: dict[str, str] | None = None
) -> str:
    found = encoding_record.versions() | (libraries or {})
    return EncodingRecord((encoder,), 1, setting, found).space(encoder).name


def names(
    encoders: tuple[EncoderRecord, ...],
    setting: Setting = SETTING,
    libraries: dict[str, str] | None = None,
) -> list[str]:
    return [space_name(each, setting, libraries) for each in encoders]


def changed(old: list[str], new: list[str]) -> tuple[bool, ...]:
    return tuple(one != other for one, other in zip(old, new, strict=True))


def test_a_space_is_named_for_all_that_decides_its_rows(clip: tuple[EncoderRecord, ...]) -> None:
    image, text = names(clip)
    assert image.startswith("image-")
    assert text.startswith("text-")
    assert names(tuple(replace(each) for each in clip), replace(SETTING)) == [image, text]
    for changes, expected in (
        ({"hidden_dtype": "float32"}, (True, True)),
        ({"image_batch": 8}, (True, False)),
        ({"views": replace(SETTING.views, jitter=0.3)}, (True, False)),
        ({"text_batch": 8}, (False, True)),
        ({"device": "cuda"}, (True, True)),
        ({"numerics": "portable"}, (True, True)),
    ):
        other = names(clip, replace(SETTING, **changes))
        assert changed([image, text], other) == expected, changes


@pytest.mark.parametrize(
    "changes",
    [
        {"split": 1},
        {"split": 0},
        {"tokens": False},
        {"precision": "bf16"},
        {"precision": "fp16"},
        {"fingerprint": "0" * 64},
        {"version": 99},
    ],
)
def test_a_space_is_named_for_how_its_encoder_is_used(
    changes: dict[str, Any], clip: tuple[EncoderRecord, ...]
) -> None:
    other = tuple(replace(each, **changes) for each in clip)
    assert changed(names(clip), names(other)) == (True, True)


def test_each_precision_has_a_space(clip: tuple[EncoderRecord, ...]) -> None:
    found = {space_name(replace(clip[0], precision=each)) for each in PRECISIONS}
    assert len(found) == len(PRECISIONS)


def test_a_space_is_not_named_for_what_its_encoder_is_called_nor_for_the_views_that_are_kept(
    clip: tuple[EncoderRecord, ...],
) -> None:
    """So an encoder that moves in `params.yaml`, or to another folder, finds what it has encoded."""
    other = tuple(replace(each, key=f"{each.key}-2", name="elsewhere") for each in clip)
    assert names(other) == names(clip)
    records = [
        EncodingRecord(other, views, SETTING, encoding_record.versions()) for views in (1, 5)
    ]
    assert len({each.space(clip[0]).name for each in records}) == 1
    described = records[0].space(other[1])
    assert (described.modality, described.encoder) == ("text", "elsewhere")


@pytest.mark.parametrize(
    ("library", "expected"),
    [
        ("torch", (True, True)),
        ("transformers", (True, True)),
        ("pillow", (True, False)),
        ("emoji", (False, True)),
    ],
)
def test_another_version_of_a_library_has_another_space(
    library: str, expected: tuple[bool, bool], clip: tuple[EncoderRecord, ...]
) -> None:
    assert library in encoding_record.versions()
    assert changed(names(clip), names(clip, libraries={library: "0.0"})) == expected


def test_both_modalities_have_a_version_of_their_code() -> None:
    assert encoding.VERSIONS.keys() == set(MODALITIES)
    assert all(isinstance(version, int) for version in VERSIONS.values())


def test_another_image_size_and_other_weights_have_another_space(tmp_path: Path) -> None:
    first = make_clip_folder(tmp_path / "first")
    same = names(encoders_of(make_clip_folder(tmp_path / "same")))
    assert same == names(encoders_of(first))
    path = first / "preprocessor_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    # What is cut out of the picture; the encoder's own size stays.
    path.write_text(json.dumps({**config, "size": {"shortest_edge": 40}}), encoding="utf-8")
    assert changed(same, names(encoders_of(first))) == (True, False)
    other = encoders_of(make_clip_folder(tmp_path / "other", seed=1))
    assert changed(same, names(other)) == (True, True)


def test_another_encoder_has_another_space(clip: tuple[EncoderRecord, ...], tmp_path: Path) -> None:
    found = set(names(clip))
    built_in: tuple[tuple[str, Modality], ...] = (
        ("efficientnet-lite0", "image"),
        ("minilm-l6", "text"),
    )
    for name, modality in built_in:
        encoder = registry.load(name, modality)
        found.add(space_name(record_of(encoder, modality, name=name)))
    for family in ("resnet", "mpnet", "bert"):
        folder = str(make_encoder_folder(family, tmp_path / family))
        other: Modality = "image" if family == "resnet" else "text"
        found.add(space_name(record_of(registry.load(folder, other), other, split=0)))
    assert len(found) == 7
