"""Tests of models without a tail, and of the forms in which weights come."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from sentifuse.encoders import registry
from sentifuse.encoders.families import FAMILIES, FINETUNED
from sentifuse.errors import UserError
from tools.encoder_folders import make_encoder_folder


@torch.no_grad()
def test_a_text_model_without_a_tail_gives_the_mean_of_its_states(tmp_path: Path) -> None:
    folder = make_encoder_folder("albert", tmp_path)
    own: Any = registry.load(str(folder), "text")
    model = transformers.AlbertModel.from_pretrained(folder).eval()
    ids = torch.tensor(own.tokenize(["so bad the food"]))
    states = model(input_ids=ids).last_hidden_state
    found = own.encode(ids, 0, tokens=True)
    torch.testing.assert_close(found.embedding, states.mean(dim=1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.tokens, states, rtol=1e-5, atol=1e-6)
    assert (own.embedding_dim, own.token_dim, own.layers) == (24, 24, 0)


@torch.no_grad()
def test_an_image_model_without_a_tail_gives_what_it_pools(tmp_path: Path) -> None:
    folder = make_encoder_folder("resnet", tmp_path)
    own: Any = registry.load(str(folder), "image")
    model = transformers.ResNetModel.from_pretrained(folder).eval()
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    out = model(pixel_values=pixels)
    found = own.encode(pixels, 0, tokens=True)
    torch.testing.assert_close(found.embedding, out.pooler_output.flatten(1), rtol=1e-5, atol=1e-6)
    assert found.tokens.shape == (2, out.last_hidden_state[0, 0].numel(), 12)


@pytest.mark.parametrize(("family", "modality"), [("albert", "text"), ("resnet", "image")])
def test_finetuning_a_model_without_a_tail_names_those_that_have_one(
    family: str, modality: Any, tmp_path: Path
) -> None:
    own = registry.load(str(make_encoder_folder(family, tmp_path)), modality)
    with pytest.raises(UserError) as caught:
        own.tail(1)
    told = f"a model of type {family!r} cannot be finetuned here: expected one of "
    assert str(caught.value) == told + FINETUNED
    for name in (*FAMILIES["text"], *FAMILIES["image"], "convnext", "deberta-v2"):
        assert name in FINETUNED


def test_a_deberta_with_a_convolution_stays_frozen(tmp_path: Path) -> None:
    folder = make_encoder_folder("deberta-v2", tmp_path, conv_kernel_size=3, conv_act="gelu")
    own: Any = registry.load(str(folder), "text")
    assert own.layers == 0
    ids = torch.tensor(own.tokenize(["so bad the food"]))
    assert torch.isfinite(own.encode(ids, 0, tokens=False).embedding).all()


def as_bin(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")


def sharded(folder: Path) -> None:
    model = transformers.AutoModel.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="3KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1


def half(folder: Path) -> None:
    weights = {key: value.half() for key, value in load_file(folder / "model.safetensors").items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"dtype": "float16"}))


@pytest.mark.parametrize("change", [as_bin, sharded, half])
@pytest.mark.parametrize(
    ("family", "modality"), [("mpnet", "text"), ("deberta-v2", "text"), ("vit", "image"),
                             ("convnext", "image"), ("resnet", "image"), ("siglip", "image")],
)  # fmt: skip
def test_weights_load_alike_in_whatever_form_they_come(
    family: str, modality: Any, change: Callable[[Path], None], tmp_path: Path
) -> None:
    base = make_encoder_folder(family, tmp_path / "base")
    folder = shutil.copytree(base, tmp_path / "other")
    change(folder)
    plain, other = (registry.load(str(each), modality) for each in (base, folder))
    if change is not half:
        assert other.fingerprint == plain.fingerprint
        return
    given: Any = torch.zeros(1, 3, 32, 32) if modality == "image" else torch.tensor([[0, 5, 2]])
    found, expected = (each.encode(given, 0, tokens=False).embedding for each in (other, plain))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.02)


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    folder = make_encoder_folder("bert", tmp_path / "bert")
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Path("x")}, folder / "pytorch_model.bin")  # any class may run code
    with pytest.raises(UserError, match="the weights: cannot be used"):
        registry.load(str(folder), "text")


def test_a_model_with_code_of_its_own_is_refused(tmp_path: Path) -> None:
    folder = make_encoder_folder("bert", tmp_path / "bert")
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "mine",
        "auto_map": {"AutoConfig": "mine.Config", "AutoModel": "mine.M"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "mine.py").write_text("raise SystemExit('this code was run')")
    with pytest.raises(UserError, match="needs code of its own, which is not run here"):
        registry.load(str(folder), "text")
