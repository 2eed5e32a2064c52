import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sentifuse.config.backbone import Modality
from sentifuse.deploy import loading
from sentifuse.deploy.loading import Bundle
from sentifuse.encoders import registry
from sentifuse.encoders.interface import Backbone
from sentifuse.features import assemble, schema
from sentifuse.features import online as online_features
from sentifuse.features.batches import Dataset, Needs
from sentifuse.features.contents import Source, item_key
from sentifuse.features.encoding import Item, encode_shard
from sentifuse.features.encoding_record import EncodingRecord
from sentifuse.features.schema import EncoderMeta, Features, Meta
from sentifuse.features.store.space import Space
from sentifuse.runtime.files import sha256
from tests.bundles import IMAGE, TEXT, make_bundle
from tools.encoder_folders import make_encoder_folder

TEXTS = ("good day", "the", "so bad http://x.y", "good day")


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module", params=["fp32", "bf16"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return loading.load(make_bundle(tmp_path_factory.mktemp("online"), precision=request.param))


@pytest.fixture(scope="module")
def backbone(loaded: Bundle) -> Backbone:
    return {
        each.key: registry.load(each.name, each.modality, each.precision)
        for each in loaded.encoding.encoders
    }


def meta(record: EncodingRecord) -> Meta:
    """What `preprocess` notes of tiny CLIPs, but for their tails."""
    encoders = (
        EncoderMeta(each.key, each.modality, 16, 32, None, each.fingerprint)
        for each in record.encoders
    )
    return Meta(record.views, tuple(encoders))


def arrays(found: Features, key: str) -> dict[str, np.ndarray]:
    """All arrays of an encoder; one that is absent is an array of None."""
    return {name: np.asarray(array) for name, array in vars(found.arrays[key]).items()}


def sources(samples: list[tuple[bytes, bytes]]) -> list[dict[Modality, Source]]:
    return [
        {"image": Source("image", image), "text": Source("text", text)} for image, text in samples
    ]


def from_files(
    record: EncodingRecord, backbone: Backbone, samples: list[tuple[bytes, bytes]], folder: Path
) -> Features:
    """What comes of the same samples in files, by way of the store."""
    spaces = {each.key: Space(folder, each.key) for each in record.encoders}
    keys: dict[str, list[str]] = {each.key: [] for each in record.encoders}
    for number, contents in enumerate(samples):
        for place, modality in enumerate(("image", "text")):
            path = folder / f"{number}.{modality}"
            path.write_bytes(contents[place])
            views = record.views if modality == "image" else 1
            found = [item_key(sha256(contents[place]), view) for view in range(views)]
            items = [Item(key, str(path), view) for view, key in enumerate(found)]
            for each in record.encoders:
                if each.modality == modality:
                    keys[each.key] += found
                    # One sample a shard: other neighbours than below.
                    rows = encode_shard(backbone[each.key], each, record.setting, items)
                    spaces[each.key].append(rows)
    stored = {key: assemble.StoredRows(space, keys[key]) for key, space in spaces.items()}
    guids = [str(number) for number in range(len(samples))]
    assemble.write(folder / "features", meta(record), guids, stored)
    return schema.read(folder / "features")


SAMPLES = [(picture(seed % 3), text.encode()) for seed, text in enumerate(TEXTS)]


def test_rows_have_the_bits_that_files_and_store_give(
    loaded: Bundle, backbone: Backbone, tmp_path: Path
) -> None:
    record = loaded.encoding
    online = online_features.encode(backbone, record, meta(record), sources(SAMPLES))
    files = from_files(record, backbone, SAMPLES, tmp_path)
    assert list(online.arrays) == [IMAGE, TEXT]
    for key in (IMAGE, TEXT):
        expected = arrays(files, key)
        for name, array in arrays(online, key).items():
            np.testing.assert_array_equal(array, expected[name], err_msg=name)
            assert array.dtype == expected[name].dtype


def test_of_two_text_encoders_each_has_its_own_rows(loaded: Bundle, tmp_path: Path) -> None:
    name = str(make_encoder_folder("bert", tmp_path / "bert"))
    record = loaded.encoding
    encoder = registry.load(name, "text")
    second = replace(
        record.of(TEXT),
        key="text_bert",
        name=name,
        spec=encoder.spec,
        split=0,
        tokens=False,
        precision="fp32",
    )
    both = replace(record, encoders=(*record.encoders, second))
    backbone = {
        each.key: registry.load(each.name, each.modality, each.precision) for each in both.encoders
    }
    described = meta(both)
    bert = replace(described.encoders[2], dim=24, token_dim=24)
    described = replace(described, encoders=(*described.encoders[:2], bert))
    online = online_features.encode(backbone, both, described, sources(SAMPLES))
    alone = online_features.encode(backbone, record, meta(record), sources(SAMPLES))
    for key in (IMAGE, TEXT):
        for name, array in arrays(online, key).items():
            np.testing.assert_array_equal(array, arrays(alone, key)[name], err_msg=name)
    found = online.arrays["text_bert"]
    assert found.embeddings.shape == (len(SAMPLES), 1, 24)
    assert found.tokens is found.hidden is None


def test_contents_of_one_name_are_not_mixed_up(loaded: Bundle, backbone: Backbone) -> None:
    samples: list[dict[Modality, Source]] = [
        {"image": Source("image", picture(seed))} for seed in range(2)
    ]
    record = loaded.encoding
    found = online_features.encode(backbone, record, meta(record), samples).arrays
    assert np.abs(found[IMAGE].embeddings[0, 0] - found[IMAGE].embeddings[1, 0]).max() > 0
    np.testing.assert_array_equal(found[TEXT].embeddings, 0)


@pytest.mark.parametrize(("there", "gone"), [("image", TEXT), ("text", IMAGE)])
def test_a_modality_that_no_sample_has_is_zeros_that_a_batch_can_be_made_of(
    there: Modality, gone: str, loaded: Bundle, backbone: Backbone
) -> None:
    samples = [{there: sources(SAMPLES)[number][there]} for number in range(3)]
    record = loaded.encoding
    found = online_features.encode(backbone, record, meta(record), samples)
    data = Dataset(found, np.arange(3), torch.zeros(3, dtype=torch.int64), found.guids)
    both = frozenset({IMAGE, TEXT})
    for needs in (Needs(), Needs(tokens=both), Needs(hidden=both)):
        states = data.batch(np.arange(3), needs)[gone]
        for name, values in vars(states).items():
            assert values is None or name == "mask" or not values.any()
        assert states.embedding.shape == (3, 1, 16)


def test_a_covered_picture_keeps_the_views_of_the_whole_one(
    loaded: Bundle, backbone: Backbone
) -> None:
    """A box of no size covers nothing: all views are those of the picture."""
    nothing, all_of_it = (0.5, 0.5, 0.5, 0.5), (0.0, 0.0, 1.0, 1.0)
    samples: list[dict[Modality, Source]] = [
        {"image": Source("image", picture(0), covered)}
        for covered in ((), (nothing,), (all_of_it,))
    ]
    record = loaded.encoding
    found = online_features.encode(backbone, record, meta(record), samples).arrays[IMAGE]
    np.testing.assert_array_equal(found.embeddings[1], found.embeddings[0])
    assert np.abs(found.embeddings[2] - found.embeddings[0]).max(axis=1).min() > 0
