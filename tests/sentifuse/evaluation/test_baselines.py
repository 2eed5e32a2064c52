"""Tests of what little effort reaches."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from sentifuse.errors import UserError
from sentifuse.evaluation import baselines
from sentifuse.features.batches import Dataset
from sentifuse.features.parts import Parts
from sentifuse.features.schema import Features
from tests.several import KEYS, make_several
from tests.synthetic import IMAGE, LABELS, make_features, with_arrays


def part(features: Features, rows: Sequence[int], targets: Sequence[int]) -> Dataset:
    return Dataset(
        features,
        np.array(rows, dtype=np.int64),
        torch.tensor(targets, dtype=torch.int64),
        [features.guids[row] for row in rows],
    )


def make(
    train: Sequence[int],
    val: Sequence[int],
    test: Sequence[int],
    *,
    noise: float = 0.3,
    views: int = 1,
) -> Parts:
    """Parts with these classes."""
    targets = [*train, *val, *test]
    features = make_features(targets, noise=noise, views=views)
    ends = np.cumsum([0, len(train), len(val), len(test), 0])
    parts = [
        part(features, range(start, stop), targets[start:stop]) for start, stop in pairwise(ends)
    ]
    return Parts(LABELS, *parts)


def turns(count: int) -> list[int]:
    return [index % 3 for index in range(count)]


def relabelled(data: Dataset, seed: int) -> Dataset:
    shuffled = np.random.default_rng(seed).permutation(data.targets.numpy())
    return replace(data, targets=torch.from_numpy(shuffled))


def embeddings(data: Dataset) -> np.ndarray:
    arrays = data.features.arrays.values()
    return np.concatenate([each.embeddings[data.rows].mean(axis=1) for each in arrays], axis=1)


# Majority


def test_the_majority_answers_with_the_shares_in_training() -> None:
    found = baselines.majority(make([0, 2, 2, 2], [1], [0, 1, 2]))
    assert found.tolist() == [[0.25, 0.0, 0.75]] * 3


def test_the_majority_of_no_test_sample_is_an_empty_table() -> None:
    assert baselines.majority(make([0, 1, 2], [1], [])).shape == (0, 3)


# Logistic regression


def test_it_learns_what_is_easy() -> None:
    parts = make(turns(60), turns(15), turns(30), noise=0.05)
    found = baselines.logistic_regression(parts, "plain", 0)
    assert found.shape == (30, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    assert np.array_equal(found.argmax(axis=1), parts.test.targets.numpy())


def test_it_is_scikit_learns_on_both_embeddings_standardised() -> None:
    parts = make(turns(60), turns(30), turns(9), noise=0.6)
    scaler = StandardScaler().fit(embeddings(parts.train))
    best, answers = -1.0, None
    for penalty in baselines.lr.PENALTIES:
        model = LogisticRegression(C=penalty, max_iter=300)
        model.fit(scaler.transform(embeddings(parts.train)), parts.train.targets.numpy())
        predicted = model.predict(scaler.transform(embeddings(parts.val)))
        score = baselines.headline(parts.val.targets.numpy(), predicted, 3)["macro_f1"]
        if score > best:
            best = score
            answers = model.predict_proba(scaler.transform(embeddings(parts.test)))
    found = baselines.logistic_regression(parts, "plain", 0)
    np.testing.assert_allclose(found, answers, rtol=1e-5)


def test_it_reads_every_encoder_of_both_modalities() -> None:
    made = make_several(60, 45, noise=0.02)
    val, test = (
        replace(made.val, rows=made.val.rows[own], targets=made.val.targets[own])
        for own in (slice(0, 15), slice(15, 45))
    )
    parts = replace(made, val=val, test=test)
    expected = [embeddings(data) for data in (parts.train, parts.test)]
    assert expected[0].shape == (60, 6 + 5 + 4 + 3)
    for data, own in zip((parts.train, parts.test), expected, strict=True):
        found = baselines.lr.embeddings(data, np.arange(len(data)), "mean", data.features.arrays)
        np.testing.assert_allclose(found, own, rtol=1e-6)
    features = made.train.features
    for telling in KEYS:
        # The others say the same of every sample.
        arrays = {
            key: each if key == telling else replace(each, embeddings=np.ones_like(each.embeddings))
            for key, each in features.arrays.items()
        }
        only = {
            name: replace(getattr(parts, name), features=replace(features, arrays=arrays))
            for name in ("train", "val", "test")
        }
        answers = baselines.logistic_regression(replace(parts, **only), "plain", 0)
        right = answers.argmax(axis=1) == parts.test.targets.numpy()
        assert right.mean() > 0.9, telling


def test_the_labels_of_the_test_part_choose_nothing() -> None:
    parts = make(turns(60), turns(30), turns(30), noise=1.0)
    expected = baselines.logistic_regression(parts, "plain", 0)
    other = replace(parts, test=relabelled(parts.test, 1))
    assert np.array_equal(baselines.logistic_regression(other, "plain", 0), expected)


def test_validation_chooses_the_penalty() -> None:
    parts = make(turns(60), turns(30), turns(30), noise=1.0)
    found = {
        baselines.logistic_regression(
            replace(parts, val=relabelled(parts.val, seed)), "plain", 0
        ).tobytes()
        for seed in range(8)
    }
    assert 1 < len(found) <= len(baselines.lr.PENALTIES)


@pytest.mark.parametrize("val", [0, 15])
def test_of_equal_penalties_the_strongest_is_taken_and_without_validation_a_middling_one(
    val: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All of them get easy samples right.
    parts = make(turns(60), turns(val), turns(9), noise=0.02)
    found = baselines.logistic_regression(parts, "plain", 0)
    monkeypatch.setattr(baselines.lr, "PENALTIES", (1e-4,) if val else ())
    assert np.array_equal(baselines.logistic_regression(parts, "plain", 0), found)
    assert (found.max(axis=1).mean() > 0.5) == (not val)


def test_another_seed_changes_nothing_while_all_rows_are_taken() -> None:
    parts = make(turns(60), turns(15), turns(9), noise=1.0)
    one, other = (baselines.logistic_regression(parts, "plain", seed) for seed in (0, 1))
    assert np.array_equal(one, other)


def test_of_many_rows_some_are_drawn_by_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = make(turns(90), turns(15), turns(9), noise=1.0)
    whole = baselines.logistic_regression(parts, "plain", 0)
    monkeypatch.setattr(baselines.lr, "MAX_ROWS", 90)
    assert np.array_equal(baselines.logistic_regression(parts, "plain", 0), whole)
    monkeypatch.setattr(baselines.lr, "MAX_ROWS", 40)
    taken: list[int] = []
    gather = baselines.lr.embeddings

    def count(data: Dataset, index: np.ndarray, *rest: Any) -> np.ndarray:
        if data is parts.train:
            assert len(set(index)) == len(index)
            taken.append(len(index))
        return gather(data, index, *rest)

    monkeypatch.setattr(baselines.lr, "embeddings", count)
    first, again, other = (
        baselines.logistic_regression(parts, "plain", seed) for seed in (0, 0, 1)
    )
    assert taken == [40, 40, 40]
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first, whole)


def test_a_class_without_training_rows_has_no_probability() -> None:
    parts = make([0, 2] * 20, turns(15), turns(9), noise=0.05)
    found = baselines.logistic_regression(parts, "plain", 0)
    assert not found[:, 1].any()
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    assert found[0].argmax() == 0
    assert found[2].argmax() == 2


def test_a_single_class_in_training_is_all_that_is_answered() -> None:
    parts = make([2] * 9, turns(6), turns(6))
    found = baselines.logistic_regression(parts, "plain", 0)
    assert found.tolist() == [[0.0, 0.0, 1.0]] * 6


def test_views_are_averaged_if_asked_for() -> None:
    parts = make(turns(60), turns(15), turns(9), noise=1.0, views=3)
    plain, mean = (baselines.logistic_regression(parts, views, 0) for views in ("plain", "mean"))
    assert not np.array_equal(plain, mean)
    features = parts.train.features
    mean_image = features.arrays[IMAGE].embeddings.mean(axis=1, keepdims=True)
    averaged = with_arrays(features, image={"embeddings": mean_image})
    same = replace(
        parts,
        **{
            name: replace(getattr(parts, name), features=averaged)
            for name in ("train", "val", "test")
        },
    )
    np.testing.assert_allclose(
        baselines.logistic_regression(same, "plain", 0), mean, rtol=1e-4, atol=1e-6
    )


# Files


def test_what_is_written_is_read_in_the_order_of_the_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    found = {name: rng.random((5, 3)) for name in reversed(baselines.NAMES)}
    baselines.write(tmp_path, found)
    again = baselines.read(tmp_path, 5)
    assert tuple(again) == baselines.NAMES
    assert all(np.array_equal(again[name], found[name]) for name in found)
    baselines.write(tmp_path, {})
    assert baselines.read(tmp_path, 0) == {}


def test_answers_that_are_missing_damaged_or_of_another_split_are_told(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"test\.safetensors: no such file: run `dvc repro train_bas"
    ):
        baselines.read(tmp_path, 5)
    baselines.write(tmp_path, {"majority": np.ones((5, 3))})
    with pytest.raises(
        UserError, match="majority: 5 rows, but the test part has 6: run `dvc repro"
    ):
        baselines.read(tmp_path, 6)
    path = next(tmp_path.iterdir())
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(UserError, match=r"test\.safetensors: damaged .*: delete it and run"):
        baselines.read(tmp_path, 5)
