import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
from PIL import Image

from sentifuse.data.images import ViewSpec
from sentifuse.data.manifest import Sample
from sentifuse.encoders import registry
from sentifuse.errors import UserError
from sentifuse.features import encoding_record, preprocessing, schema
from sentifuse.features.encoding import Setting
from sentifuse.features.engines import local
from sentifuse.features.engines.registry import Encode
from tests.serial_pool import SerialPool
from tools.clip_folder import make_clip_folder

VIEWS = ViewSpec(scale_min=0.5, flip=True, jitter=0.0)


class ReachedError(Exception):
    """Encoding would start now."""


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip_folder(tmp_path_factory.mktemp("clip"))


def run(
    backbone: Path,
    samples: list[Sample],
    setting: Setting,
    encode: Encode,
    out: Path,
) -> dict[str, Any]:
    encoders = registry.load(str(backbone), None)
    record = encoding_record.of(encoders, str(backbone), None, setting, 2)
    return preprocessing.preprocess(
        samples, encoders, record, encode, store=out.parent / "store", out=out
    )


def encode(*arguments: object) -> None:
    raise ReachedError


def preprocess(backbone: Path, *, text_split: int = 0, image_split: int = 0) -> None:
    setting = Setting(image_split, text_split, True, "float16", 4, 4, VIEWS)
    run(backbone, [], setting, encode, backbone / "out")


def test_more_layers_than_the_encoder_has_are_refused_before_encoding(backbone: Path) -> None:
    with pytest.raises(UserError, match="unfreeze_text_layers: 4: the encoder has 3 layers"):
        preprocess(backbone, text_split=4)
    with pytest.raises(UserError, match="unfreeze_vision_layers: 9: the encoder has 3 layers"):
        preprocess(backbone, image_split=9)


def test_weights_that_were_not_expected_are_refused(
    backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preprocessing.load(str(backbone), None, None)
    told = capsys.readouterr().out
    [line] = [each for each in told.splitlines() if each.startswith("backbone.fingerprint: ")]
    expected = line.removeprefix("backbone.fingerprint: ")
    assert preprocessing.load(str(backbone), None, expected).fingerprint == expected
    other = tmp_path / "other"
    shutil.copytree(backbone, other)
    weights = safetensors.torch.load_file(other / "model.safetensors")
    weights["visual_projection.weight"][0, 0] += 1e-3
    safetensors.torch.save_file(weights, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        UserError, match=f"^backbone.fingerprint: {expected}: the weights, .* have "
    ):
        preprocessing.load(str(other), None, expected)


def test_a_whole_encoder_is_allowed_and_said_to_be_slow(
    backbone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ReachedError):
        preprocess(backbone, text_split=3)
    assert "unfreeze_text_layers: 3 is the whole encoder" in capsys.readouterr().out
    with pytest.raises(ReachedError):
        preprocess(backbone, text_split=2, image_split=1)
    assert "whole encoder" not in capsys.readouterr().out


def test_the_precision_is_on_record_and_how_close_it_is_to_float32(
    backbone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "ProcessPoolExecutor", SerialPool)
    for number in range(3):
        Image.new("RGB", (40, 50), (80 * number, 90, 0)).save(tmp_path / f"{number}.png")
        (tmp_path / f"{number}.txt").write_text("good day " * number, encoding="utf-8")
    samples = [
        Sample(
            f"g{number}",
            str(tmp_path / f"{number}.png"),
            str(tmp_path / f"{number}.txt"),
            f"i{number}",
            f"t{number}",
        )
        for number in range(3)
    ]
    found, embeddings = {}, {}
    for precision in ("fp32", "bf16"):
        out = tmp_path / precision
        setting = Setting(0, 1, True, "float16", 4, 4, VIEWS, precision=precision)
        found[precision] = run(backbone, samples, setting, local.encode, out)
        assert encoding_record.read(out).setting.precision == precision
        embeddings[precision] = schema.read(out).text_embeddings
    assert found["fp32"] == {
        "precision": "fp32",
        "least_cosine_to_fp32": {"image": 1.0, "text": 1.0},
    }
    assert found["bf16"]["precision"] == "bf16"
    least = found["bf16"]["least_cosine_to_fp32"]
    assert least.keys() == {"image", "text"}
    assert all(0.999 < value < 1 for value in least.values())
    exact, low = (embeddings[each].astype(float) for each in ("fp32", "bf16"))
    norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(low, axis=1)
    assert least["text"] == pytest.approx(((exact * low).sum(axis=1) / norms).min(), abs=1e-6)
