import json
from pathlib import Path

import pytest

from sentifuse.data.images import ViewSpec
from sentifuse.encoders import registry
from sentifuse.errors import UserError
from sentifuse.features import encoding, encoding_record
from sentifuse.features.encoding import Setting
from sentifuse.features.encoding_record import EncodingRecord
from tools.clip_folder import make_clip_folder

SETTING = Setting(0, 1, True, "float16", 4, 2, ViewSpec(0.5, True, 0.0))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> EncodingRecord:
    clip = str(make_clip_folder(tmp_path_factory.mktemp("record") / "clip"))
    return encoding_record.of(registry.load(clip, None), clip, None, SETTING, 3)


def test_it_is_read_as_it_was_written(record: EncodingRecord, tmp_path: Path) -> None:
    encoding_record.write(record, tmp_path)
    assert encoding_record.read(tmp_path) == record
    assert record.setting == SETTING
    assert (record.version, record.views, record.max_tokens) == (encoding.VERSION, 3, 77)
    assert record.image_spec.crop == 32
    assert set(record.libraries) == {"torch", "transformers", "pillow"}
    assert record.image_fingerprint != record.text_fingerprint


def test_a_missing_record_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"encoding\.json: no such record: run `dvc repro prepro"):
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
