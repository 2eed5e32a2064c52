"""Tests of transformers in bfloat16 and float16 against the same model in float32."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sentifuse.config.backbone import MODALITIES, Modality
from sentifuse.encoders import low_precision, registry
from tools.clip_folder import edit_config, make_clip_folder
from tools.encoder_folders import READS_TEXTS, make_encoder_folder

LENGTHS = (2, 5, 17, 77)
NAMES = ("embedding", "tokens", "hidden")


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip_folder(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def reference(clip_folder: Path) -> dict[Modality, Any]:
    return load(clip_folder)


def load(folder: Path, precision: str = "fp32") -> dict[Modality, Any]:
    return {modality: registry.load(str(folder), modality, precision) for modality in MODALITIES}


def ids(length: int, count: int = 3) -> Tensor:
    drawn = torch.randint(500, (count, length), generator=torch.Generator().manual_seed(length))
    drawn[:, -1] = 522  # end-of-text
    return drawn


def inputs(modality: Modality) -> list[Tensor]:
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return [pixels] if modality == "image" else [ids(length) for length in LENGTHS]


def cosine(found: Tensor, expected: Tensor) -> float:
    return torch.cosine_similarity(found.double(), expected.double(), dim=-1).min().item()


@pytest.mark.parametrize("family", READS_TEXTS[1:])
def test_every_text_family_with_a_tail_stays_close(family: str, tmp_path: Path) -> None:
    if family == "deberta-v2":
        pytest.skip("its layers are those of transformers, which know no mix of precisions")
    folder = make_encoder_folder(family, tmp_path)
    exact, low = (registry.load(str(folder), "text", each) for each in ("fp32", "bf16"))
    given = torch.tensor([[0, 5, 6, 7, 8, 9, 10, 11, 12, 20, 21, 2]])
    expected, found = (each.encode(given, 2, tokens=True) for each in (exact, low))
    for name in NAMES:
        assert cosine(getattr(found, name), getattr(expected, name)) > 0.999


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_lower_precision_stays_close_and_gives_float32(
    modality: Modality, precision: str, clip_folder: Path, reference: dict[Modality, Any]
) -> None:
    low = load(clip_folder, precision)
    for batch in inputs(modality):
        expected = reference[modality].encode(batch, 2, tokens=True)
        found = low[modality].encode(batch, 2, tokens=True)
        for name in NAMES:
            one, other = getattr(found, name), getattr(expected, name)
            assert one.dtype == torch.float32
            assert cosine(one, other) > 0.999
            assert not torch.equal(one, other)


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("modality", ["image", "text"])
def test_without_rounding_it_computes_what_the_model_does(
    modality: Modality,
    activation: str,
    clip_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What scales the activation's input is taken back behind it."""
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    for section in ("vision_config", "text_config"):
        edit_config(folder, section, "hidden_act", activation)
    monkeypatch.setitem(low_precision.DTYPES, "exact", torch.float32)
    plain, same = load(folder), load(folder, "exact")
    for batch in inputs(modality):
        expected = plain[modality].encode(batch, 2, tokens=True)
        found = same[modality].encode(batch, 2, tokens=True)
        for name in NAMES:
            torch.testing.assert_close(
                getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-5
            )


def test_fingerprints_and_tails_are_those_of_the_float32_weights(
    clip_folder: Path, reference: dict[Modality, Any]
) -> None:
    low = load(clip_folder, "bf16")
    for modality in MODALITIES:
        assert low[modality].fingerprint == reference[modality].fingerprint
        found, expected = low[modality].tail(2), reference[modality].tail(2)
        assert found.config == expected.config
        assert found.weights.keys() == expected.weights.keys()
        for key, weight in expected.weights.items():
            assert torch.equal(found.weights[key], weight)


def test_what_enters_the_first_layer_is_float32_to_the_bit(
    clip_folder: Path, reference: dict[Modality, Any]
) -> None:
    low = load(clip_folder, "bf16")
    found, exact = (
        each["text"].encode(ids(5), 3, tokens=False).hidden for each in (low, reference)
    )
    assert found is not None
    torch.testing.assert_close(found, exact, rtol=0, atol=0)
