"""Tests of folders as people have them: each loads, or is refused in one line with file and key."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPModel, CLIPProcessor

from sentifuse.config.backbone import MODALITIES
from sentifuse.encoders import registry
from sentifuse.encoders.image_processor import PREPROCESSOR, PROCESSOR
from sentifuse.errors import UserError
from tools.clip_folder import edit_config, make_clip_folder

Change = Callable[[Path], object]
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 605\n"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip_folder(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def folder(base: Path, tmp_path: Path) -> Path:
    """A sound folder, to be changed."""
    return shutil.copytree(base, tmp_path / "clip")


def fingerprint(folder: Path) -> str:
    image, text = (registry.load(str(folder), modality) for modality in MODALITIES)
    return f"{image.fingerprint} {text.fingerprint}"


def refusal(folder: Path) -> str:
    """What follows the name of the model in the line that refuses it, for images, for texts or both."""
    messages = []
    for modality in MODALITIES:
        try:
            registry.load(str(folder), modality)
        except UserError as error:
            start, message = f"backbone.{modality}: {str(folder)!r}: ", str(error)
            assert "\n" not in message
            assert message.startswith(start)
            messages.append(message.removeprefix(start))
    assert messages
    return " | ".join(messages)


def edit(folder: Path, file: str, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / file
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


def rename(folder: Path, name: Callable[[str, Tensor], Mapping[str, Tensor]]) -> None:
    """Writes the weights anew; `name` gives what becomes of each."""
    path = folder / "model.safetensors"
    found = {key: value.clone() for key, value in load_file(path).items()}
    new = {k: v for key, value in found.items() for k, v in name(key, value).items()}
    save_file(new, path, metadata={"format": "pt"})


def without(*starts: str) -> Callable[[str, Tensor], Mapping[str, Tensor]]:
    return lambda key, value: {} if key.startswith(starts) else {key: value}


LAST = "vision_model.encoder.layers.2."


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (without("visual_projection"), "1 missing, the first 'visual_projection.weight'"),
        (without("text_projection"), "1 missing, the first 'text_projection.weight'"),
        (without(LAST), f"16 missing, the first '{LAST}layer_norm1.bias'"),
        (without("text_model.embeddings.position"), "1 missing, the first 'text_model.embeddings"),
        (lambda key, value: {key.replace(LAST, LAST[:-2] + "9."): value}, "16 unexpected"),
        (
            lambda key, value: {f"module.{key}": value},
            "all of them have the prefix 'module.' in the file: save them without it",
        ),
        (
            lambda key, value: {f"model.clip.{key}": value},
            "all of them have the prefix 'model.clip.' in the file: save them without it",
        ),
        (
            lambda key, value: {key: value[:, :-1].contiguous() if "projection" in key else value},
            "1 of another shape, the first 'text_projection.weight' with the shape (16, 31), expected "
            "(16, 32)",
        ),
        (lambda key, value: {f"{key[::-1]}": value}, "fetch the folder again"),
    ],
    ids=[
        "no vision projection", "no text projection", "no last layer", "no positions", "other layer",
        "prefix", "longer prefix", "other shapes", "other names",
    ],
)  # fmt: skip
def test_weights_that_are_not_there_are_refused_and_not_drawn(
    change: Callable[[str, Tensor], Mapping[str, Tensor]], told: str, folder: Path
) -> None:
    rename(folder, change)
    assert told in refusal(folder)


@pytest.mark.parametrize(
    "change",
    [
        without("logit_scale"),
        lambda key, value: {key: value, "vision_model.embeddings.position_ids": torch.arange(17)},
        lambda key, value: {key: value, "my_head.weight": torch.ones(3, 16)},
    ],
    ids=["temperature of the loss", "position ids of old files", "a head of one's own"],
)
def test_weights_that_no_embedding_depends_on_may_differ(
    change: Callable[[str, Tensor], Mapping[str, Tensor]], base: Path, folder: Path
) -> None:
    rename(folder, change)
    assert fingerprint(folder) == fingerprint(base)


def test_two_loads_of_one_folder_have_one_fingerprint(folder: Path) -> None:
    torch.manual_seed(1)
    first = fingerprint(folder)
    torch.manual_seed(2)
    assert fingerprint(folder) == first


def nest(folder: Path) -> None:
    """As the pinned transformers saves it."""
    values = json.loads((folder / PREPROCESSOR).read_text(encoding="utf-8"))
    (folder / PREPROCESSOR).unlink()
    (folder / PROCESSOR).write_text(json.dumps({"image_processor": values}), encoding="utf-8")


def legacy(values: dict[str, Any]) -> None:
    """As files of 2021 have it."""
    values.update(size=32, crop_size=32, feature_extractor_type="CLIPFeatureExtractor")
    for key in ("do_rescale", "rescale_factor", "do_convert_rgb", "image_processor_type"):
        del values[key]


@pytest.mark.parametrize(
    "change",
    [
        nest,
        lambda folder: edit(folder, PREPROCESSOR, legacy),
        lambda folder: (folder / PROCESSOR).write_text('{"processor_class": "CLIPProcessor"}'),
        lambda folder: edit(folder, PREPROCESSOR, lambda values: values.update(do_resize=None)),
    ],
    ids=["nested", "old", "legacy processor_config.json", "null"],
)
def test_other_shapes_of_the_same_folder_have_its_fingerprint(
    change: Change, base: Path, folder: Path
) -> None:
    change(folder)
    assert fingerprint(folder) == fingerprint(base)


@pytest.mark.parametrize("shards", ["5GB", "40KB"])
def test_what_the_pinned_transformers_saves_loads(shards: str, base: Path, tmp_path: Path) -> None:
    CLIPModel.from_pretrained(base).save_pretrained(tmp_path, max_shard_size=shards)
    CLIPProcessor.from_pretrained(base).save_pretrained(tmp_path)
    assert not (tmp_path / PREPROCESSOR).exists()
    assert fingerprint(tmp_path) == fingerprint(base)


def test_weights_in_a_bin_file_load(base: Path, folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(load_file(base / "model.safetensors"), folder / "pytorch_model.bin")
    assert fingerprint(folder) == fingerprint(base)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"size": "32"}, "size: '32': expected {'shortest_edge': n}"),
        ({"size": {"shortest_edge": 0}}, "size: {'shortest_edge': 0}: expected"),
        ({"size": 31}, "size: 31: expected 32 (crop_size) or more"),
        ({"crop_size": {"height": 32, "width": 16}}, "expected {'height': n, 'width': n}, a square"),
        ({"crop_size": {"shortest_edge": 32}}, "expected {'height': n, 'width': n}, a square"),
        ({"size": 64, "crop_size": 64}, "crop_size: 64: expected 32, the side of the images"),
        ({"image_mean": [0.5, 0.5]}, "image_mean: [0.5, 0.5]: expected a number for each"),
        ({"image_mean": [0.5, "0.5", 0.5]}, "image_mean: [0.5, '0.5', 0.5]: expected"),
        ({"image_mean": [0.5, float("nan"), 0.5]}, "image_mean: [0.5, nan, 0.5]: expected"),
        ({"image_std": [0.5, 0, 0.5]}, "image_std: [0.5, 0, 0.5]: expected a number for each of red, "
                                       "green and blue, above 0"),
        ({"do_rescale": 0}, "do_rescale: 0: expected true"),
        ({"rescale_factor": 1}, "rescale_factor: 1: expected 1/255"),
        ({"rescale_factor": "1/255"}, "rescale_factor: '1/255': expected 1/255"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("nested", [False, True])
def test_a_key_that_cannot_be_used_is_named_with_its_file(
    nested: bool, values: dict[str, Any], told: str, folder: Path
) -> None:
    def change(all_values: dict[str, Any]) -> None:
        for key, value in values.items():
            if value is ...:
                del all_values[key]
            else:
                all_values[key] = value

    edit(folder, PREPROCESSOR, change)
    if nested:
        nest(folder)
    file = f"{PROCESSOR}: image_processor: " if nested else f"{PREPROCESSOR}: "
    message = refusal(folder)
    assert message.startswith(file)
    assert told in message


def shard(folder: Path) -> list[Path]:
    """Cuts the weights into shards, and returns their files."""
    CLIPModel.from_pretrained(folder).save_pretrained(folder, max_shard_size="40KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    return sorted(folder.glob("model-*.safetensors"))


def bin_file(folder: Path, contents: bytes) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(contents)


INDEX = "model.safetensors.index.json"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda f: shard(f)[-1].unlink(), f"{INDEX}: model-00008-of-00008.safetensors: no such file"),
        (lambda f: shard(f)[0].write_text(POINTER), "model-00001-of-00008.safetensors: a pointer of"),
        (lambda f: [shard(f), (f / INDEX).write_text("{}")], f"{INDEX}: no key 'weight_map'"),
        (lambda f: [shard(f), (f / INDEX).write_text("[1")], f"{INDEX}: not JSON"),
        (lambda f: (f / "model.safetensors").write_text(POINTER), "model.safetensors: a pointer of git"),
        (lambda f: (f / "model.safetensors").write_text(""), "model.safetensors: an empty file"),
        (lambda f: (f / "model.safetensors").write_text("x" * 99), "cannot be used (SafetensorError"),
        (lambda f: bin_file(f, POINTER.encode()), "pytorch_model.bin: a pointer of git-lfs"),
        (lambda f: bin_file(f, b"no weights"), "the weights: cannot be used (UnpicklingError"),
        (lambda f: (f / "tokenizer.json").write_text(POINTER), "tokenizer.json: a pointer of git-lfs"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "tokenizer's files: cannot be used"),
        (lambda f: (f / "config.json").write_text("{"), "config.json: not JSON"),
        (lambda f: (f / "config.json").write_text("[]"), "config.json: not a JSON object"),
        (lambda f: (f / "config.json").write_text("{}"), "config.json: cannot be used (ValueError"),
        (
            lambda f: edit(f, "config.json", lambda values: values.update(transformers_weights=[1])),
            "config.json: transformers_weights: [1]: expected the name of a file",
        ),
        (lambda f: (f / PREPROCESSOR).write_text("null"), f"{PREPROCESSOR}: not a JSON object"),
        (lambda f: (f / PREPROCESSOR).write_bytes(b"\xff\xfe{"), f"{PREPROCESSOR}: not JSON"),
        (lambda f: (f / PREPROCESSOR).rename(f / PROCESSOR), f"{PROCESSOR}: no key 'image_processor'"),
        (lambda f: (f / PREPROCESSOR).unlink(), f"no {PREPROCESSOR}, or {PROCESSOR} in this folder"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_used_is_named(change: Change, told: str, folder: Path) -> None:
    change(folder)
    assert told in refusal(folder)


@pytest.mark.parametrize(
    ("section", "key", "value", "told"),
    [
        ("vision_config", "hidden_size", 64, "config.json is that of another model"),
        ("vision_config", "hidden_size", 33, "config.json: cannot be used"),
        ("vision_config", "hidden_size", "wide", "config.json: cannot be used"),
        ("vision_config", "hidden_act", "swoosh", "swoosh"),
        ("vision_config", "num_hidden_layers", 2, "16 unexpected, the first 'vision_model.encoder.l"),
        ("vision_config", "num_hidden_layers", 4, "16 missing, the first 'vision_model.encoder.l"),
        ("vision_config", "image_size", 64, "crop_size: {'height': 32, 'width': 32}: expected 64"),
        ("vision_config", "num_channels", 1, "config.json: num_channels: 1: expected 3"),
        ("text_config", "max_position_embeddings", 60, "1 of another shape"),
        ("text_config", "vocab_size", 400, "a token has the number 522, but the weights know 400"),
    ],
)  # fmt: skip
def test_a_config_that_does_not_fit_the_weights_is_refused(
    section: str, key: str, value: object, told: str, folder: Path
) -> None:
    edit_config(folder, section, key, value)
    assert told in refusal(folder)


def test_a_tokenizer_that_does_not_end_its_texts_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.backend_tokenizer.post_processor = None
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: tokenizer)
    assert "a text does not end with the token eos_token ('<|endoftext|>')" in refusal(folder)


def test_a_tokenizer_of_a_larger_model_is_refused(folder: Path) -> None:
    """Its tokens would be looked for behind the end of the table of weights."""
    edit_config(folder, "text_config", "vocab_size", 522)
    rename(
        folder,
        lambda key, value: {key: value[:522].clone() if "token_embedding" in key else value},
    )
    assert "a token has the number 522, but the weights know 522" in refusal(folder)
