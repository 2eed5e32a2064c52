"""Tests of shard encoding: a sample's features depend on the sample only, to the bit."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

from sentifuse.config.backbone import Modality
from sentifuse.data.images import ViewSpec
from sentifuse.encoders import registry
from sentifuse.encoders.interface import AnyEncoder, Encoded
from sentifuse.errors import UserError
from sentifuse.features.contents import item_key
from sentifuse.features.encoding import (
    VERSIONS,
    EncoderRecord,
    Item,
    Setting,
    encode_shard,
)
from sentifuse.features.store.space import EncodedRow
from tools.clip_folder import make_clip_folder
from tools.encoder_folders import READS_IMAGES, make_encoder_folder

SETTING = Setting(
    hidden_dtype="float16",
    image_batch=4,
    text_batch=3,
    views=ViewSpec(scale_min=0.5, flip=True, jitter=0.2),
    device="cpu",
    numerics="native",
)
PRECISIONS = ["fp32", "bf16", "fp16"]
TEXTS = [
    "the good day",
    "",
    "bad",
    "day",
    "so bad, the day was as bad as the food",
    "good food",
    "the bad day",
    "the the the",
    "good day \U0001f600",
    "bad the day",
]


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(make_clip_folder(tmp_path_factory.mktemp("clip")))


@pytest.fixture(scope="module")
def clip(clip_folder: str) -> dict[Modality, AnyEncoder]:
    return {
        "image": registry.load(clip_folder, "image"),
        "text": registry.load(clip_folder, "text"),
    }


def record_of(
    encoder: AnyEncoder,
    modality: Modality,
    *,
    name: str = "net",
    split: int = 2,
    tokens: bool = True,
    precision: str = "fp32",
) -> EncoderRecord:
    """All states are kept, unless it says otherwise."""
    return EncoderRecord(
        key=f"{modality}_net",
        modality=modality,
        name=name,
        version=VERSIONS[modality],
        fingerprint=encoder.fingerprint,
        spec=encoder.spec,
        max_tokens=getattr(encoder, "max_tokens", None),
        split=split,
        tokens=tokens,
        precision=precision,
    )


def encode(
    encoder: AnyEncoder,
    modality: Modality,
    items: Sequence[Item],
    setting: Setting = SETTING,
    **kept: Any,
) -> dict[str, EncodedRow]:
    return encode_shard(encoder, record_of(encoder, modality, **kept), setting, items)


# The states that are not embeddings are not kept.
BARE: dict[str, Any] = {"split": 0, "tokens": False}


def write_texts(folder: Path, texts: Sequence[str] = TEXTS) -> list[Item]:
    items = []
    for index, text in enumerate(texts):
        path = folder / f"{index}.txt"
        path.write_text(text, encoding="utf-8")
        items.append(Item(f"text{index}", str(path), 0))
    return items


def write_images(folder: Path, count: int, views: int = 1) -> list[Item]:
    """Noise of various sizes; `views` items for each image."""
    rng = np.random.default_rng(0)
    items = []
    for index in range(count):
        path = folder / f"{index}.png"
        size = (40 + 9 * index, 70 - 5 * index, 3)
        Image.fromarray(rng.integers(256, size=size, dtype=np.uint8)).save(path)
        items += [Item(item_key(f"image{index}", v), str(path), v) for v in range(views)]
    return items


def assert_same(row: EncodedRow, expected: EncodedRow) -> None:
    assert row.keys() == expected.keys()
    for name, value in row.items():
        assert value.dtype == expected[name].dtype
        assert np.array_equal(value, expected[name]), name


def check_independence(
    encoder: AnyEncoder,
    modality: Modality,
    items: list[Item],
    setting: Setting = SETTING,
    **kept: Any,
) -> None:
    """Alone, in other orders and with other companions, every item has the row it has among all."""
    together = encode(encoder, modality, items, setting, **kept)
    assert list(together) != []
    assert len({row["embedding"].tobytes() for row in together.values()}) == len(items)
    shuffled = [items[index] for index in np.random.default_rng(1).permutation(len(items))]
    groups = [*([item] for item in items), items[::-1], shuffled, items[1::2], items[2:]]
    for group in groups:
        rows = encode(encoder, modality, group, setting, **kept)
        assert rows.keys() == {item.key for item in group}
        for key, row in rows.items():
            assert_same(row, together[key])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_clip_text_does_not_depend_on_its_companions(
    precision: str, clip_folder: str, tmp_path: Path
) -> None:
    clip = registry.load(clip_folder, "text", precision)
    check_independence(clip, "text", write_texts(tmp_path))
    check_independence(clip, "text", write_texts(tmp_path), **BARE)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_clip_image_does_not_depend_on_its_companions(
    precision: str, clip_folder: str, tmp_path: Path
) -> None:
    clip = registry.load(clip_folder, "image", precision)
    check_independence(clip, "image", write_images(tmp_path, 5, views=2))
    check_independence(clip, "image", write_images(tmp_path, 5, views=2), **BARE)


@pytest.mark.parametrize(
    "family", ["mpnet", "deberta-v2", "albert", "dinov2", "convnext", "resnet"]
)
def test_a_sample_of_any_family_does_not_depend_on_its_companions(
    family: str, tmp_path: Path
) -> None:
    modality: Modality = "image" if family in READS_IMAGES else "text"
    encoder = registry.load(str(make_encoder_folder(family, tmp_path / "model")), modality)
    texts = [text for text in TEXTS if text.isascii()]
    items = write_texts(tmp_path, texts) if modality == "text" else write_images(tmp_path, 5)
    check_independence(encoder, modality, items, split=min(2, encoder.layers))
    check_independence(encoder, modality, items, **BARE)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("tokens", [True, False])
@pytest.mark.parametrize("modality", ["image", "text"])
def test_an_embedding_is_the_same_whichever_hidden_states_are_kept(
    modality: Modality, tokens: bool, precision: str, clip_folder: str, tmp_path: Path
) -> None:
    clip = registry.load(clip_folder, modality, precision)
    items = write_texts(tmp_path) if modality == "text" else write_images(tmp_path, 5)
    plain = encode(clip, modality, items, split=0, tokens=tokens)
    for split in (1, 2, 3):
        for key, row in encode(clip, modality, items, split=split, tokens=tokens).items():
            assert np.array_equal(row["embedding"], plain[key]["embedding"])


@pytest.mark.parametrize("modality", ["image", "text"])
def test_in_float32_tokens_change_no_more_than_the_last_digits_of_an_embedding(
    modality: Modality, clip: dict[Modality, AnyEncoder], tmp_path: Path
) -> None:
    """Without them the last layer computes one position only."""
    items = write_texts(tmp_path) if modality == "text" else write_images(tmp_path, 5)
    everything = encode(clip[modality], modality, items)
    for key, row in encode(clip[modality], modality, items, **BARE).items():
        found, expected = (each["embedding"].astype(float) for each in (row, everything[key]))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


class Elsewhere:
    """A text encoder on a device of its own, whose tensors hold no data."""

    device = "meta"

    def __init__(self, encoder: Any) -> None:
        self.tokenize, self.spec, self.fingerprint = encoder.tokenize, encoder.spec, ""
        self.seen: list[str] = []

    def encode(self, ids: Tensor, split: int, tokens: bool) -> Encoded:
        self.seen.append(ids.device.type)
        return Encoded(torch.ones(len(ids), 16), None, None)


def test_a_batch_is_moved_to_where_its_encoder_is(
    clip: dict[Modality, AnyEncoder], tmp_path: Path
) -> None:
    text: Any = Elsewhere(clip["text"])
    rows = encode(text, "text", write_texts(tmp_path), **BARE)
    assert set(text.seen) == {"meta"}
    assert all(np.array_equal(row["embedding"], np.ones((1, 16))) for row in rows.values())


def test_a_text_of_the_encoder_that_comes_with_pip_does_not_depend_on_its_companions(
    tmp_path: Path,
) -> None:
    items = write_texts(tmp_path, TEXTS[:6])
    encoder = registry.load("minilm-l6", "text")
    check_independence(encoder, "text", items, replace(SETTING, text_batch=8))


def test_an_image_of_the_encoder_that_comes_with_pip_does_not_depend_on_its_companions(
    tmp_path: Path,
) -> None:
    encoder = registry.load("efficientnet-lite0", "image")
    check_independence(encoder, "image", write_images(tmp_path, 3), replace(SETTING, image_batch=2))


def test_a_row_has_the_states_that_the_record_asks_for(
    clip: dict[Modality, AnyEncoder], tmp_path: Path
) -> None:
    texts, images = write_texts(tmp_path, TEXTS[:1]), write_images(tmp_path, 1, views=2)
    rows = encode(clip["text"], "text", texts) | encode(clip["image"], "image", images)
    shapes = {
        key: {name: (value.shape, str(value.dtype)) for name, value in row.items()}
        for key, row in rows.items()
    }
    embedding = ((1, 16), "float32")
    assert shapes == {
        "text0": {
            "embedding": embedding,
            "tokens": ((5, 32), "float16"),
            "hidden": ((5, 32), "float16"),
        },
        "image0": {
            "embedding": embedding,
            "tokens": ((17, 32), "float16"),
            "hidden": ((17, 32), "float16"),
        },
        "image0.1": {  # attention looks at the plain view only
            "embedding": embedding,
            "tokens": ((0, 32), "float16"),
            "hidden": ((17, 32), "float16"),
        },
    }
    inputs: dict[Modality, list[Item]] = {"text": texts, "image": images}
    for modality, items in inputs.items():
        for kept, expected in (
            (BARE, {"embedding"}),
            ({"split": 0, "tokens": True}, {"embedding", "tokens"}),
            ({"split": 1, "tokens": False}, {"embedding", "hidden"}),
        ):
            for row in encode(clip[modality], modality, items, **kept).values():
                assert set(row) == expected


def test_float32_keeps_what_float16_rounds(
    clip: dict[Modality, AnyEncoder], tmp_path: Path
) -> None:
    items = write_texts(tmp_path, TEXTS[:1])
    exact = encode(clip["text"], "text", items, replace(SETTING, hidden_dtype="float32"))["text0"]
    half = encode(clip["text"], "text", items)["text0"]
    for name in ("tokens", "hidden"):
        assert exact[name].dtype == np.float32
        assert np.array_equal(exact[name].astype(np.float16), half[name])
        assert not np.array_equal(exact[name], half[name])
    assert np.array_equal(exact["embedding"], half["embedding"])


def test_duplicates_share_a_key_and_a_row(clip: dict[Modality, AnyEncoder], tmp_path: Path) -> None:
    assert item_key("content", 0) == item_key("content", 0) == "content"
    assert len({item_key(content, view) for content in "ab" for view in range(3)}) == 6
    first, second, third = write_texts(tmp_path, ["the day", "the day", "bad day"])
    rows = encode(clip["text"], "text", [first, replace(second, key=first.key), third])
    assert set(rows) == {first.key, third.key}
    # Which of the two files is read does not matter.
    assert_same(encode(clip["text"], "text", [second])[second.key], rows[first.key])


def test_views_of_an_image_differ_and_are_the_same_every_time(
    clip: dict[Modality, AnyEncoder], tmp_path: Path
) -> None:
    items = write_images(tmp_path, 1, views=3)
    first = encode(clip["image"], "image", items)
    second = encode(clip["image"], "image", [replace(item) for item in items])
    for key, row in first.items():
        assert_same(row, second[key])
    assert len({row["embedding"].tobytes() for row in first.values()}) == 3


def test_a_text_is_cleaned_before_it_is_encoded(
    clip: dict[Modality, AnyEncoder], tmp_path: Path
) -> None:
    texts = ["the good day", "  The #good\nDAY @you https://t.co/x"]
    rows = encode(clip["text"], "text", write_texts(tmp_path, texts))
    assert_same(rows["text0"], rows["text1"])


@pytest.mark.parametrize("damage", ["not an image", "empty", "cut off"])
def test_an_image_that_cannot_be_decoded_is_named(
    damage: str, clip: dict[Modality, AnyEncoder], tmp_path: Path
) -> None:
    items = write_images(tmp_path, 2)
    path = Path(items[1].path)
    raw = {"not an image": b"no image", "empty": b"", "cut off": path.read_bytes()[:500]}[damage]
    path.write_bytes(raw)
    with pytest.raises(UserError) as caught:
        encode(clip["image"], "image", items)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("error")  # one line says it
@pytest.mark.parametrize("modality", ["image", "text"])
def test_states_beyond_float16_are_refused_and_fit_float32(
    modality: Modality, tmp_path: Path
) -> None:
    folder = make_clip_folder(tmp_path / "clip")
    path = folder / "model.safetensors"
    weights = safetensors.torch.load(path.read_bytes())
    for norm in ("text_model.final_layer_norm", "vision_model.post_layernorm"):
        weights[f"{norm}.weight"] *= 1e6
    safetensors.torch.save_file(weights, path, metadata={"format": "pt"})
    encoder = registry.load(str(folder), modality)
    items = write_texts(tmp_path) if modality == "text" else write_images(tmp_path, 1)

    with pytest.raises(UserError) as caught:
        encode(encoder, modality, items, name="some/net")
    assert "hidden states of 'some/net' do not fit float16" in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}")
    assert "backbone.hidden_dtype=float32" in str(caught.value)
    assert "\n" not in str(caught.value)
    rows = encode(encoder, modality, items, replace(SETTING, hidden_dtype="float32"))
    assert max(np.abs(row["tokens"]).max() for row in rows.values()) > np.finfo(np.float16).max


def weigh(folder: Path, name: str, change: Callable[[Tensor], object]) -> str:
    """A CLIP folder in which the weights that have `name` in theirs were changed."""
    path = make_clip_folder(folder) / "model.safetensors"
    weights = {key: value.clone() for key, value in safetensors.torch.load_file(path).items()}
    found = [value for key, value in weights.items() if name in key]
    assert found
    for value in found:
        change(value)
    safetensors.torch.save_file(weights, path, metadata={"format": "pt"})
    return str(folder)


def fill(value: float) -> Callable[[Tensor], object]:
    return lambda weight: weight.view(-1)[:1].fill_(value)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("value", "kept", "hidden_dtype"),
    [
        (float("nan"), {}, "float16"),
        (float("inf"), BARE, "float16"),
        (-float("inf"), {}, "float32"),
    ],
)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("modality", "weight"),
    [
        ("image", "visual_projection.weight"),
        ("image", "vision_model.encoder.layers.0.mlp.fc1.weight"),
        ("text", "text_projection.weight"),
        ("text", "text_model.encoder.layers.2.self_attn.v_proj.bias"),
    ],
)
def test_embeddings_that_are_not_numbers_are_refused_with_file_model_and_precision(
    modality: Modality,
    weight: str,
    precision: str,
    value: float,
    kept: dict[str, Any],
    hidden_dtype: str,
    tmp_path: Path,
) -> None:
    folder = weigh(tmp_path / "clip", weight, fill(value))
    items = write_texts(tmp_path) if modality == "text" else write_images(tmp_path, 5)
    encoder = registry.load(folder, modality, precision)
    setting = replace(SETTING, hidden_dtype=hidden_dtype)
    with pytest.raises(UserError) as caught:
        encode(encoder, modality, items, setting, name=folder, precision=precision, **kept)
    message = str(caught.value)
    assert any(message.startswith(f"{item.path}: the {modality} emb") for item in items)
    assert f"embeddings of {folder!r} are NaN or infinite" in message
    assert f"backbone.precision is {precision}: " in message
    assert {"fp16": "bf16 or fp32", "bf16": "set it to fp32", "fp32": "fetch"}[precision] in message
    assert precision != "fp32" or message.endswith(f"set another backbone.{modality}")
    assert "\n" not in message


def test_of_several_texts_the_one_that_is_not_a_number_is_named(tmp_path: Path) -> None:
    """ "good" stands in three of them, one of them alone in its length."""
    vocabulary: Any = registry.load(str(make_clip_folder(tmp_path / "sound")), "text")
    (ids,) = vocabulary.tokenize(["good"])
    folder = weigh(
        tmp_path / "clip", "token_embedding", lambda weight: weight[ids[1]].fill_(float("nan"))
    )
    items = write_texts(tmp_path, ["the bad day", "the good day", "the day", "bad"])
    encoder = registry.load(folder, "text")
    with pytest.raises(UserError, match=r"1\.txt: the text embeddings .* \(1 of 2 looked at\)"):
        encode(encoder, "text", items)
    assert len(encode(encoder, "text", [items[0], *items[2:]])) == 3


@pytest.mark.parametrize("kept", [{}, BARE])
def test_what_fp16_cannot_hold_is_refused_and_encoded_in_the_others(
    kept: dict[str, Any], tmp_path: Path
) -> None:
    folder = weigh(tmp_path / "clip", "fc1.weight", lambda weight: weight.mul_(3e4))
    items = write_texts(tmp_path)
    setting = replace(SETTING, hidden_dtype="float32")

    def rows(precision: str) -> dict[str, EncodedRow]:
        encoder = registry.load(folder, "text", precision)
        return encode(encoder, "text", items, setting, precision=precision, **kept)

    for precision in ("bf16", "fp32"):
        assert all(np.isfinite(row["embedding"]).all() for row in rows(precision).values())
    with pytest.raises(UserError, match="precision is fp16: set it to bf16 or fp32"):
        rows("fp16")


@pytest.mark.parametrize("hidden_dtype", ["float16", "float32"])
@pytest.mark.parametrize("states", ["tokens", "hidden"])
def test_states_that_are_no_numbers_are_told_apart_from_large_ones(
    states: str, hidden_dtype: str, clip: dict[Modality, AnyEncoder], tmp_path: Path
) -> None:
    class Broken(Elsewhere):
        device = "cpu"

        def encode(self, ids: Tensor, split: int, tokens: bool) -> Encoded:
            encoded = clip["text"].encode(ids, split, tokens)
            getattr(encoded, states)[0, 0, 0] = float("nan")
            return encoded

    text: Any = Broken(clip["text"])
    setting = replace(SETTING, hidden_dtype=hidden_dtype)
    with torch.inference_mode(), pytest.raises(UserError) as caught:
        encode(text, "text", write_texts(tmp_path), setting, precision="bf16")
    assert "hidden states are NaN or infinite" in str(caught.value)
    assert "backbone.precision is bf16: set it to fp32" in str(caught.value)
    assert "hidden_dtype" not in str(caught.value)
