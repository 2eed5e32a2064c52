import io
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sentifuse.config.backbone import Modality
from sentifuse.deploy import loading
from sentifuse.deploy.pairs import Pair
from sentifuse.deploy.predictor import Predictor
from sentifuse.encoders import registry
from sentifuse.errors import UserError
from sentifuse.features import encoding, encoding_record
from sentifuse.runtime import devices
from tests.bundles import IMAGE, TEXT, make_bundle
from tools.clip_folder import make_clip_folder
from tools.encoder_folders import make_encoder_folder

# Of several lengths, scripts and none.
TEXTS = ("good day", "the day", "so bad #Monday", "天气", "the the the good good day", "http://x.y")


def picture(seed: int = 0, size: tuple[int, int] = (40, 50)) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("predictor"))


@pytest.fixture(scope="module")
def loaded(made: Path) -> Predictor:
    return Predictor.load(made)


def test_a_prediction_is_whole(loaded: Predictor) -> None:
    found = loaded.predict(picture(), "good day")
    assert list(found.probabilities) == ["negative", "neutral", "positive"] == list(loaded.labels)
    assert sum(found.probabilities.values()) == pytest.approx(1, abs=1e-12)
    assert found.label == max(found.probabilities, key=lambda each: found.probabilities[each])
    assert found.confidence == found.probabilities[found.label]
    total = found.base + found.text_contribution + found.image_contribution
    assert total == pytest.approx(found.confidence, abs=1e-12)
    assert found.used == ("image", "text")


def test_a_file_and_its_content_give_the_same(loaded: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(picture())
    expected = loaded.predict(picture(), "good day")
    assert loaded.predict(path, "good day") == expected
    assert loaded.predict(str(path), "good day") == expected


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """One without random views, which a picture that is no file has others of."""
    folder = tmp_path_factory.mktemp("plain")
    return Predictor.load(make_bundle(folder, views=1, predict_views="plain"))


def written(raw: bytes) -> io.BytesIO:
    file = io.BytesIO()
    file.write(raw)
    return file


@pytest.mark.parametrize(
    "given",
    [
        written,
        io.BytesIO,
        bytearray,
        memoryview,
        lambda raw: Image.open(io.BytesIO(raw)),
        lambda raw: Image.open(io.BytesIO(raw)).convert("RGBA"),
        lambda raw: np.asarray(Image.open(io.BytesIO(raw))),
        lambda raw: np.asarray(Image.open(io.BytesIO(raw))).astype(np.int64),
        lambda raw: np.asarray(Image.open(io.BytesIO(raw))) / np.float32(255),
        lambda raw: np.asarray(Image.open(io.BytesIO(raw))).astype(np.uint16) * 257,
        lambda raw: torch.from_numpy(np.array(Image.open(io.BytesIO(raw)))),
    ],
    ids=[
        "written", "BytesIO", "bytearray", "memoryview", "PIL", "RGBA", "uint8", "int64", "float",
        "uint16", "tensor",
    ],
)  # fmt: skip
def test_a_picture_may_be_what_python_people_have(
    plain: Predictor, given: Callable[[bytes], Any]
) -> None:
    expected = plain.predict(picture(), "good day")
    assert plain.predict(given(picture()), "good day") == expected
    assert plain.predict(picture(1), "good day") != expected


def test_an_open_file_and_a_photo_that_lies_on_its_side_are_read(
    plain: Predictor, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(io.BytesIO(picture())) as image:
        image.save(tmp_path / "a.png", exif=exif)
    expected = plain.predict(tmp_path / "a.png")
    assert expected != plain.predict(picture())
    with (tmp_path / "a.png").open("rb") as file:
        assert plain.predict(file) == expected
    with Image.open(tmp_path / "a.png") as image:
        assert plain.predict(image) == expected


def test_both_modalities_matter(loaded: Predictor) -> None:
    found = loaded.predict(picture(), "good day")
    assert loaded.predict(picture(1), "good day").probabilities != found.probabilities
    assert loaded.predict(picture(), "bad day").probabilities != found.probabilities


@pytest.mark.parametrize(
    ("given", "missing"), [("image", "text"), ("text", "image")], ids=["image", "text"]
)
def test_one_modality_is_enough(loaded: Predictor, given: str, missing: str) -> None:
    pair: dict[str, Any] = {"image": picture(), "text": "good day"}
    found = loaded.predict(**{given: pair[given]})
    assert found.used == (given,)
    assert getattr(found, f"{missing}_contribution") == 0
    own = getattr(found, f"{given}_contribution")
    assert own == pytest.approx(found.confidence - found.base, abs=1e-12)
    assert found.probabilities != loaded.predict(**pair).probabilities


def test_a_text_that_cleaning_empties_is_one_beside_an_image(loaded: Predictor) -> None:
    assert loaded.predict(picture(), "http://x.y").used == ("image", "text")


def test_many_are_as_one_by_one_in_their_order(
    loaded: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs = [Pair(picture(seed), text) for seed, text in enumerate(TEXTS)]
    pairs += [Pair(None, "good day"), Pair(picture(0), None), Pair(picture(3), "the")]
    pairs += pairs[:3]
    expected = [loaded.predict(pair.image, pair.text) for pair in pairs]
    for size in (1, 2, 5, 100):
        monkeypatch.setattr("sentifuse.deploy.pair_predictor.PAIRS_A_BATCH", size)
        found = list(loaded.predict_many(pairs))
        for one, other in zip(found, expected, strict=True):
            assert one.used == other.used
            # What is written has six decimals; these are the same to twelve.
            assert one.probabilities == pytest.approx(other.probabilities, abs=1e-12)
            assert one.text_contribution == pytest.approx(other.text_contribution, abs=1e-12)


def test_pairs_are_taken_a_batch_at_a_time(
    loaded: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sentifuse.deploy.pair_predictor.PAIRS_A_BATCH", 2)
    taken = 0

    def pairs() -> Iterator[Pair]:
        nonlocal taken
        for _ in range(7):
            taken += 1
            yield Pair(text="good day")

    found = loaded.predict_many(pairs())
    next(found)
    assert taken == 2
    assert len(list(found)) == 6


def test_a_bad_pair_spoils_itself_only(loaded: Predictor) -> None:
    cut_off = picture(1)[:-300]
    pairs = [Pair(picture(), "good day"), Pair(cut_off, "the"), Pair(), Pair(text="bad")]
    found = list(loaded.try_many(pairs))
    assert [isinstance(each, UserError) for each in found] == [False, True, True, False]
    assert "not an image that can be decoded" in str(found[1])
    with pytest.raises(UserError, match="not an image that can be decoded"):
        list(loaded.predict_many(pairs))


def test_what_cannot_be_read_is_told_without_decoding(loaded: Predictor) -> None:
    nothing_wrong, wrong = loaded.check_many([Pair(text="good day"), Pair(b"no image")])
    assert nothing_wrong is None
    assert "not an image that can be read" in str(wrong)


def test_several_threads_get_what_one_gets(loaded: Predictor) -> None:
    pairs = [Pair(picture(seed % 3), TEXTS[seed % 5]) for seed in range(24)]
    expected = [loaded.predict(pair.image, pair.text) for pair in pairs]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda pair: loaded.predict(pair.image, pair.text), pairs))
    assert found == expected


def test_random_views_matter_and_are_drawn_alike_each_time(made: Path, tmp_path: Path) -> None:
    plain = Predictor.load(make_bundle(tmp_path, predict_views="plain"))
    mean = Predictor.load(made)
    assert mean.predict(picture()) == mean.predict(picture())
    assert mean.predict(picture()).probabilities != plain.predict(picture()).probabilities


@pytest.mark.parametrize("fusion", ["gated", "film", "film_concat", "cross_attn"])
@pytest.mark.parametrize("frozen", [False, True])
def test_every_fusion_predicts(tmp_path: Path, fusion: str, frozen: bool) -> None:
    loaded = Predictor.load(make_bundle(tmp_path, fusion=fusion, frozen=frozen))
    assert loaded.predict(picture(), "good day").used == ("image", "text")
    assert loaded.predict(picture()).used == ("image",)
    assert loaded.predict(text="good day").used == ("text",)


@pytest.mark.parametrize(("mode", "read"), [("text_only", "text"), ("image_only", "image")])
def test_a_unimodal_model_does_not_look_at_the_other_modality(
    tmp_path: Path, mode: str, read: str
) -> None:
    loaded = Predictor.load(make_bundle(tmp_path, input_mode=mode))
    pair: dict[str, Any] = {"image": picture(), "text": "good day"}
    found = loaded.predict(**pair)
    assert found.used == (read,)
    assert loaded.predict(**{read: pair[read]}) == found
    del pair[read]
    with pytest.raises(UserError, match=f"the model reads {read}, and there is none"):
        loaded.predict(**pair)


# Loading


def test_another_backbone_is_refused_with_both_fingerprints(made: Path, tmp_path: Path) -> None:
    other = make_clip_folder(tmp_path / "other", seed=1)
    with pytest.raises(UserError, match="trained on") as error:
        Predictor.load(made, backbone=str(other))
    expected = loading.load(made).encoding.of(IMAGE).fingerprint
    found = registry.load(str(other), "image").fingerprint
    for part in (expected, found, "image encoder", "--backbone", "dvc repro"):
        assert part in str(error.value)


def test_the_same_backbone_elsewhere_is_taken(made: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(made.parent / "clip", tmp_path / "moved")
    here = Predictor.load(made, backbone=str(moved))
    assert here.predict(picture(), "good day") == Predictor.load(made).predict(
        picture(), "good day"
    )


def test_a_backbone_that_is_gone_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = make_bundle(tmp_path)
    shutil.rmtree(tmp_path / "clip")
    with pytest.raises(
        UserError, match=rf"its encoder {IMAGE} cannot be loaded; .*--backbone.*no such folder"
    ):
        Predictor.load(folder)


@pytest.mark.parametrize("modality", ["image", "text"])
def test_another_version_of_the_encoding_is_refused(
    made: Path, monkeypatch: pytest.MonkeyPatch, modality: Modality
) -> None:
    here = encoding.VERSIONS[modality]
    monkeypatch.setitem(encoding.VERSIONS, modality, 99)
    with pytest.raises(
        UserError, match=f"{modality}s were encoded by version {here}, this is version 99"
    ):
        Predictor.load(made)


# Several encoders of a modality


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with three text encoders: CLIP's, one of a folder, and one that comes with pip."""
    folder = tmp_path_factory.mktemp("several")
    bert = make_encoder_folder("bert", folder / "bert")
    return make_bundle(folder, more_texts=[str(bert), "minilm-l6"])


@pytest.mark.parametrize("fusion", ["concat", "cross_attn"])
@pytest.mark.parametrize("frozen", [False, True])
def test_two_text_encoders_predict(tmp_path: Path, fusion: str, frozen: bool) -> None:
    bert = make_encoder_folder("bert", tmp_path / "bert")
    made = make_bundle(tmp_path, more_texts=[str(bert)], fusion=fusion, frozen=frozen)
    loaded = Predictor.load(made)
    pairs = [Pair(picture(seed), text) for seed, text in enumerate(TEXTS)]
    pairs += [Pair(text="good day"), Pair(picture())]
    found = list(loaded.predict_many(pairs))
    assert [each.used for each in found[-3:]] == [("image", "text"), ("text",), ("image",)]
    for pair, each in zip(pairs, found, strict=True):
        total = each.base + each.text_contribution + each.image_contribution
        assert total == pytest.approx(each.confidence, abs=1e-12)
        alone = loaded.predict(pair.image, pair.text).probabilities
        assert each.probabilities == pytest.approx(alone, abs=1e-12)


def test_each_text_encoder_counts(tmp_path: Path) -> None:
    """Bundles that differ in the weights of the second one only give other figures."""
    found = []
    for seed in (0, 1):
        bert = make_encoder_folder("bert", tmp_path / str(seed) / "bert", seed=seed)
        made = make_bundle(tmp_path / str(seed), more_texts=[str(bert)], frozen=True)
        found.append(Predictor.load(made).predict(text="good day").probabilities)
    assert found[0] != found[1]


def test_each_encoder_may_be_elsewhere(several: Path, tmp_path: Path) -> None:
    expected = Predictor.load(several).predict(picture(), "good day")
    clip = str(shutil.copytree(several.parent / "clip", tmp_path / "clip"))
    bert = str(shutil.copytree(several.parent / "bert", tmp_path / "bert"))
    for moved in ({"text_bert": bert}, {IMAGE: clip, TEXT: clip, "text_bert": bert}):
        assert Predictor.load(several, moved).predict(picture(), "good day") == expected


def test_one_place_is_for_all_encoders_that_do_not_come_with_pip(tmp_path: Path) -> None:
    made = make_bundle(tmp_path, more_texts=["minilm-l6"])
    expected = Predictor.load(made).predict(picture(), "good day")
    moved = (tmp_path / "clip").rename(tmp_path / "moved")
    assert Predictor.load(made, str(moved)).predict(picture(), "good day") == expected


def test_an_unknown_key_is_told_with_those_that_there_are(several: Path) -> None:
    with pytest.raises(UserError) as error:
        Predictor.load(several, {"text_brt": "somewhere"})
    assert str(error.value) == (
        f"{several}: --backbone text_brt: no such encoder: expected one of "
        f"{IMAGE}, {TEXT}, text_bert, text_minilm-l6"
    )


def test_the_encoder_that_is_not_the_one_of_the_training_is_named(
    several: Path, tmp_path: Path
) -> None:
    other = str(make_encoder_folder("bert", tmp_path / "other", seed=1))
    with pytest.raises(UserError, match=r"trained on '.*/bert' with the text encoder"):
        Predictor.load(several, {"text_bert": other})
    with pytest.raises(UserError, match="its encoder text_bert cannot be loaded"):
        Predictor.load(several, {"text_bert": str(tmp_path / "nowhere")})


# Where it runs


def test_other_libraries_are_told(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    versions = {**encoding_record.versions(), "pillow": "0.1"}
    monkeypatch.setattr(encoding_record, "versions", lambda ocr: versions)
    with pytest.warns(UserWarning, match=r"trained with pillow [\d.]+ \(here 0\.1\)"):
        Predictor.load(made)


def test_inputs_are_encoded_in_the_precision_of_the_training(tmp_path: Path, made: Path) -> None:
    low = make_bundle(tmp_path / "low", precision="bf16")
    [plain], [narrow] = (
        [Predictor.load(folder).predict(picture(), "good day")] for folder in (made, low)
    )
    assert narrow.probabilities != plain.probabilities
    for label, value in plain.probabilities.items():
        assert narrow.probabilities[label] == pytest.approx(value, abs=0.02)


def test_a_model_of_a_gpu_predicts_without_one_and_says_so(
    tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "kind", lambda: "cpu")
    folder = make_bundle(tmp_path, device="cuda")
    with pytest.warns(UserWarning, match=r"was trained with cuda \(here cpu\): the last digits"):
        found = Predictor.load(folder)
    expected = Predictor.load(made).predict(picture(), "good day")
    assert found.predict(picture(), "good day").probabilities == expected.probabilities
