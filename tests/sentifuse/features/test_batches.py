"""Tests of the batches: right rows, right views, right padding."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from sentifuse.errors import UserError
from sentifuse.features.batches import Dataset, Needs, load_parts
from sentifuse.models.classifier import Classifier
from tests.synthetic import IMAGE_TAIL, LABELS, TEXT_TAIL, make_features, model_config

NOTHING = Needs(tokens=False, text_hidden=False, image_hidden=False)
EVERYTHING = Needs(tokens=True, text_hidden=True, image_hidden=True)
ROWS = np.array([7, 2, 9, 0, 4])


@pytest.fixture
def data() -> Dataset:
    """Five of ten samples, out of order, with three views."""
    features = make_features([0, 1] * 5, noise=1.0, views=3)
    return Dataset(features, ROWS, torch.tensor([1, 0, 1, 0, 0]), [str(row) for row in ROWS])


def test_a_batch_has_the_embeddings_of_its_rows_and_nothing_that_is_not_needed(
    data: Dataset,
) -> None:
    batch = data.batch(np.array([3, 1]), NOTHING)
    features = data.features
    assert np.array_equal(batch.image, features.image_embeddings[[0, 2], :1])
    assert np.array_equal(batch.text, features.text_embeddings[[0, 2]])
    states = (batch.text_mask, batch.text_tokens, batch.text_hidden)
    assert [*states, batch.image_tokens, batch.image_hidden] == [None] * 5


@pytest.mark.parametrize("name", ["text_tokens", "text_hidden"])
def test_ragged_text_states_are_padded_behind_with_zeros(name: str, data: Dataset) -> None:
    needs = replace(NOTHING, tokens=name == "text_tokens", text_hidden=name == "text_hidden")
    batch = data.batch(np.arange(5), needs)
    states, mask, offsets = getattr(batch, name), batch.text_mask, data.features.text_offsets
    assert states is not None
    assert mask is not None
    assert offsets is not None
    lengths = [int(offsets[row + 1] - offsets[row]) for row in ROWS]
    assert len(set(lengths)) > 1
    assert states.shape[1] == mask.shape[1] == max(lengths)
    for index, (row, length) in enumerate(zip(ROWS, lengths, strict=True)):
        own = getattr(data.features, name)[offsets[row] : offsets[row + 1]]
        assert np.array_equal(states[index, :length], own)
        assert not states[index, length:].any()
        assert mask[index].tolist() == [True] * length + [False] * (max(lengths) - length)


def test_tokens_of_a_trainable_encoder_are_not_read(data: Dataset) -> None:
    batch = data.batch(np.arange(2), EVERYTHING)
    assert batch.text_tokens is None
    assert batch.image_tokens is None
    assert batch.text_hidden is not None
    assert batch.image_hidden is not None


def test_states_that_lie_in_half_precision_come_out_as_float32(data: Dataset) -> None:
    half = replace(data.features, text_hidden=data.features.text_hidden.astype(np.float16))
    hidden = replace(data, features=half).batch(np.arange(5), EVERYTHING).text_hidden
    assert hidden is not None
    assert hidden.dtype == torch.float32
    torch.testing.assert_close(
        hidden, data.batch(np.arange(5), EVERYTHING).text_hidden, rtol=1e-3, atol=1e-4
    )


def test_plain_is_the_first_view(data: Dataset) -> None:
    batch = data.batch(np.arange(5), EVERYTHING, "plain")
    assert np.array_equal(batch.image, data.features.image_embeddings[ROWS, :1])
    assert np.array_equal(batch.image_hidden, data.features.image_hidden[ROWS, :1])


def test_mean_has_all_views(data: Dataset) -> None:
    batch = data.batch(np.arange(5), EVERYTHING, "mean")
    assert np.array_equal(batch.image, data.features.image_embeddings[ROWS])
    assert np.array_equal(batch.image_hidden, data.features.image_hidden[ROWS])


def test_draw_takes_one_view_a_sample_and_each_of_them_in_the_long_run(data: Dataset) -> None:
    rng = np.random.default_rng(0)
    counts = np.zeros((5, 3), dtype=int)
    for _ in range(200):
        batch = data.batch(np.arange(5), EVERYTHING, "draw", rng)
        assert batch.image.shape[1] == 1
        for index, row in enumerate(ROWS):
            (view,) = np.flatnonzero(
                (data.features.image_embeddings[row] == batch.image[index].numpy()).all(axis=1)
            )
            assert np.array_equal(
                batch.image_hidden[index, 0], data.features.image_hidden[row, view]
            )
            counts[index, view] += 1
    assert counts.min() > 40  # 67 expected, standard deviation 6.7


def test_attention_sees_the_plain_view_whatever_is_drawn(data: Dataset) -> None:
    needs = replace(NOTHING, tokens=True)
    batch = data.batch(np.arange(5), needs, "draw", np.random.default_rng(0))
    assert np.array_equal(batch.image_tokens, data.features.image_tokens[ROWS])


@pytest.mark.parametrize(
    ("gone", "needs"),
    [
        ("text_offsets", replace(NOTHING, tokens=True)),
        ("text_tokens", replace(NOTHING, tokens=True)),
        ("image_tokens", replace(NOTHING, tokens=True)),
        ("text_hidden", replace(NOTHING, text_hidden=True)),
        ("image_hidden", replace(NOTHING, image_hidden=True)),
    ],
)
def test_states_that_were_not_kept_are_asked_for_by_param(
    gone: str, needs: Needs, data: Dataset
) -> None:
    lacking = replace(data, features=replace(data.features, **{gone: None}))
    with pytest.raises(UserError, match=r"^data/features lacks .*backbone\.tokens=true.*dvc repro"):
        lacking.batch(np.arange(2), needs)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, NOTHING),
        ({"fusion": "cross_attn"}, replace(NOTHING, tokens=True)),
        ({"text_tail": TEXT_TAIL}, replace(NOTHING, text_hidden=True)),
        ({"image_tail": IMAGE_TAIL}, replace(NOTHING, image_hidden=True)),
    ],
)
def test_needs_follow_from_the_model(changes: dict[str, object], expected: Needs) -> None:
    assert Classifier(model_config(**changes)).needs == expected


def whole(count: int) -> Dataset:
    features = make_features([index % 3 for index in range(count)], noise=1.0)
    targets = torch.zeros(count, dtype=torch.int64)
    return Dataset(features, np.arange(count), targets, features.guids)


@pytest.mark.parametrize("by_length", [False, True])
def test_an_epoch_covers_every_sample_once_in_an_order_of_its_own(by_length: bool) -> None:
    data, rng = whole(103), np.random.default_rng(0)
    first = list(data.epoch(4, rng, by_length))
    second = list(data.epoch(4, rng, by_length))
    for batches in (first, second):
        assert sorted(np.concatenate(batches)) == list(range(103))
        assert sorted(len(batch) for batch in batches) == [3] + [4] * 25
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))


def test_batches_by_length_have_little_padding() -> None:
    data = whole(200)
    offsets = data.features.text_offsets
    assert offsets is not None
    lengths = offsets[1:] - offsets[:-1]

    def padding(by_length: bool) -> int:
        batches = data.epoch(4, np.random.default_rng(0), by_length)
        return sum(int((lengths[batch].max() - lengths[batch]).sum()) for batch in batches)

    assert padding(by_length=True) < padding(by_length=False) / 4


def test_batches_by_length_do_not_come_from_short_to_long() -> None:
    data = whole(60)
    offsets = data.features.text_offsets
    assert offsets is not None
    lengths = offsets[1:] - offsets[:-1]
    longest = [lengths[batch].max() for batch in data.epoch(4, np.random.default_rng(0), True)]
    assert longest != sorted(longest)


def text_lengths(data: Dataset) -> np.ndarray:
    offsets = data.features.text_offsets
    assert offsets is not None
    return np.diff(offsets)


@pytest.mark.parametrize("by_length", [False, True])
def test_in_order_every_sample_comes_once(by_length: bool) -> None:
    data = whole(50)
    batches = data.in_order(16, by_length)
    assert [len(batch) for batch in batches] == [16, 16, 16, 2]
    order = np.concatenate(batches)
    lengths = text_lengths(data)
    # Of equal lengths the first comes first.
    expected = sorted(range(50), key=lambda row: lengths[row]) if by_length else range(50)
    assert order.tolist() == list(expected)


def test_lengths_are_those_of_the_rows_at_hand() -> None:
    data = whole(50)
    lengths = text_lengths(data)
    rows = np.argsort(-lengths, kind="stable")[:20]
    some = Dataset(data.features, rows, data.targets[:20], data.guids[:20])
    [order] = some.in_order(20, by_length=True)
    assert (np.diff(lengths[rows[order]]) >= 0).all()
    assert order[0] > 10


@pytest.mark.parametrize("by_length", [False, True])
def test_no_sample_makes_no_batch(by_length: bool) -> None:
    none = replace(whole(3), rows=np.arange(0))
    assert none.in_order(16, by_length) == []


def make_splits() -> pd.DataFrame:
    rows = [("3", "positive", "train"), ("1", "negative", "train"), ("0", "neutral", "val")]
    rows += [("2", "", "predict")]
    return pd.DataFrame(rows, columns=["guid", "label", "split"])


def test_parts_join_splits_and_features_by_guid() -> None:
    parts = load_parts(make_features([0] * 4, noise=1.0), make_splits(), LABELS)
    assert parts.train.rows.tolist() == [3, 1]
    assert parts.train.targets.tolist() == [2, 0]
    assert parts.val.guids == ["0"]
    assert parts.predict.targets.tolist() == [-1]
    assert len(parts.test) == 0


def test_a_label_that_params_lack_is_named() -> None:
    with pytest.raises(UserError, match=r"^labels: .*\['positive'\]"):
        load_parts(make_features([0] * 4, noise=1.0), make_splits(), ("negative", "neutral"))


def test_a_sample_without_features_is_named() -> None:
    with pytest.raises(UserError, match=r"^guid 3 .*dvc repro preprocess"):
        load_parts(make_features([0] * 3, noise=1.0), make_splits(), LABELS)


def test_drawing_without_a_generator_is_refused(data: Dataset) -> None:
    with pytest.raises(ValueError, match="generator"):
        data.batch(np.arange(2), NOTHING, "draw")
