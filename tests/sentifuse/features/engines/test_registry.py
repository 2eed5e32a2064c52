"""Tests of encoders by name: which there are, their keys, and what is said of those that cannot be had."""

import os
import shutil
from pathlib import Path

import pytest
from transformers import BertConfig, BertModel

from sentifuse.config.backbone import Modality
from sentifuse.encoders import registry
from sentifuse.encoders.pretrained import Place
from sentifuse.errors import UserError
from tools.clip_folder import make_clip_folder
from tools.encoder_folders import make_encoder_folder


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip_folder(tmp_path_factory.mktemp("clip"))


def refusal(name: str, modality: Modality = "text", precision: str = "fp32") -> str:
    with pytest.raises(UserError) as caught:
        registry.load(name, modality, precision)
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["minilm-l6"], ["text_minilm-l6"]),
        (["openai/clip-vit-base-patch32"], ["text_clip-vit-base-patch32"]),
        (["a/b@main"], ["text_b"]),
        (["/some/where/all-mpnet-base-v2"], ["text_all-mpnet-base-v2"]),
        (["folder/"], ["text_folder"]),
        (["a.b c\u00e9"], ["text_a-b-c-"]),
        (["a/b", "c/b", "d/b"], ["text_b", "text_b-2", "text_b-3"]),
        (["a/b", "a/b-2", "c/b"], ["text_b", "text_b-2", "text_b-3"]),
    ],
)
def test_a_key_is_the_modality_and_the_last_part_of_the_name(
    names: list[str], keys: list[str]
) -> None:
    assert registry.keys(names, "text") == keys


def test_a_name_may_have_a_revision(tmp_path: Path) -> None:
    assert Place.of("k", "a/b@v1") == Place("k", "a/b@v1", "a/b", "v1")
    assert Place.of("k", "a/b") == Place("k", "a/b", "a/b", None)
    folder = tmp_path / "at@home"
    folder.mkdir()
    assert Place.of("k", str(folder)) == Place("k", str(folder), str(folder), None)
    assert Place.of("k", "@v1").revision is None


@pytest.mark.parametrize(
    ("name", "modality", "known"),
    [
        ("minilm-l6", "image", "efficientnet-lite0, efficientnet-lite1, efficientnet-lite2"),
        ("efficientnet-lite0", "text", "minilm-l6"),
    ],
)
def test_a_name_of_the_other_modality_is_told_the_ones_of_this(
    name: str, modality: Modality, known: str
) -> None:
    message = refusal(name, modality)
    assert message.startswith(f"backbone.{modality}: {name!r} reads ")
    assert f"expected {known}, a hub id or a folder" in message


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_an_encoder_that_knows_fp32_only_refuses_others(precision: str, tmp_path: Path) -> None:
    told = f"backbone.precision: {precision!r}: backbone.text: "
    assert refusal("minilm-l6", "text", precision).startswith(told)
    folder = make_encoder_folder("albert", tmp_path)
    assert refusal(str(folder), "text", precision).startswith(told)


def test_a_model_that_is_neither_here_nor_reached_is_told_how_to_get(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # read at import
    message = refusal("nobody/no-such-model@v1")
    assert message.startswith("backbone.text: 'nobody/no-such-model@v1': no such folder, and ")
    assert "hf download nobody/no-such-model --revision v1 --local-dir FOLDER" in message
    assert "set backbone.text=FOLDER" in message
    assert "--revision" not in refusal("nobody/no-such-model")


def test_a_folder_that_is_not_there_is_told_how_to_get(tmp_path: Path) -> None:
    assert "hf download" in refusal(str(tmp_path / "clip"), "image")


@pytest.mark.parametrize(
    ("name", "modality"),
    [
        ("config.json", "text"),
        ("model.safetensors", "text"),
        ("tokenizer.json", "text"),
        ("preprocessor_config.json", "image"),
    ],
)
def test_a_folder_without_one_of_its_files_is_told_which_ones_it_needs(
    name: str, modality: Modality, clip_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    os.remove(folder / name)
    assert name in refusal(str(folder), modality)


def test_a_folder_needs_only_the_files_of_its_modality(clip_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    os.remove(folder / "tokenizer.json")
    assert registry.load(str(folder), "image").embedding_dim == 16
    shutil.copy(clip_folder / "tokenizer.json", folder)
    os.remove(folder / "preprocessor_config.json")
    assert registry.load(str(folder), "text").embedding_dim == 16


def test_a_truncated_model_file_is_an_error_of_one_line(clip_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    refusal(str(folder))


def test_a_model_of_the_other_modality_is_refused(tmp_path: Path) -> None:
    images = make_encoder_folder("vit", tmp_path / "vit")
    shutil.copy(make_encoder_folder("bert", tmp_path / "bert") / "tokenizer.json", images)
    assert "a model of type 'vit' reads no texts" in refusal(str(images), "text")
    texts = make_encoder_folder("bert", tmp_path / "texts")
    shutil.copy(images / "preprocessor_config.json", texts)
    assert "a model of type 'bert' reads no images" in refusal(str(texts), "image")


def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=8, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    BertModel(config).save_pretrained(tmp_path)
    assert "no tokenizer.json, or vocab.json with merges.txt" in refusal(str(tmp_path))
