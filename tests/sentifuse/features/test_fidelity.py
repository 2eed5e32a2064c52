from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sentifuse.data.images import ViewSpec
from sentifuse.encoders import registry
from sentifuse.encoders.interface import Backbone
from sentifuse.errors import UserError
from sentifuse.features import encoding_record, fidelity
from sentifuse.features.encoding import Item, Setting, encode_shard
from tools.clip_folder import make_clip_folder

SETTING = Setting(0, 1, True, "float16", 4, 2, ViewSpec(0.5, True, 0.0), precision="bf16")
TEXTS = ("good day", "the bad day", "so bad", "the food")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    return registry.load(str(make_clip_folder(tmp_path_factory.mktemp("clip"))), None)


@pytest.fixture
def texts(tmp_path: Path) -> "pd.Series[str]":
    paths = [tmp_path / f"{number}.txt" for number in range(len(TEXTS))]
    for path, text in zip(paths, TEXTS, strict=True):
        path.write_text(text, encoding="utf-8")
    return pd.Series([str(path) for path in paths])


def exact(clip: Backbone, texts: "pd.Series[str]") -> np.ndarray:
    items = [Item(f"k{row}", path, 0) for row, path in enumerate(texts)]
    rows = encode_shard(clip, replace(SETTING, precision="fp32", text_split=0), "text", items)
    return np.concatenate([rows[item.key]["embedding"] for item in items])


def least(
    clip: Backbone,
    folder: Path,
    texts: "pd.Series[str]",
    keys: list[str],
    setting: Setting = SETTING,
) -> float:
    record = encoding_record.of(clip, clip.name, None, setting, views=1)
    items = [Item(key, path, 0) for key, path in zip(keys, texts, strict=True)]
    return fidelity.least_cosine(clip, record, "text", items, folder, folder / "store")


def test_it_is_that_of_the_row_that_is_furthest_off(
    clip: Backbone, texts: "pd.Series[str]", tmp_path: Path
) -> None:
    embeddings = exact(clip, texts)
    keys = ["k0", "k1", "k2", "k3"]
    np.save(tmp_path / "text_embeddings.npy", embeddings)
    assert least(clip, tmp_path, texts, keys) == 1.0
    turned = embeddings.copy()
    turned[2] += 0.1 * np.linalg.norm(turned[2]) * np.eye(16)[0]
    turned[3] *= 5  # a length is no direction
    np.save(tmp_path / "text_embeddings.npy", turned)
    a, b = turned[2].astype(float), embeddings[2].astype(float)
    expected = a @ b / np.sqrt((a @ a) * (b @ b))
    assert 0.5 < expected < 0.9999
    assert least(clip, tmp_path, texts, keys) == pytest.approx(expected, abs=1e-6)
    # A sample without a text has zeros, and is not compared.
    turned[2] = 0
    np.save(tmp_path / "text_embeddings.npy", turned)
    assert least(clip, tmp_path, texts, ["k0", "k1", "", "k3"]) == 1.0


def test_of_images_the_plain_view_is_compared(clip: Backbone, tmp_path: Path) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(256, size=(2, 40, 50, 3), dtype=np.uint8)
    paths = [str(tmp_path / f"{number}.png") for number in range(2)]
    for path, each in zip(paths, pixels, strict=True):
        Image.fromarray(each).save(path)
    items = [Item(key, path, 0) for key, path in zip("ab", paths, strict=True)]
    rows = encode_shard(clip, replace(SETTING, precision="fp32"), "image", items)
    plain = np.stack([rows[key]["embedding"] for key in "ab"])  # (N, 1, D)
    np.save(tmp_path / "image_embeddings.npy", np.concatenate([plain, -plain], axis=1))
    record = encoding_record.of(clip, clip.name, None, SETTING, views=2)
    found = fidelity.least_cosine(clip, record, "image", items, tmp_path, tmp_path / "store")
    assert found == 1.0


def test_float32_is_not_compared_with_itself(clip: Backbone, tmp_path: Path) -> None:
    plain = replace(SETTING, precision="fp32")
    assert least(clip, tmp_path, pd.Series(["no file"]), ["k0"], plain) == 1.0
    assert not (tmp_path / "store").exists()


def test_what_was_encoded_for_it_is_not_encoded_again(
    clip: Backbone,
    texts: "pd.Series[str]",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    np.save(tmp_path / "text_embeddings.npy", exact(clip, texts))
    first = least(clip, tmp_path, texts, ["k0", "k1", "k2", "k3"])

    def encode(*arguments: object) -> None:
        raise AssertionError("encoded again")

    monkeypatch.setattr(fidelity, "encode_shard", encode)
    assert least(clip, tmp_path, texts, ["k0", "k1", "k2", "k3"]) == first


def test_a_sample_that_was_damaged_in_the_store_is_encoded_again(
    clip: Backbone, texts: "pd.Series[str]", tmp_path: Path
) -> None:
    np.save(tmp_path / "text_embeddings.npy", -exact(clip, texts))
    keys = ["k0", "k1", "k2", "k3"]
    assert least(clip, tmp_path, texts, keys) == -1.0
    [shard] = (tmp_path / "store").rglob("*.safetensors")
    raw = bytearray(shard.read_bytes())
    raw[-1] ^= 1
    shard.write_bytes(raw)
    assert least(clip, tmp_path, texts, keys) == -1.0


def test_the_sample_does_not_depend_on_the_order_of_the_rows() -> None:
    keys = [f"{number * 7919 % 1000:03}" for number in range(200)] + ["", ""]
    items = [Item(key, f"{key}.txt", 0) for key in keys]
    drawn = fidelity.draw(items)
    assert len(drawn) == fidelity.SAMPLE
    assert set(drawn) == set(fidelity.draw(items[::-1])) == set(sorted(filter(None, keys))[:64])
    assert all(items[row] == item and item.key == key for key, (row, item) in drawn.items())
    assert fidelity.draw([Item("", "", 0)]) == {}
    assert fidelity.draw([Item(key, "", 0) for key in "bab"]).keys() == {"a", "b"}


def test_the_report_warns_in_one_line_below_what_is_enough(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = fidelity.report("bf16", {"image": 0.99991, "text": 1.0})
    assert found == {"precision": "bf16", "least_cosine_to_fp32": {"image": 0.99991, "text": 1.0}}
    assert capsys.readouterr().err == ""
    fidelity.report("fp16", {"image": 0.9998, "text": 1.0})
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("backbone.precision: fp16: the least cosine of image embeddings")
    assert "0.9998" in line


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
@pytest.mark.parametrize("place", range(4))
def test_a_cosine_that_is_no_number_is_not_told_as_one(
    place: int, value: float, clip: Backbone, texts: "pd.Series[str]", tmp_path: Path
) -> None:
    """The least of 1.0 and NaN is 1.0, or NaN, by their order."""
    embeddings = exact(clip, texts)
    embeddings[place] = value
    np.save(tmp_path / "text_embeddings.npy", embeddings)
    with pytest.raises(UserError) as caught:
        least(clip, tmp_path, texts, ["k0", "k1", "k2", "k3"])
    start = f"{texts[place]}: the cosines of text embeddings in bf16 to those in float32 are NaN"
    assert str(caught.value).startswith(start)
    assert "set backbone.precision=fp32" in str(caught.value)


def test_a_nan_in_the_report_is_below_what_is_enough(capsys: pytest.CaptureFixture[str]) -> None:
    fidelity.report("fp16", {"image": float("nan"), "text": 1.0})
    assert "the least cosine of image embeddings to float32 is nan" in capsys.readouterr().err
