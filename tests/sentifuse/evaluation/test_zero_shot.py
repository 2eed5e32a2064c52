"""Tests of the baselines of encoders with a joint space."""

from dataclasses import replace

import numpy as np

from sentifuse.evaluation import baselines
from sentifuse.features.batches import Dataset
from sentifuse.features.parts import Parts
from sentifuse.features.schema import Arrays, Described, EncoderMeta, Features, Meta
from tests.synthetic import LABELS, make_parts

DIM = 4
LABELLED = Described("image_c", "text_c", np.eye(3, DIM, dtype=np.float32))


def parts() -> Parts:
    """Nine test samples whose image says their class and whose text says the next one, more faintly."""
    plain = make_parts(train=9, val=0)
    targets = np.arange(9) % 3
    directions = np.eye(3, DIM, dtype=np.float32)
    views = np.stack([2 * directions[targets], 4 * directions[targets]], axis=1)  # (N, V, D)
    texts = 0.5 * directions[(targets + 1) % 3][:, None]
    meta = Meta(
        views=2,
        encoders=(
            EncoderMeta("image_c", "image", DIM, 8, None, ""),
            EncoderMeta("text_c", "text", DIM, 8, None, ""),
        ),
    )
    arrays = {"image_c": Arrays(views), "text_c": Arrays(texts)}
    features = Features(meta, [str(n) for n in range(9)], arrays)
    own = Dataset(features, np.arange(9), plain.train.targets, features.guids)
    nothing = Dataset(features, np.arange(0), plain.train.targets[:0], [])
    return replace(plain, train=own, val=nothing, test=own)


def test_an_image_is_of_the_label_whose_prompts_it_is_most_like() -> None:
    found = baselines.zero_shot(parts(), "mean", LABELLED)["zero_shot_image"]
    assert found.argmax(axis=1).tolist() == parts().test.targets.tolist()
    np.testing.assert_allclose(found.sum(axis=1), 1)
    np.testing.assert_allclose(found.max(axis=1), 1 / (1 + 2 * np.exp(-100)))


def test_image_and_text_count_alike_whatever_their_lengths() -> None:
    found = baselines.zero_shot(parts(), "plain", LABELLED)["zero_shot"]
    targets = parts().test.targets.numpy()
    rows = np.arange(9)
    np.testing.assert_allclose(found[rows, targets], found[rows, (targets + 1) % 3])
    assert (found[rows, targets] > found[rows, (targets + 2) % 3]).all()


def test_a_linear_probe_reads_one_encoder() -> None:
    image = baselines.logistic_regression(parts(), "mean", 0, ["image_c"])
    text = baselines.logistic_regression(parts(), "mean", 0, ["text_c"])
    both = baselines.logistic_regression(parts(), "mean", 0)
    assert image.shape == (9, len(LABELS))
    assert not np.allclose(image, both)
    assert not np.allclose(text, both)
    np.testing.assert_allclose(image, text, rtol=1e-6)  # both tell the classes apart perfectly
