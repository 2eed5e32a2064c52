"""Tests of the batches: right rows, right views, right padding."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from sentifuse.errors import UserError
from sentifuse.features.batches import Dataset, Needs
from sentifuse.features.parts import load_parts
from sentifuse.features.schema import Array, Arrays, Features
from sentifuse.models.classifier import Classifier
from tests.synthetic import (
    IMAGE,
    IMAGE_TOKENS,
    LABELS,
    TEXT,
    TEXT_META,
    encoders,
    make_features,
    model_config,
    with_arrays,
)

NOTHING = Needs()
BOTH = frozenset({IMAGE, TEXT})
EVERYTHING = Needs(tokens=BOTH, hidden=BOTH)
ROWS = np.array([7, 2, 9, 0, 4])
# The key of a text encoder beside the one that `make_features` has.
SECOND = "text_second"


@pytest.fixture
def data() -> Dataset:
    """Five of ten samples, out of order, with three views."""
    features = make_features([0, 1] * 5, noise=1.0, views=3)
    return Dataset(features, ROWS, torch.tensor([1, 0, 1, 0, 0]), [str(row) for row in ROWS])


def kept(array: Array | None) -> Array:
    assert array is not None
    return array


def numbers(states: Tensor | None) -> Array:
    assert states is not None
    return states.numpy()


def text_lengths(features: Features, key: str = TEXT) -> Array:
    """The tokens of each text."""
    return np.diff(kept(features.arrays[key].offsets))


def with_second_text(features: Features, lengths: Array) -> Features:
    """The features with a further text encoder, whose texts have as many tokens as `lengths` says."""
    rng = np.random.default_rng(7)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    arrays = Arrays(
        embeddings=rng.standard_normal((len(lengths), 1, 5)).astype(np.float32),
        tokens=rng.standard_normal((offsets[-1], 3)).astype(np.float32),
        hidden=rng.standard_normal((offsets[-1], 3)).astype(np.float32),
        offsets=offsets,
    )
    second = replace(TEXT_META, key=SECOND, dim=5, token_dim=3)
    return replace(
        features,
        meta=replace(features.meta, encoders=(*features.meta.encoders, second)),
        arrays={**features.arrays, SECOND: arrays},
    )


def test_a_batch_has_the_embeddings_of_its_rows_and_nothing_that_is_not_needed(
    data: Dataset,
) -> None:
    batch = data.batch(np.array([3, 1]), NOTHING)
    arrays = data.features.arrays
    assert list(batch) == [IMAGE, TEXT]
    assert np.array_equal(batch[IMAGE].embedding, arrays[IMAGE].embeddings[[0, 2], :1])
    assert np.array_equal(batch[TEXT].embedding, arrays[TEXT].embeddings[[0, 2]])
    for states in batch.values():
        assert states.tokens is states.hidden is states.mask is None


def check_padding(data: Dataset, key: str, name: str) -> None:
    """Looks at each text of a batch of all samples, in states of one kind."""
    needs = Needs(**{name: frozenset({key})})
    states = data.batch(np.arange(5), needs)[key]
    found, mask, offsets = (
        getattr(states, name),
        states.mask,
        kept(data.features.arrays[key].offsets),
    )
    assert found is not None
    assert mask is not None
    lengths = [int(offsets[row + 1] - offsets[row]) for row in ROWS]
    assert len(set(lengths)) > 1
    assert found.shape[1] == mask.shape[1] == max(lengths)
    for index, (row, length) in enumerate(zip(ROWS, lengths, strict=True)):
        own = getattr(data.features.arrays[key], name)[offsets[row] : offsets[row + 1]]
        assert np.array_equal(found[index, :length], own)
        assert not found[index, length:].any()
        assert mask[index].tolist() == [True] * length + [False] * (max(lengths) - length)


@pytest.mark.parametrize("name", ["tokens", "hidden"])
def test_ragged_text_states_are_padded_behind_with_zeros(name: str, data: Dataset) -> None:
    check_padding(data, TEXT, name)


@pytest.mark.parametrize("name", ["tokens", "hidden"])
def test_each_of_two_text_encoders_has_a_mask_of_its_own(name: str, data: Dataset) -> None:
    both = replace(data, features=with_second_text(data.features, np.arange(10) % 4 + 1))
    for key in (TEXT, SECOND):
        check_padding(both, key, name)
    batch = both.batch(np.arange(5), Needs(**{name: frozenset({TEXT, SECOND})}))
    first, second = batch[TEXT].mask, batch[SECOND].mask
    assert first is not None
    assert second is not None
    assert first.sum(1).tolist() != second.sum(1).tolist()


def test_of_two_text_encoders_one_may_be_read_by_its_embedding_alone(data: Dataset) -> None:
    both = replace(data, features=with_second_text(data.features, np.arange(10) % 4 + 1))
    batch = both.batch(np.arange(5), Needs(tokens=frozenset({TEXT})))
    assert batch[TEXT].tokens is not None
    second = batch[SECOND]
    assert second.embedding.shape == (5, 1, 5)
    assert second.tokens is second.hidden is second.mask is None


def test_tokens_of_a_trainable_encoder_are_not_read(data: Dataset) -> None:
    batch = data.batch(np.arange(2), EVERYTHING)
    for key in (IMAGE, TEXT):
        assert batch[key].tokens is None
        assert batch[key].hidden is not None


def test_states_that_lie_in_half_precision_come_out_as_float32(data: Dataset) -> None:
    exact = kept(data.features.arrays[TEXT].hidden)
    half = with_arrays(data.features, text={"hidden": exact.astype(np.float16)})
    hidden = replace(data, features=half).batch(np.arange(5), EVERYTHING)[TEXT].hidden
    assert hidden is not None
    assert hidden.dtype == torch.float32
    torch.testing.assert_close(
        hidden, data.batch(np.arange(5), EVERYTHING)[TEXT].hidden, rtol=1e-3, atol=1e-4
    )


def test_a_batch_in_another_dtype_keeps_its_mask(data: Dataset) -> None:
    states = data.batch(np.arange(5), Needs(tokens=frozenset({TEXT})))[TEXT]
    low = states.to(torch.bfloat16)
    assert low.tokens is not None
    assert low.mask is not None
    assert low.embedding.dtype == low.tokens.dtype == torch.bfloat16
    assert low.hidden is None
    assert low.mask.dtype == torch.bool


def test_plain_is_the_first_view(data: Dataset) -> None:
    found, arrays = data.batch(np.arange(5), EVERYTHING, "plain"), data.features.arrays[IMAGE]
    assert np.array_equal(found[IMAGE].embedding, arrays.embeddings[ROWS, :1])
    assert np.array_equal(numbers(found[IMAGE].hidden), kept(arrays.hidden)[ROWS, :1])


def test_mean_has_all_views(data: Dataset) -> None:
    found, arrays = data.batch(np.arange(5), EVERYTHING, "mean"), data.features.arrays[IMAGE]
    assert np.array_equal(found[IMAGE].embedding, arrays.embeddings[ROWS])
    assert np.array_equal(numbers(found[IMAGE].hidden), kept(arrays.hidden)[ROWS])
    assert found[TEXT].embedding.shape[1] == 1


def test_draw_takes_one_view_a_sample_and_each_of_them_in_the_long_run(data: Dataset) -> None:
    rng = np.random.default_rng(0)
    counts = np.zeros((5, 3), dtype=int)
    arrays = data.features.arrays[IMAGE]
    for _ in range(200):
        found = data.batch(np.arange(5), EVERYTHING, "draw", rng)[IMAGE]
        assert found.hidden is not None
        assert found.embedding.shape[1] == 1
        for index, row in enumerate(ROWS):
            (view,) = np.flatnonzero(
                (arrays.embeddings[row] == found.embedding[index].numpy()).all(axis=1)
            )
            assert np.array_equal(found.hidden[index, 0], kept(arrays.hidden)[row, view])
            counts[index, view] += 1
    assert counts.min() > 40  # 67 expected, standard deviation 6.7


def test_all_image_encoders_see_the_view_that_was_drawn(data: Dataset) -> None:
    features = data.features
    twin = replace(features.meta.encoders[0], key="image_twin")
    twice = replace(
        features,
        meta=replace(features.meta, encoders=(features.meta.encoders[0], twin)),
        arrays={IMAGE: features.arrays[IMAGE], "image_twin": features.arrays[IMAGE]},
    )
    rng = np.random.default_rng(0)
    found = replace(data, features=twice).batch(np.arange(5), NOTHING, "draw", rng)
    assert torch.equal(found[IMAGE].embedding, found["image_twin"].embedding)


def test_attention_sees_the_plain_view_whatever_is_drawn(data: Dataset) -> None:
    found = data.batch(np.arange(5), Needs(tokens=BOTH), "draw", np.random.default_rng(0))[IMAGE]
    assert np.array_equal(numbers(found.tokens), kept(data.features.arrays[IMAGE].tokens)[ROWS])


@pytest.mark.parametrize(
    ("modality", "gone", "needs"),
    [
        ("text", "offsets", Needs(tokens=BOTH)),
        ("text", "tokens", Needs(tokens=BOTH)),
        ("image", "tokens", Needs(tokens=BOTH)),
        ("text", "hidden", Needs(hidden=frozenset({TEXT}))),
        ("image", "hidden", Needs(hidden=frozenset({IMAGE}))),
    ],
)
def test_states_that_were_not_kept_are_asked_for_by_param(
    modality: str, gone: str, needs: Needs, data: Dataset
) -> None:
    lacking = replace(data, features=with_arrays(data.features, **{modality: {gone: None}}))
    with pytest.raises(UserError, match=r"^data/features lacks .*backbone\.tokens=true.*dvc repro"):
        lacking.batch(np.arange(2), needs)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, NOTHING),
        ({"fusion": "cross_attn"}, Needs(tokens=BOTH)),
        ({"encoders": encoders(TEXT)}, Needs(hidden=frozenset({TEXT}))),
        ({"encoders": encoders(IMAGE)}, Needs(hidden=frozenset({IMAGE}))),
        (
            {
                "encoders": (*encoders(), replace(TEXT_META, key=SECOND)),
                "fusion": "cross_attn",
            },
            Needs(tokens=BOTH, hidden=frozenset({SECOND})),
        ),
    ],
)
def test_needs_follow_from_the_model(changes: dict[str, object], expected: Needs) -> None:
    assert Classifier(model_config(**changes)).needs == expected


def whole(count: int) -> Dataset:
    features = make_features([index % 3 for index in range(count)], noise=1.0)
    targets = torch.zeros(count, dtype=torch.int64)
    return Dataset(features, np.arange(count), targets, features.guids)


@pytest.mark.parametrize("by_length", [(), (IMAGE,), (TEXT,), (IMAGE, TEXT)])
def test_an_epoch_covers_every_sample_once_in_an_order_of_its_own(by_length: tuple[str]) -> None:
    data, rng = whole(103), np.random.default_rng(0)
    first = list(data.epoch(4, rng, by_length))
    second = list(data.epoch(4, rng, by_length))
    for batches in (first, second):
        assert sorted(np.concatenate(batches)) == list(range(103))
        assert sorted(len(batch) for batch in batches) == [3] + [4] * 25
    assert not np.array_equal(np.concatenate(first), np.concatenate(second))


def padding(data: Dataset, by_length: tuple[str, ...], lengths: Array) -> int:
    """The tokens that fill up the texts of the batches of an epoch."""
    batches = data.epoch(4, np.random.default_rng(0), by_length)
    return sum(int((lengths[batch].max() - lengths[batch]).sum()) for batch in batches)


def test_batches_by_length_have_little_padding() -> None:
    data = whole(200)
    lengths = text_lengths(data.features)
    assert padding(data, (TEXT,), lengths) < padding(data, (), lengths) / 4
    assert padding(data, (IMAGE,), lengths) == padding(data, (), lengths)


def test_batches_by_length_are_sorted_by_the_tokens_of_all_text_encoders_together() -> None:
    data = whole(200)
    first = text_lengths(data.features)
    other = np.random.default_rng(1).permutation(200) % 50 + 1
    both = replace(data, features=with_second_text(data.features, other))
    total = first + other
    assert padding(both, (TEXT, SECOND), total) < padding(both, (), total) / 4
    assert padding(both, (TEXT, SECOND), total) < padding(both, (TEXT,), total) / 2
    # Each alone counts as it did.
    assert padding(both, (TEXT,), first) == padding(data, (TEXT,), first)
    assert padding(both, (SECOND,), other) < padding(both, (), other) / 4
    order = np.concatenate(both.in_order(16, (TEXT, SECOND)))
    assert (np.diff(total[order]) >= 0).all()


def test_batches_by_length_do_not_come_from_short_to_long() -> None:
    data = whole(60)
    lengths = text_lengths(data.features)
    longest = [lengths[batch].max() for batch in data.epoch(4, np.random.default_rng(0), (TEXT,))]
    assert longest != sorted(longest)


@pytest.mark.parametrize("by_length", [(), (IMAGE,), (TEXT,)])
def test_in_order_every_sample_comes_once(by_length: tuple[str, ...]) -> None:
    data = whole(50)
    batches = data.in_order(16, by_length)
    assert [len(batch) for batch in batches] == [16, 16, 16, 2]
    order = np.concatenate(batches)
    lengths = text_lengths(data.features)
    # Of equal lengths the first comes first.
    expected = sorted(range(50), key=lambda row: lengths[row]) if TEXT in by_length else range(50)
    assert order.tolist() == list(expected)


def test_lengths_are_those_of_the_rows_at_hand() -> None:
    data = whole(50)
    lengths = text_lengths(data.features)
    rows = np.argsort(-lengths, kind="stable")[:20]
    some = Dataset(data.features, rows, data.targets[:20], data.guids[:20])
    [order] = some.in_order(20, by_length={TEXT})
    assert (np.diff(lengths[rows[order]]) >= 0).all()
    assert order[0] > 10


@pytest.mark.parametrize("by_length", [(), (TEXT,)])
def test_no_sample_makes_no_batch(by_length: tuple[str, ...]) -> None:
    none = replace(whole(3), rows=np.arange(0))
    assert none.in_order(16, by_length) == []


def largest(data: Dataset, needs: Needs, lengths: Array) -> tuple[int, int]:
    """How much the largest of two shards of all samples has to do, and the largest half of them."""
    [index] = data.in_order(len(data), needs.states)
    shards = data.shards(index, 2, needs)
    assert np.array_equal(np.concatenate(shards), index)
    halves = np.array_split(index, 2)
    most = [max(len(part) * int(lengths[part].max()) for part in cut) for cut in (shards, halves)]
    return most[0], most[1]


def test_shards_count_the_tokens_of_all_encoders_whose_states_are_read() -> None:
    data = whole(60)
    # Little in the texts of the first encoder tells of those of the second.
    other = np.where(np.arange(60) % 10 == 0, 60, 1)
    both = replace(data, features=with_second_text(data.features, other))
    total = text_lengths(both.features) + other
    needs = Needs(tokens=frozenset({TEXT}), hidden=frozenset({SECOND}))
    shards, halves = largest(both, needs, total)
    assert shards < halves / 2
    with_image = replace(needs, hidden=frozenset({SECOND, IMAGE}))
    shards, halves = largest(both, with_image, total + IMAGE_TOKENS)
    assert shards < halves / 1.5
    # Where no states are read, all samples are alike.
    parts = both.shards(np.arange(60), 3, NOTHING)
    assert [len(part) for part in parts] == [20, 20, 20]


def make_splits() -> pd.DataFrame:
    rows = [
        ("3", "positive", "train", "a"), ("1", "negative", "train", "a"),
        ("0", "neutral", "val", "0"), ("2", "", "predict", "2"),
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["guid", "label", "split", "group"])


def test_parts_join_splits_and_features_by_guid() -> None:
    parts = load_parts(make_features([0] * 4, noise=1.0), make_splits(), LABELS)
    assert parts.train.rows.tolist() == [3, 1]
    assert parts.train.targets.tolist() == [2, 0]
    assert parts.val.guids == ["0"]
    assert parts.predict.targets.tolist() == [-1]
    assert parts.groups == {"3": "a", "1": "a"}
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


def test_an_embedding_that_is_no_number_is_found_in_any_encoder_and_any_view(data: Dataset) -> None:
    both = replace(data, features=with_second_text(data.features, np.full(10, 2)))
    for key, view in ((IMAGE, 2), (TEXT, 0), (SECOND, 0)):
        arrays = both.features.arrays
        embeddings = arrays[key].embeddings.copy()
        embeddings[9, view, 0] = np.nan
        damaged = {**arrays, key: replace(arrays[key], embeddings=embeddings)}
        broken = replace(both, features=replace(both.features, arrays=damaged))
        broken.check_features(np.array([0, 1, 3, 4]))
        with pytest.raises(UserError, match=r"^guid 9: the features are NaN.*dvc repro preprocess"):
            broken.check_features(np.arange(5))
