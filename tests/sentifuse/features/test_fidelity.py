from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sentifuse.config.backbone import Modality
from sentifuse.data.images import ViewSpec
from sentifuse.data.text import TextSpec
from sentifuse.encoders import registry
from sentifuse.encoders.interface import AnyEncoder
from sentifuse.errors import UserError
from sentifuse.features import encoding_record, fidelity
from sentifuse.features.encoding import EncoderRecord, Item, Setting, encode_shard
from sentifuse.features.encoding_record import EncodingRecord
from tests.sentifuse.features.test_encoding import record_of
from tools.clip_folder import make_clip_folder

SETTING = Setting("float16", 4, 2, ViewSpec(0.5, True, 0.0), "cpu", "native")
TEXTS = ("good day", "the bad day", "so bad", "the food")
# Of the encoders, as `record_of` makes them.
KEYS: dict[Modality, str] = {"image": "image_net", "text": "text_net"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> dict[Modality, AnyEncoder]:
    folder = str(make_clip_folder(tmp_path_factory.mktemp("clip")))
    return {"image": registry.load(folder, "image"), "text": registry.load(folder, "text")}


@pytest.fixture
def texts(tmp_path: Path) -> "pd.Series[str]":
    paths = [tmp_path / f"{number}.txt" for number in range(len(TEXTS))]
    for path, text in zip(paths, TEXTS, strict=True):
        path.write_text(text, encoding="utf-8")
    return pd.Series([str(path) for path in paths])


def of(clip: dict[Modality, AnyEncoder], modality: Modality) -> EncoderRecord:
    """The features were encoded in bf16, with tokens and hidden states."""
    return record_of(clip[modality], modality, name="some/clip", split=1, precision="bf16")


def save(folder: Path, modality: Modality, embeddings: np.ndarray) -> None:
    """Writes embeddings (N, V, D) to where `data/features` has them."""
    path = folder / KEYS[modality] / "embeddings.npy"
    path.parent.mkdir(exist_ok=True)
    np.save(path, embeddings)


def exact(clip: dict[Modality, AnyEncoder], texts: "pd.Series[str]") -> np.ndarray:
    """(N, 1, D) in float32."""
    items = [Item(f"k{row}", path, 0) for row, path in enumerate(texts)]
    record = replace(of(clip, "text"), precision="fp32", split=0)
    rows = encode_shard(clip["text"], record, SETTING, items)
    return np.stack([rows[item.key]["embedding"] for item in items])


def least(
    clip: dict[Modality, AnyEncoder],
    folder: Path,
    texts: "pd.Series[str]",
    keys: list[str],
    own: EncoderRecord | None = None,
) -> float:
    own = own or of(clip, "text")
    record = EncodingRecord((own,), 1, SETTING, encoding_record.versions())
    items = [Item(key, path, 0) for key, path in zip(keys, texts, strict=True)]
    return fidelity.least_cosine(clip["text"], record, own, items, folder, folder / "store")


def test_it_is_that_of_the_row_that_is_furthest_off(
    clip: dict[Modality, AnyEncoder], texts: "pd.Series[str]", tmp_path: Path
) -> None:
    embeddings = exact(clip, texts)
    keys = ["k0", "k1", "k2", "k3"]
    save(tmp_path, "text", embeddings)
    assert least(clip, tmp_path, texts, keys) == 1.0
    turned = embeddings.copy()
    turned[2, 0] += 0.1 * np.linalg.norm(turned[2]) * np.eye(16)[0]
    turned[3] *= 5  # a length is no direction
    save(tmp_path, "text", turned)
    a, b = turned[2, 0].astype(float), embeddings[2, 0].astype(float)
    expected = a @ b / np.sqrt((a @ a) * (b @ b))
    assert 0.5 < expected < 0.9999
    assert least(clip, tmp_path, texts, keys) == pytest.approx(expected, abs=1e-6)
    # A sample without a text has zeros, and is not compared.
    turned[2] = 0
    save(tmp_path, "text", turned)
    assert least(clip, tmp_path, texts, ["k0", "k1", "", "k3"]) == 1.0


def test_of_images_the_plain_view_is_compared(
    clip: dict[Modality, AnyEncoder], tmp_path: Path
) -> None:
    from PIL import Image

    pixels = np.random.default_rng(0).integers(256, size=(2, 40, 50, 3), dtype=np.uint8)
    paths = [str(tmp_path / f"{number}.png") for number in range(2)]
    for path, each in zip(paths, pixels, strict=True):
        Image.fromarray(each).save(path)
    items = [Item(key, path, 0) for key, path in zip("ab", paths, strict=True)]
    own = of(clip, "image")
    rows = encode_shard(clip["image"], replace(own, precision="fp32"), SETTING, items)
    plain = np.stack([rows[key]["embedding"].astype(np.float32) for key in "ab"])  # (N, 1, D)
    save(tmp_path, "image", np.concatenate([plain, -plain], axis=1))
    record = EncodingRecord((own,), 2, SETTING, encoding_record.versions())
    store = tmp_path / "store"
    found = fidelity.least_cosine(clip["image"], record, own, items, tmp_path, store)
    assert found == 1.0


def test_float32_is_not_compared_with_itself(
    clip: dict[Modality, AnyEncoder], tmp_path: Path
) -> None:
    plain = replace(of(clip, "text"), precision="fp32")
    assert least(clip, tmp_path, pd.Series(["no file"]), ["k0"], plain) == 1.0
    assert not (tmp_path / "store").exists()


def test_what_was_encoded_for_it_is_not_encoded_again(
    clip: dict[Modality, AnyEncoder],
    texts: "pd.Series[str]",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save(tmp_path, "text", exact(clip, texts))
    first = least(clip, tmp_path, texts, ["k0", "k1", "k2", "k3"])

    def encode(*arguments: object) -> None:
        raise AssertionError("encoded again")

    monkeypatch.setattr(fidelity, "encode_shard", encode)
    assert least(clip, tmp_path, texts, ["k0", "k1", "k2", "k3"]) == first


def test_it_is_compared_with_the_space_of_a_run_in_float32(
    clip: dict[Modality, AnyEncoder],
    texts: "pd.Series[str]",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The space that such a run leaves when no states are kept; on a GPU's features, too."""
    save(tmp_path, "text", exact(clip, texts))
    own = of(clip, "text")
    keys = ["k0", "k1", "k2", "k3"]
    least(clip, tmp_path, texts, keys)
    plain = replace(own, precision="fp32", split=0, tokens=False)
    record = EncodingRecord((plain,), 1, SETTING, encoding_record.versions())
    assert [each.name for each in (tmp_path / "store").iterdir()] == [record.space(plain).name]
    monkeypatch.setattr(fidelity, "encode_shard", None)
    on_gpu = EncodingRecord((own,), 1, replace(SETTING, device="cuda"), encoding_record.versions())
    items = [Item(key, path, 0) for key, path in zip(keys, texts, strict=True)]
    store = tmp_path / "store"
    assert fidelity.least_cosine(clip["text"], on_gpu, own, items, tmp_path, store) == 1.0


def test_a_sample_that_was_damaged_in_the_store_is_encoded_again(
    clip: dict[Modality, AnyEncoder], texts: "pd.Series[str]", tmp_path: Path
) -> None:
    save(tmp_path, "text", -exact(clip, texts))
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
    clip: dict[Modality, AnyEncoder], capsys: pytest.CaptureFixture[str]
) -> None:
    image, text = (of(clip, modality) for modality in KEYS)
    found = fidelity.report([image, text], {image.key: 0.99991, text.key: 1.0})
    assert isinstance(text.spec, TextSpec)
    assert found == {
        "image_net": {
            "name": "some/clip",
            "precision": "bf16",
            "least_cosine_to_fp32": 0.99991,
        },
        "text_net": {
            "name": "some/clip",
            "precision": "bf16",
            "least_cosine_to_fp32": 1.0,
            "texts": text.spec.words(),
        },
    }
    assert capsys.readouterr().err == ""
    image = replace(image, precision="fp16")
    fidelity.report([image, text], {image.key: 0.9998, text.key: 1.0})
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("backbone.precision: fp16: the least cosine of 'some/clip' to float32")
    assert "0.9998" in line


def test_each_of_several_encoders_has_a_line_of_its_own(
    clip: dict[Modality, AnyEncoder], capsys: pytest.CaptureFixture[str]
) -> None:
    first = of(clip, "text")
    exact_one = replace(first, key="text_exact", name="exact", precision="fp32")
    third = replace(first, key="text_third", name="third")
    cosines = {first.key: 0.5, exact_one.key: 1.0, third.key: 0.6}
    found = fidelity.report([first, exact_one, third], cosines)
    assert list(found) == [first.key, exact_one.key, third.key]
    assert [each["precision"] for each in found.values()] == ["bf16", "fp32", "bf16"]
    told = capsys.readouterr().err.splitlines()
    assert ["'some/clip'" in told[0], "'third'" in told[1], len(told)] == [True, True, 2]


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
@pytest.mark.parametrize("place", range(4))
def test_a_cosine_that_is_no_number_is_not_told_as_one(
    place: int,
    value: float,
    clip: dict[Modality, AnyEncoder],
    texts: "pd.Series[str]",
    tmp_path: Path,
) -> None:
    """The least of 1.0 and NaN is 1.0, or NaN, by their order."""
    embeddings = exact(clip, texts)
    embeddings[place] = value
    save(tmp_path, "text", embeddings)
    with pytest.raises(UserError) as caught:
        least(clip, tmp_path, texts, ["k0", "k1", "k2", "k3"])
    start = f"{texts[place]}: the cosines of the embeddings of 'some/clip' in bf16 to those in "
    assert str(caught.value).startswith(f"{start}float32 are NaN")
    assert "set backbone.precision=fp32" in str(caught.value)


def test_a_nan_in_the_report_is_below_what_is_enough(
    clip: dict[Modality, AnyEncoder], capsys: pytest.CaptureFixture[str]
) -> None:
    image = of(clip, "image")
    fidelity.report([image], {image.key: float("nan")})
    assert "the least cosine of 'some/clip' to float32 is nan" in capsys.readouterr().err
