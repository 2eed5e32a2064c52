"""Tests of checkpoints: exact, reproducible, and clear about damage."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sentifuse.errors import UserError
from sentifuse.models import checkpoint
from sentifuse.models.classifier import Classifier
from sentifuse.models.ensemble import Ensemble
from tests import several
from tests.synthetic import IMAGE, TEXT, encoders, make_parts, model_config


def make_model(seed: int = 0, **changes: Any) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(model_config(**changes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint."""
    checkpoint.save(tmp_path / "stage1", make_model(), {"best_epoch": 3})
    return tmp_path / "stage1"


@pytest.mark.parametrize(
    "changes",
    [
        {"dropout": 0.5},
        {"fusion": "cross_attn", "hidden_dims": []},
        {"fusion": "film", "encoders": encoders(IMAGE, TEXT), "tail_dropout": 0.5},
    ],
)
def test_a_loaded_model_gives_the_same_logits_to_the_bit(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    model = make_model(**changes)
    info = {"best_epoch": 3, "val": {"macro_f1": 0.1 + 0.2}}
    checkpoint.save(tmp_path, model, info)
    loaded = checkpoint.load(tmp_path)
    assert loaded.info == info
    assert loaded.model.config == model.config
    assert not loaded.model.training
    batch = make_parts(6, 0).train.batch(np.arange(6), model.needs)
    with torch.no_grad():
        assert torch.equal(loaded.model(batch), model.eval()(batch))


@pytest.mark.parametrize("trainable", [(), (several.OTHER_TEXT,), several.KEYS])
@pytest.mark.parametrize("fusion", ["concat", "gated", "cross_attn"])
@pytest.mark.parametrize("members", [1, 2])
def test_a_model_of_several_encoders_comes_back_to_the_bit(
    members: int, fusion: str, trainable: tuple[str, ...], tmp_path: Path
) -> None:
    changes = {"encoders": several.encoders(*trainable), "fusion": fusion}
    models = [make_model(seed, **changes).eval() for seed in range(members)]
    model = models[0] if members == 1 else Ensemble(models)
    checkpoint.save(tmp_path, model, {})
    loaded = checkpoint.load(tmp_path).model
    assert loaded.config == model.config
    assert loaded.needs == model.needs
    assert list(loaded.state_dict()) == list(model.state_dict())
    batch = several.make_several(6, 0).train.batch(np.arange(6), model.needs)
    with torch.inference_mode():
        assert torch.equal(loaded(batch), model(batch))


def test_the_same_weights_give_the_same_bytes_and_others_do_not(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        checkpoint.save(tmp_path / name, make_model(seed), {"best_epoch": 3})
    weights = {name: (tmp_path / name / "model.safetensors").read_bytes() for name in "abc"}
    configs = {name: (tmp_path / name / "config.json").read_bytes() for name in "abc"}
    assert weights["a"] == weights["b"] != weights["c"]
    assert configs["a"] == configs["b"] != configs["c"], "the hash of the weights is in there"


def test_saving_replaces_what_was_there(folder: Path) -> None:
    checkpoint.save(folder, make_model(1, hidden_dims=[5]), {"best_epoch": 4})
    loaded = checkpoint.load(folder)
    assert loaded.info == {"best_epoch": 4}
    assert list(loaded.model.config.hidden_dims) == [5]


def flip(position: int) -> Callable[[bytes], bytes]:
    def damage(raw: bytes) -> bytes:
        return raw[:position] + bytes([raw[position] ^ 0xFF]) + raw[position + 1 :]

    return damage


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_missing_file_is_named(name: str, folder: Path) -> None:
    (folder / name).unlink()
    with pytest.raises(UserError) as caught:
        checkpoint.load(folder)
    assert str(caught.value).startswith(f"{folder / name}: ")
    assert "dvc repro" in str(caught.value)
    assert "\n" not in str(caught.value)


DAMAGE: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "empty weights": ("model.safetensors", lambda raw: b""),
    "truncated weights": ("model.safetensors", lambda raw: raw[:-1]),
    "header only": ("model.safetensors", lambda raw: raw[:100]),
    "flipped header length": ("model.safetensors", flip(0)),
    "flipped top of header length": ("model.safetensors", flip(7)),
    "flipped brace": ("model.safetensors", flip(8)),
    "flipped name": ("model.safetensors", flip(11)),
    "renamed tensor": (
        "model.safetensors",
        lambda raw: raw.replace(b"head.0.bias", b"head.0.blas"),
    ),
    "flipped weight": ("model.safetensors", flip(-1)),
    "flipped sign of a weight": ("model.safetensors", flip(-5)),
    "other dtype": ("model.safetensors", lambda raw: raw.replace(b'"F32"', b'"F16"', 1)),
    "empty config": ("config.json", lambda raw: b""),
    "truncated config": ("config.json", lambda raw: raw[: len(raw) // 2]),
    "config that is no text": ("config.json", flip(0)),
    "config that is a list": ("config.json", lambda raw: b"[]"),
    "config without a model": ("config.json", lambda raw: b'{"info": {}}'),
    "config without a hash": (
        "config.json",
        lambda raw: raw.replace(b'"weights_sha256"', b'"weights_sha512"'),
    ),
    "config without info": ("config.json", lambda raw: raw.replace(b'"info"', b'"note"')),
    "unknown key": ("config.json", lambda raw: raw.replace(b'"dropout"', b'"drop_out"')),
    "unknown key of an encoder": (
        "config.json",
        lambda raw: raw.replace(b'"token_dim"', b'"tokens_dim"'),
    ),
    "config without encoders": ("config.json", lambda raw: raw.replace(b'"encoders"', b'"nets"')),
    "an encoder that is no mapping": (
        "config.json",
        lambda raw: raw.replace(b'"encoders": [', b'"encoders": [1, '),
    ),
    "other key of an encoder": ("config.json", lambda raw: raw.replace(b"text_net", b"text_let")),
    "other modality": (
        "config.json",
        lambda raw: raw.replace(b'"modality": "text"', b'"modality": "image"'),
    ),
    "unknown fusion": ("config.json", lambda raw: raw.replace(b'"concat"', b'"sum"')),
    "other widths": ("config.json", lambda raw: raw.replace(b'"dim": 4', b'"dim": 5')),
    "wrong type": ("config.json", lambda raw: raw.replace(b'"dim": 4', b'"dim": "4"')),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_one_line_that_names_the_folder(damage: str, folder: Path) -> None:
    name, change = DAMAGE[damage]
    raw = (folder / name).read_bytes()
    damaged = change(raw)
    assert damaged != raw
    (folder / name).write_bytes(damaged)
    assert_refused(folder)


def test_weights_of_another_model_are_refused(folder: Path, tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "other", make_model(hidden_dims=[5]), {})
    shutil.copy(tmp_path / "other" / "model.safetensors", folder)
    assert_refused(folder)


def assert_refused(folder: Path) -> None:
    with pytest.raises(UserError) as caught:
        checkpoint.load(folder)
    assert str(caught.value).startswith(f"{folder}: ")
    assert "dvc repro" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_in_a_checkpoint_is_pickled(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    json.loads((folder / "config.json").read_text(encoding="utf-8"))
    header = (folder / "model.safetensors").read_bytes()[8:]
    assert header.startswith(b"{")


def test_an_ensemble_keeps_its_members_and_is_no_single_model(tmp_path: Path) -> None:
    model = Ensemble([make_model(seed).eval() for seed in (0, 1)])
    checkpoint.save(tmp_path, model, {})
    loaded = checkpoint.load(tmp_path)
    batch = make_parts(6, 0).train.batch(np.arange(6), model.needs)
    with torch.inference_mode():
        assert torch.equal(loaded.model(batch), model(batch))
    with pytest.raises(UserError, match="ensemble"):
        loaded.single()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("name", ["head.0.weight", "head.0.bias"])
def test_weights_that_are_no_numbers_are_neither_saved_nor_loaded(
    name: str, members: int, value: float, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [make_model(seed) for seed in range(members)]
    model = models[0] if members == 1 else Ensemble(models)
    models[-1].state_dict()[name].view(-1)[-1] = value
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UserError, match=f"{name}' has numbers that are NaN or inf"):
        checkpoint.save(folder, model, {})
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    with monkeypatch.context() as unchecked:  # as it was saved before that was checked
        unchecked.setattr(checkpoint, "_check_finite", lambda *_: None)
        checkpoint.save(folder, model, {})
    with pytest.raises(UserError, match="train again with lower learning rates") as caught:
        checkpoint.load(folder)
    assert str(caught.value).startswith(f"{folder}: the weight ")
