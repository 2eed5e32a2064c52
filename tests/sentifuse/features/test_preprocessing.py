import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
from PIL import Image

from sentifuse.config import backbone as config
from sentifuse.data.images import ViewSpec
from sentifuse.data.manifest import Sample
from sentifuse.encoders import registry
from sentifuse.encoders.families import FINETUNED
from sentifuse.encoders.interface import fingerprint_of
from sentifuse.errors import UserError
from sentifuse.features import assemble, encoding_record, preprocessing, schema, selection
from sentifuse.features.encoding import EncoderRecord, Item, Setting, encode_shard
from sentifuse.features.encoding_record import EncodingRecord
from sentifuse.features.engines.registry import Encode
from sentifuse.features.schema import TAIL, Features
from sentifuse.features.selection import Wanted
from sentifuse.features.store.space import Space
from tools.clip_folder import make_clip_folder
from tools.encoder_folders import make_encoder_folder

SETTING = Setting("float16", 4, 4, ViewSpec(0.5, True, 0.0), "cpu", "native")


class ReachedError(Exception):
    """Encoding would start now."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The folders of tiny models, by the last part of their names."""
    folder = tmp_path_factory.mktemp("models")
    found = {"clip": str(make_clip_folder(folder / "clip"))}
    for family in ("resnet", "mpnet", "dinov2", "deberta-v2"):
        found[family] = str(make_encoder_folder(family, folder / family))
    return found


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    """Three pairs."""
    found = []
    for number in range(3):
        image, text = tmp_path / f"{number}.png", tmp_path / f"{number}.txt"
        Image.new("RGB", (40, 50), (80 * number, 90, 0)).save(image)
        text.write_text("good day " * number, encoding="utf-8")
        found.append(Sample(f"g{number}", str(image), str(text), f"i{number}", f"t{number}"))
    return found


class Here:
    """Encodes in this process, in the precision of each record, and notes what it encodes."""

    def __init__(self) -> None:
        self.encoded: dict[str, int] = {}

    def __call__(
        self, record: EncoderRecord, setting: Setting, items: Iterable[Item], space: Space
    ) -> None:
        given = list(items)
        lacking = space.lacking(item.key for item in given)
        chosen = [item for item, lacks in zip(given, lacking, strict=True) if lacks]
        if chosen:
            encoder = registry.load(record.name, record.modality, record.precision)
            space.append(encode_shard(encoder, record, setting, chosen))
            self.encoded[record.key] = self.encoded.get(record.key, 0) + len(chosen)


def not_at_all(
    record: EncoderRecord, setting: Setting, items: Iterable[Item], space: Space
) -> None:
    raise ReachedError


def wanted(images: Sequence[tuple[str, int]], texts: Sequence[tuple[str, int]]) -> list[Wanted]:
    """Encoders of images and of texts: their names, and how many of their layers are to be finetuned."""
    return [
        Wanted("image", [name for name, _ in images], [split for _, split in images]),
        Wanted("text", [name for name, _ in texts], [split for _, split in texts]),
    ]


def run(
    asked: list[Wanted],
    samples: list[Sample],
    encode: Encode,
    out: Path,
    *,
    tokens: bool = True,
    precision: str = "fp32",
) -> dict[str, Any]:
    """Preprocesses two views of each image; the store is beside `out`."""
    encoders = selection.load(asked, None)
    records = selection.records(encoders, asked, tokens, precision)
    record = EncodingRecord(records, 2, SETTING, encoding_record.versions())
    return preprocessing.preprocess(
        samples, encoders, record, encode, store=out.parent / "store", out=out
    )


def records(
    asked: list[Wanted], *, tokens: bool = True, precision: str = "fp32"
) -> tuple[EncoderRecord, ...]:
    encoders = selection.load(asked, None)
    return selection.records(encoders, asked, tokens, precision)


def test_one_number_of_layers_is_for_all_encoders_of_a_modality() -> None:
    section = config.Backbone(
        image=("a", "b"),
        text=("c", "d"),
        fingerprint=None,
        precision="auto",
        tokens=True,
        ocr=False,
        hidden_dtype="float16",
        image_batch=1,
        text_batch=1,
        engine="local",
    )
    image, text = selection.wanted(section, [2], [1, 0])
    assert (image.modality, tuple(image.names), tuple(image.splits)) == (
        "image",
        ("a", "b"),
        (2, 2),
    )
    assert (text.modality, tuple(text.names), tuple(text.splits)) == ("text", ("c", "d"), (1, 0))


def test_more_layers_than_an_encoder_has_are_refused_before_encoding_and_it_is_named(
    models: dict[str, str],
) -> None:
    clip, mpnet = models["clip"], models["mpnet"]
    with pytest.raises(UserError) as caught:
        records(wanted([(clip, 0)], [(clip, 1), (mpnet, 4)]))
    assert str(caught.value) == f"unfreeze_text_layers: 4: the encoder {mpnet!r} has 3 layers"
    with pytest.raises(UserError) as caught:
        records(wanted([(clip, 9), (models["dinov2"], 1)], [(clip, 0)]))
    assert str(caught.value) == f"unfreeze_vision_layers: 9: the encoder {clip!r} has 3 layers"


def test_layers_of_a_model_without_a_tail_are_refused_with_the_families_that_have_one(
    models: dict[str, str],
) -> None:
    with pytest.raises(UserError) as caught:
        records(wanted([(models["resnet"], 1)], [(models["clip"], 0)]))
    message = str(caught.value)
    start = f"unfreeze_vision_layers: 1: {models['resnet']!r}: a model of type 'resnet' cannot be "
    assert message.startswith(f"{start}finetuned here: expected one of ")
    assert message.endswith(FINETUNED)
    assert "\n" not in message
    frozen, _ = records(wanted([(models["resnet"], 0)], [(models["clip"], 0)]))
    assert frozen.split == 0


def test_a_whole_encoder_is_allowed_and_said_to_be_slow(
    models: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    clip, mpnet = models["clip"], models["mpnet"]
    records(wanted([(clip, 1)], [(clip, 2), (mpnet, 3)]))
    told = capsys.readouterr().out
    assert told.count("whole encoder") == 1
    assert f"unfreeze_text_layers: 3 is the whole encoder {mpnet!r}" in told
    records(wanted([(clip, 1), (models["resnet"], 0)], [(clip, 2)]))
    assert "whole encoder" not in capsys.readouterr().out


def test_tokens_are_kept_of_the_first_encoder_of_each_modality(models: dict[str, str]) -> None:
    asked = wanted(
        [(models["clip"], 0), (models["dinov2"], 1)],
        [(models["mpnet"], 1), (models["clip"], 0), (models["deberta-v2"], 0)],
    )
    found = records(asked)
    assert {each.key: each.tokens for each in found} == {
        "image_clip": True,
        "image_dinov2": False,
        "text_mpnet": True,
        "text_clip": False,
        "text_deberta-v2": False,
    }
    assert [each.split for each in found] == [0, 1, 1, 0, 0]
    assert not any(each.tokens for each in records(asked, tokens=False))


def test_an_encoder_that_knows_float32_only_stays_in_it(models: dict[str, str]) -> None:
    asked = wanted(
        [(models["clip"], 0), (models["resnet"], 0), ("efficientnet-lite0", 0)],
        [("minilm-l6", 0), (models["mpnet"], 0)],
    )
    found = {each.key: each.precision for each in records(asked, precision="bf16")}
    assert found == {
        "image_clip": "bf16",
        "image_resnet": "fp32",
        "image_efficientnet-lite0": "fp32",
        "text_minilm-l6": "fp32",
        "text_mpnet": "bf16",
    }


def test_weights_that_were_not_expected_are_refused(
    models: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = models["clip"]
    selection.load(wanted([(clip, 0)], [(clip, 0)]), None)
    told = capsys.readouterr().out
    [line] = [each for each in told.splitlines() if each.startswith("backbone.fingerprint: ")]
    expected = line.removeprefix("backbone.fingerprint: ")
    same = selection.load(wanted([(clip, 0)], [(clip, 0)]), expected)
    assert fingerprint_of(same) == expected
    other = tmp_path / "other"
    shutil.copytree(clip, other)
    weights = safetensors.torch.load_file(other / "model.safetensors")
    weights["visual_projection.weight"][0, 0] += 1e-3
    safetensors.torch.save_file(weights, other / "model.safetensors", {"format": "pt"})
    message = f"^backbone.fingerprint: {expected}: the weights, .* image_other, text_clip have "
    with pytest.raises(UserError, match=message):
        selection.load(wanted([(str(other), 0)], [(clip, 0)]), expected)
    with pytest.raises(UserError, match=f"^backbone.fingerprint: {expected}: "):
        selection.load(wanted([(clip, 0)], [(clip, 0), (models["mpnet"], 0)]), expected)


def test_the_precision_of_each_encoder_is_on_record_and_how_close_it_is_to_float32(
    models: dict[str, str],
    samples: list[Sample],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = wanted([(models["clip"], 0), (models["resnet"], 0)], [(models["clip"], 1)])
    found, embeddings = {}, {}
    for precision in ("fp32", "bf16"):
        out = tmp_path / precision
        found[precision] = run(asked, samples, Here(), out, precision=precision)
        recorded = {each.key: each.precision for each in encoding_record.read(out).encoders}
        assert recorded == {
            "image_clip": precision,
            "image_resnet": "fp32",
            "text_clip": precision,
        }
        embeddings[precision] = schema.read(out).arrays["text_clip"].embeddings[:, 0]
    told = capsys.readouterr().out.splitlines()
    assert {"image_clip: bf16 (cpu)", "image_resnet: fp32 (cpu)"} <= set(told)
    for key, each in found["fp32"].items():
        assert (each["precision"], each["least_cosine_to_fp32"]) == ("fp32", 1.0)
        assert each["name"] == models[key.partition("_")[2]]
    assert {key: each["precision"] for key, each in found["bf16"].items()} == {
        "image_clip": "bf16",
        "image_resnet": "fp32",
        "text_clip": "bf16",
    }
    least = {key: each["least_cosine_to_fp32"] for key, each in found["bf16"].items()}
    assert least["image_resnet"] == 1.0
    assert 0.999 < least["image_clip"] < 1
    assert 0.999 < least["text_clip"] < 1
    exact, low = (embeddings[each].astype(float) for each in ("fp32", "bf16"))
    norms = np.linalg.norm(exact, axis=1) * np.linalg.norm(low, axis=1)
    assert least["text_clip"] == pytest.approx(((exact * low).sum(axis=1) / norms).min(), abs=1e-6)
    texts = found["fp32"]["text_clip"]["texts"]
    assert texts
    assert "texts" not in found["fp32"]["image_clip"]


def test_each_encoder_has_a_folder_with_its_own_states_and_tail(
    models: dict[str, str], samples: list[Sample], tmp_path: Path
) -> None:
    asked = wanted(
        [(models["clip"], 0), (models["dinov2"], 2)], [(models["mpnet"], 1), (models["clip"], 0)]
    )
    run(asked, samples, Here(), tmp_path / "out")
    out = tmp_path / "out"
    files = {
        path.name: {each.name for each in path.iterdir()} for path in out.iterdir() if path.is_dir()
    }
    assert files == {
        "image_clip": {"embeddings.npy", "tokens.npy"},
        "image_dinov2": {"embeddings.npy", "hidden.npy", TAIL},
        "text_mpnet": {"embeddings.npy", "tokens.npy", "hidden.npy", "offsets.npy", TAIL},
        "text_clip": {"embeddings.npy"},
    }
    found = schema.read(out)
    assert list(found.arrays) == ["image_clip", "image_dinov2", "text_mpnet", "text_clip"]
    layers = {each.key: each.tail and each.tail["layers"] for each in found.meta.encoders}
    assert layers == {"image_clip": None, "image_dinov2": 2, "text_mpnet": 1, "text_clip": None}
    widths = {each.key: (each.dim, each.token_dim) for each in found.meta.encoders}
    assert widths["image_dinov2"] == widths["text_mpnet"] == (24, 24)
    assert widths["text_clip"] == (16, 32)
    for each in found.meta.encoders:
        views = 2 if each.modality == "image" else 1
        assert found.arrays[each.key].embeddings.shape == (3, views, each.dim)
    encoders = selection.load(asked, None)
    written = safetensors.torch.load_file(out / "image_dinov2" / TAIL)
    weights = encoders["image_dinov2"].tail(2).weights
    assert written.keys() == weights.keys()
    assert all(written[name].equal(value) for name, value in weights.items())


def shards(store: Path) -> dict[str, tuple[int, bytes]]:
    """Each shard of the store: when it was written, and its bytes."""
    return {
        str(path.relative_to(store)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in store.rglob("*.safetensors")
    }


def assert_same_arrays(found: Features, expected: Features, key: str) -> None:
    for name, array in vars(expected.arrays[key]).items():
        np.testing.assert_array_equal(getattr(found.arrays[key], name), array, err_msg=name)


def test_an_encoder_that_is_added_re_encodes_nothing_of_the_first(
    models: dict[str, str], samples: list[Sample], tmp_path: Path
) -> None:
    first, both = Here(), Here()
    one = wanted([(models["clip"], 1)], [(models["clip"], 1)])
    run(one, samples, first, tmp_path / "one")
    assert first.encoded == {"image_clip": 6, "text_clip": 3}
    before = shards(tmp_path / "store")
    assert len(before) == 2
    two = wanted(
        [(models["clip"], 1), (models["resnet"], 0)], [(models["clip"], 1), (models["mpnet"], 2)]
    )
    run(two, samples, both, tmp_path / "two")
    assert both.encoded == {"image_resnet": 6, "text_mpnet": 3}
    after = shards(tmp_path / "store")
    assert after.items() >= before.items()
    assert len(after) == 4
    expected, found = schema.read(tmp_path / "one"), schema.read(tmp_path / "two")
    for key in ("image_clip", "text_clip"):
        assert_same_arrays(found, expected, key)
    # Nor does the one that is taken away again, nor one that only changes its place and needs no tokens.
    again = Here()
    run(one, samples, again, tmp_path / "again")
    run(two, samples, again, tmp_path / "again", tokens=True)
    assert again.encoded == {}
    assert shards(tmp_path / "store") == after


def test_without_tokens_the_order_of_the_encoders_re_encodes_nothing(
    models: dict[str, str], samples: list[Sample], tmp_path: Path
) -> None:
    texts = [(models["clip"], 1), (models["mpnet"], 0)]
    engine = Here()
    run(wanted([(models["clip"], 0)], texts), samples, engine, tmp_path / "one", tokens=False)
    assert engine.encoded == {"image_clip": 6, "text_clip": 3, "text_mpnet": 3}
    engine.encoded = {}
    swapped = wanted([(models["clip"], 0)], texts[::-1])
    run(swapped, samples, engine, tmp_path / "two", tokens=False)
    assert engine.encoded == {}
    one, two = schema.read(tmp_path / "one"), schema.read(tmp_path / "two")
    assert list(two.arrays) == ["image_clip", "text_mpnet", "text_clip"]
    for key in one.arrays:
        assert_same_arrays(two, one, key)


def test_two_encoders_of_one_short_name_are_told_apart(
    models: dict[str, str], samples: list[Sample], tmp_path: Path
) -> None:
    other = str(make_clip_folder(tmp_path / "other" / "clip", seed=1))
    asked = wanted([(models["clip"], 0)], [(models["clip"], 0), (other, 0)])
    run(asked, samples, Here(), tmp_path / "out")
    found = schema.read(tmp_path / "out")
    assert list(found.arrays) == ["image_clip", "text_clip", "text_clip-2"]
    one, two = (found.arrays[key].embeddings for key in ("text_clip", "text_clip-2"))
    assert not np.allclose(one, two)


def test_rows_that_were_damaged_in_the_store_are_encoded_again_for_their_encoder_alone(
    models: dict[str, str],
    samples: list[Sample],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = wanted([(models["clip"], 0)], [(models["clip"], 0), (models["mpnet"], 1)])
    run(asked, samples, Here(), tmp_path / "one")
    _, _, mpnet = records(asked)
    record = EncodingRecord((mpnet,), 2, SETTING, encoding_record.versions())
    [shard] = Space(tmp_path / "store", record.space(mpnet).name).paths()
    raw = bytearray(shard.read_bytes())
    raw[-1] ^= 1
    shard.write_bytes(raw)
    engine = Here()
    run(asked, samples, engine, tmp_path / "two")
    assert engine.encoded == {"text_mpnet": 3}
    assert "3 rows were damaged and are gone" in capsys.readouterr().err
    one, two = schema.read(tmp_path / "one"), schema.read(tmp_path / "two")
    for key in one.arrays:
        assert_same_arrays(two, one, key)


def test_rows_that_are_damaged_each_time_end_the_run(
    models: dict[str, str], samples: list[Sample], tmp_path: Path
) -> None:
    def lose(record: EncoderRecord, setting: Setting, items: Iterable[Item], space: Space) -> None:
        """Encodes nothing."""

    asked = wanted([(models["clip"], 0)], [(models["clip"], 0)])
    with pytest.raises(assemble.DamagedRowsError, match="6 rows were damaged"):
        run(asked, samples, lose, tmp_path / "out")


def without_text(sample: Sample) -> Sample:
    """The sample without its text."""
    return sample._replace(text="", text_sha256="")


def test_a_sample_that_lacks_a_modality_is_not_encoded_by_any_of_its_encoders(
    models: dict[str, str], samples: list[Sample], tmp_path: Path
) -> None:
    lacking = [samples[0], without_text(samples[1]), samples[2]]
    asked = wanted([(models["clip"], 0)], [(models["clip"], 0), (models["mpnet"], 1)])
    engine = Here()
    run(asked, lacking, engine, tmp_path / "out")
    assert engine.encoded == {"image_clip": 6, "text_clip": 2, "text_mpnet": 2}
    for key in ("text_clip", "text_mpnet"):
        embeddings = schema.read(tmp_path / "out").arrays[key].embeddings
        assert embeddings.any(axis=(1, 2)).tolist() == [True, False, True]


def test_the_record_is_written_beside_the_features(
    models: dict[str, str], samples: list[Sample], tmp_path: Path
) -> None:
    asked = wanted([(models["clip"], 0)], [(models["clip"], 0), (models["mpnet"], 1)])
    run(asked, samples, Here(), tmp_path / "out")
    found = encoding_record.read(tmp_path / "out")
    assert found.encoders == records(asked)
    assert (found.views, found.setting) == (2, SETTING)


def test_what_was_encoded_is_on_record_in_the_store(
    models: dict[str, str], samples: list[Sample], tmp_path: Path
) -> None:
    asked = wanted([(models["clip"], 0)], [(models["clip"], 0), (models["mpnet"], 1)])
    with pytest.raises(ReachedError):
        run(asked, samples, not_at_all, tmp_path / "out")
    found = [Space(tmp_path / "store", each.name) for each in (tmp_path / "store").iterdir()]
    noted = [space.record() for space in found if space.folder.is_dir()]
    assert sorted((each.modality, each.encoder) for each in noted if each) == [
        ("image", models["clip"]),
        ("text", models["clip"]),
        ("text", models["mpnet"]),
    ]
