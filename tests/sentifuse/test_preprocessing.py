import shutil
from pathlib import Path

import pandas as pd
import pytest
import safetensors.torch

from sentifuse import manifest, preprocessing
from sentifuse.encoding import Setting
from sentifuse.errors import UserError
from sentifuse.images import ViewSpec
from tests.clip_folder import make_clip_folder


class ReachedError(Exception):
    """Encoding would start now."""


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip_folder(tmp_path_factory.mktemp("clip"))


def encode(*arguments: object) -> None:
    raise ReachedError


def preprocess(
    backbone: Path, *, text_split: int = 0, image_split: int = 0, expected: str | None = None
) -> None:
    views = ViewSpec(scale_min=0.5, flip=True, jitter=0.0)
    preprocessing.preprocess(
        pd.DataFrame(columns=manifest.COLUMNS, dtype=str),
        name=str(backbone),
        revision=None,
        expected=expected,
        setting=Setting(image_split, text_split, True, "float16", 4, 4, views),
        views=0,
        store=backbone / "store",
        out=backbone / "out",
        encode=encode,
    )


def test_more_layers_than_the_encoder_has_are_refused_before_encoding(backbone: Path) -> None:
    with pytest.raises(UserError, match="unfreeze_text_layers: 4: the encoder has 3 layers"):
        preprocess(backbone, text_split=4)
    with pytest.raises(UserError, match="unfreeze_vision_layers: 9: the encoder has 3 layers"):
        preprocess(backbone, image_split=9)


def test_weights_that_were_not_expected_are_refused_before_encoding(
    backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ReachedError):
        preprocess(backbone)
    told = capsys.readouterr().out
    [line] = [each for each in told.splitlines() if each.startswith("backbone.fingerprint: ")]
    expected = line.removeprefix("backbone.fingerprint: ")
    with pytest.raises(ReachedError):
        preprocess(backbone, expected=expected)
    other = tmp_path / "other"
    shutil.copytree(backbone, other)
    weights = safetensors.torch.load_file(other / "model.safetensors")
    weights["visual_projection.weight"][0, 0] += 1e-3
    safetensors.torch.save_file(weights, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(
        UserError, match=f"^backbone.fingerprint: {expected}: the weights, .* have "
    ):
        preprocess(other, expected=expected)


def test_a_whole_encoder_is_allowed_and_said_to_be_slow(
    backbone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ReachedError):
        preprocess(backbone, text_split=3)
    assert "unfreeze_text_layers: 3 is the whole encoder" in capsys.readouterr().out
    with pytest.raises(ReachedError):
        preprocess(backbone, text_split=2, image_split=1)
    assert "whole encoder" not in capsys.readouterr().out
