import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sentifuse.deploy import loading
from sentifuse.deploy.loading import Bundle
from sentifuse.encoders import registry
from sentifuse.encoders.interface import Backbone
from sentifuse.features import assemble, schema
from sentifuse.features import online as online_features
from sentifuse.features.encoding import Item, encode_shard, item_key
from sentifuse.features.online import Source
from sentifuse.features.schema import Features, Meta
from sentifuse.features.store.space import Space
from sentifuse.runtime.files import sha256
from tests.bundles import make_bundle

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
    return registry.load(loaded.encoding.backbone, None, loaded.encoding.setting.precision)


def meta(loaded: Bundle) -> Meta:
    return Meta(16, 16, 32, 32, loaded.encoding.views, {}, {}, "", "")


def arrays(found: Features) -> dict[str, np.ndarray]:
    names = ("image_embeddings", "text_embeddings", "text_offsets", "text_tokens", "image_tokens")
    names += ("text_hidden", "image_hidden")
    return {name: np.asarray(getattr(found, name)) for name in names}


def test_rows_have_the_bits_that_files_and_store_give(
    loaded: Bundle, backbone: Backbone, tmp_path: Path
) -> None:
    record = loaded.encoding
    samples = [(picture(seed % 3), text.encode()) for seed, text in enumerate(TEXTS)]
    image_keys, text_keys = [], []
    spaces = Space(tmp_path, "image-1"), Space(tmp_path, "text-1")
    for number, (image, text) in enumerate(samples):
        paths = tmp_path / f"{number}.png", tmp_path / f"{number}.txt"
        for path, raw in zip(paths, (image, text), strict=True):
            path.write_bytes(raw)
        keys = [item_key(sha256(image), view) for view in range(record.views)]
        image_keys += keys
        text_keys.append(sha256(text))
        # One sample a shard: other neighbours than below.
        items = [Item(key, str(paths[0]), view) for view, key in enumerate(keys)]
        spaces[0].append(encode_shard(backbone, record.setting, "image", items))
        item = Item(text_keys[-1], str(paths[1]), 0)
        spaces[1].append(encode_shard(backbone, record.setting, "text", [item]))
    guids = [str(number) for number in range(len(samples))]
    out = tmp_path / "features"
    images = assemble.StoredRows(spaces[0], image_keys)
    texts = assemble.StoredRows(spaces[1], text_keys)
    assemble.write(out, meta(loaded), guids, images, texts)

    online = online_features.encode(
        backbone,
        record,
        meta(loaded),
        [
            {"image": Source("image", image), "text": Source("text", text)}
            for image, text in samples
        ],
    )
    expected = arrays(schema.read(out))
    for name, array in arrays(online).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
        assert array.dtype == expected[name].dtype


def test_contents_of_one_name_are_not_mixed_up(loaded: Bundle, backbone: Backbone) -> None:
    samples = [{"image": Source("image", picture(seed))} for seed in range(2)]
    found = online_features.encode(backbone, loaded.encoding, meta(loaded), samples)
    assert np.abs(found.image_embeddings[0, 0] - found.image_embeddings[1, 0]).max() > 0
    np.testing.assert_array_equal(found.text_embeddings, 0)
