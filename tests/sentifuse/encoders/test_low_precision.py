"""Tests of CLIP in bfloat16 and float16 against the same model in float32."""

import shutil
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sentifuse.encoders import low_precision, registry
from sentifuse.encoders.interface import Backbone
from tools.clip_folder import edit_config, make_clip_folder

LENGTHS = (2, 5, 17, 77)
NAMES = ("embedding", "tokens", "hidden")


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip_folder(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def reference(clip_folder: Path) -> Backbone:
    return registry.load(str(clip_folder), None)


def ids(length: int, count: int = 3) -> Tensor:
    drawn = torch.randint(500, (count, length), generator=torch.Generator().manual_seed(length))
    drawn[:, -1] = 522  # end-of-text
    return drawn


def inputs(modality: str) -> list[Tensor]:
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return [pixels] if modality == "image" else [ids(length) for length in LENGTHS]


def cosine(found: Tensor, expected: Tensor) -> float:
    return torch.cosine_similarity(found.double(), expected.double(), dim=-1).min().item()


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_lower_precision_stays_close_and_gives_float32(
    modality: str, precision: str, clip_folder: Path, reference: Backbone
) -> None:
    low = registry.load(str(clip_folder), None, precision)
    for batch in inputs(modality):
        expected = getattr(reference, modality).encode(batch, 2, tokens=True)
        found = getattr(low, modality).encode(batch, 2, tokens=True)
        for name in NAMES:
            one, other = getattr(found, name), getattr(expected, name)
            assert one.dtype == torch.float32
            assert cosine(one, other) > 0.999
            assert not torch.equal(one, other)


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("modality", ["image", "text"])
def test_without_rounding_it_computes_what_the_model_does(
    modality: str,
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
    plain, same = registry.load(str(folder), None), registry.load(str(folder), None, "exact")
    for batch in inputs(modality):
        expected = getattr(plain, modality).encode(batch, 2, tokens=True)
        found = getattr(same, modality).encode(batch, 2, tokens=True)
        for name in NAMES:
            torch.testing.assert_close(
                getattr(found, name), getattr(expected, name), rtol=1e-4, atol=1e-5
            )


def test_fingerprints_and_tails_are_those_of_the_float32_weights(
    clip_folder: Path, reference: Backbone
) -> None:
    low = registry.load(str(clip_folder), None, "bf16")
    assert low.fingerprint == reference.fingerprint
    for modality in ("image", "text"):
        found, expected = getattr(low, modality).tail(2), getattr(reference, modality).tail(2)
        assert found.config == expected.config
        assert found.weights.keys() == expected.weights.keys()
        for key, weight in expected.weights.items():
            assert torch.equal(found.weights[key], weight)


def test_what_enters_the_first_layer_is_float32_to_the_bit(
    clip_folder: Path, reference: Backbone
) -> None:
    low = registry.load(str(clip_folder), None, "bf16")
    found, exact = (each.text.encode(ids(5), 3, tokens=False).hidden for each in (low, reference))
    assert found is not None
    torch.testing.assert_close(found, exact, rtol=0, atol=0)
