"""Tests of labels described in words, against plain transformers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer, CLIPModel

from sentifuse.encoders import registry
from sentifuse.errors import UserError
from sentifuse.features import prompts, schema, selection
from sentifuse.features.selection import Wanted
from tools.clip_folder import make_clip_folder
from tools.encoder_folders import make_encoder_folder

PROMPTS = {"bad": ["the bad day", "bad food"], "good": ["good"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip_folder(tmp_path_factory.mktemp("clip"))


@torch.no_grad()
def test_a_label_is_the_mean_of_its_prompts_embeddings(folder: Path) -> None:
    model = CLIPModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    expected = []
    for texts in PROMPTS.values():
        given = tokenizer(texts, padding=True, return_tensors="pt")
        each = model.get_text_features(**given).pooler_output
        mean = (each / each.norm(dim=1, keepdim=True)).mean(dim=0)
        expected.append((mean / mean.norm()).numpy())
    own: Any = registry.load(str(folder), "text")
    found = prompts.embed(own, PROMPTS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def joint(*wanted: Wanted) -> tuple[str, str] | None:
    backbone = selection.load(wanted, None)
    return prompts.joint(backbone, selection.records(backbone, wanted, False, "fp32"))


def test_halves_of_one_model_have_a_joint_space(folder: Path) -> None:
    images = Wanted("image", ["efficientnet-lite0", str(folder)], [0, 0])
    texts = Wanted("text", [str(folder)], [0])
    assert joint(images, texts) == (f"image_{folder.name}", f"text_{folder.name}")


def test_siglip_has_one_too(tmp_path: Path) -> None:
    name = str(make_encoder_folder("siglip", tmp_path / "siglip"))
    found = joint(Wanted("image", [name], [0]), Wanted("text", [name], [0]))
    assert found == ("image_siglip", "text_siglip")


def test_encoders_of_two_models_have_none(folder: Path) -> None:
    images, texts = Wanted("image", [str(folder)], [0]), Wanted("text", ["minilm-l6"], [0])
    assert joint(images, texts) is None
    assert joint(Wanted("image", ["efficientnet-lite0"], [0]), texts) is None


def test_they_are_written_beside_the_features_and_read_back(folder: Path, tmp_path: Path) -> None:
    wanted = [Wanted("image", [str(folder)], [0]), Wanted("text", [str(folder)], [0])]
    backbone = selection.load(wanted, None)
    records = selection.records(backbone, wanted, False, "fp32")
    prompts.write(tmp_path, backbone, records, PROMPTS)
    found = schema.read_described(tmp_path)
    assert found is not None
    assert (found.image, found.text) == (f"image_{folder.name}", f"text_{folder.name}")
    text: Any = backbone[found.text]
    np.testing.assert_array_equal(found.embeddings, prompts.embed(text, PROMPTS))


def test_without_prompts_or_a_joint_space_nothing_is_written(folder: Path, tmp_path: Path) -> None:
    wanted = [Wanted("image", [str(folder)], [0]), Wanted("text", ["minilm-l6"], [0])]
    backbone = selection.load(wanted, None)
    records = selection.records(backbone, wanted, False, "fp32")
    prompts.write(tmp_path, backbone, records, PROMPTS)
    prompts.write(tmp_path, backbone, records, {})
    assert schema.read_described(tmp_path) is None


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / schema.PROMPTS).write_bytes(b"no tensors")
    with pytest.raises(UserError, match=r"prompts\.safetensors: damaged"):
        schema.read_described(tmp_path)
