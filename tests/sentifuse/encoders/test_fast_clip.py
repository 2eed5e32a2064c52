"""Tests of the fast forward pass against plain `transformers`."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPModel

from sentifuse.encoders import fast_clip, registry
from sentifuse.encoders.interface import Backbone, Encoded
from tools.clip_folder import edit_config, make_clip_folder

LENGTHS = (2, 5, 17, 77)
PRECISIONS = ["bf16", "fp16"]


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip_folder(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def reference(clip_folder: Path) -> Backbone:
    return registry.load(str(clip_folder), None)


def pixels(count: int = 3) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def ids(length: int, count: int = 3) -> Tensor:
    drawn = torch.randint(500, (count, length), generator=torch.Generator().manual_seed(length))
    drawn[:, -1] = 522  # end-of-text
    return drawn


def inputs(modality: str) -> list[Tensor]:
    return [pixels()] if modality == "image" else [ids(length) for length in LENGTHS]


def cosine(found: Tensor, expected: Tensor) -> float:
    return torch.cosine_similarity(found.double(), expected.double(), dim=-1).min().item()


def assert_close(found: Encoded, expected: Encoded, tokens: bool) -> None:
    torch.testing.assert_close(found.embedding, expected.embedding, rtol=1e-4, atol=1e-5)
    assert (found.tokens is not None) == tokens
    if found.tokens is not None:
        torch.testing.assert_close(found.tokens, expected.tokens, rtol=1e-4, atol=1e-5)
    assert (found.hidden is None) == (expected.hidden is None)
    if found.hidden is not None:
        torch.testing.assert_close(found.hidden, expected.hidden, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("modality", ["image", "text"])
def test_in_float32_it_computes_what_transformers_does(
    modality: str,
    activation: str,
    clip_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    for section in ("vision_config", "text_config"):
        edit_config(folder, section, "hidden_act", activation)
    monkeypatch.setitem(fast_clip.DTYPES, "exact", torch.float32)
    plain, fast = registry.load(str(folder), None), registry.load(str(folder), None, "exact")
    for batch in inputs(modality):
        for split in range(4):
            expected = getattr(plain, modality).encode(batch, split, tokens=True)
            for tokens in (False, True):
                found = getattr(fast, modality).encode(batch, split, tokens)
                assert_close(found, expected, tokens)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("modality", ["image", "text"])
def test_a_lower_precision_stays_close_and_gives_float32(
    modality: str, precision: str, clip_folder: Path, reference: Backbone
) -> None:
    fast = registry.load(str(clip_folder), None, precision)
    for batch in inputs(modality):
        expected = getattr(reference, modality).encode(batch, 2, tokens=True)
        found = getattr(fast, modality).encode(batch, 2, tokens=True)
        alone = getattr(fast, modality).encode(batch, 2, tokens=False)
        for name in ("embedding", "tokens", "hidden"):
            one, other = getattr(found, name), getattr(expected, name)
            assert one.dtype == torch.float32
            assert cosine(one, other) > 0.999
            assert not torch.equal(one, other)
        assert cosine(alone.embedding, expected.embedding) > 0.999
        torch.testing.assert_close(alone.hidden, found.hidden, rtol=0, atol=0)


def test_fingerprints_and_tails_are_those_of_the_float32_weights(
    clip_folder: Path, reference: Backbone
) -> None:
    fast = registry.load(str(clip_folder), None, "bf16")
    assert fast.fingerprint == reference.fingerprint
    for modality in ("image", "text"):
        found, expected = getattr(fast, modality).tail(2), getattr(reference, modality).tail(2)
        assert found.config == expected.config
        assert found.weights.keys() == expected.weights.keys()
        for key, weight in expected.weights.items():
            assert torch.equal(found.weights[key], weight)


@pytest.fixture
def _no_private_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", refuse)


def packed(module: torch.nn.Module) -> set[bool]:
    return {each.packed for each in module.modules() if isinstance(each, fast_clip._Linear)}


@torch.inference_mode()
def test_without_the_private_operators_the_bits_are_the_same(
    clip_folder: Path, request: pytest.FixtureRequest
) -> None:
    model = CLIPModel.from_pretrained(clip_folder).eval()
    first = fast_clip.Vision(model, "bf16", "cpu"), fast_clip.Text(model, "bf16", "cpu")
    request.getfixturevalue("_no_private_operators")
    second = fast_clip.Vision(model, "bf16", "cpu"), fast_clip.Text(model, "bf16", "cpu")
    assert packed(second[0]) == packed(second[1]) == {False}
    for modality, one, other in zip(("image", "text"), first, second, strict=True):
        for batch in inputs(modality):
            a, b = one(batch, 1, True), other(batch, 1, True)
            for name in ("embedding", "tokens", "hidden"):
                assert torch.equal(getattr(a, name), getattr(b, name)), name


def test_the_split_point_is_not_overwritten_by_the_layers_behind_it(
    clip_folder: Path, reference: Backbone
) -> None:
    """Layers add in place; what enters the first one is what the embeddings give."""
    fast = registry.load(str(clip_folder), None, "bf16")
    whole = fast.text.encode(ids(5), 3, tokens=False).hidden
    exact = reference.text.encode(ids(5), 3, tokens=False).hidden
    assert whole is not None
    torch.testing.assert_close(whole, exact, rtol=0, atol=0)


def test_what_is_left_over_beside_the_last_patch_is_seen_by_none(
    clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Patches of 7 in images of 32: as many as of 8, so that the rest of the weights fits."""
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    edit_config(folder, "vision_config", "patch_size", 7)
    path = folder / "model.safetensors"
    weights = load_file(path)
    name = "vision_model.embeddings.patch_embedding.weight"
    weights[name] = weights[name][..., :7, :7].contiguous()
    save_file(weights, path, metadata={"format": "pt"})
    monkeypatch.setitem(fast_clip.DTYPES, "exact", torch.float32)
    expected = registry.load(str(folder), None).image.encode(pixels(), 2, True)
    found = registry.load(str(folder), None, "exact").image.encode(pixels(), 2, True)
    assert_close(found, expected, True)
