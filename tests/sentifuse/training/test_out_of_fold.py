"""Tests of out-of-fold probabilities: no label has a say in its own sample's."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sentifuse.errors import UserError
from sentifuse.features.batches import Dataset
from sentifuse.metrics.calibration import log_loss
from sentifuse.metrics.scores import Floats
from sentifuse.training import logistic_regression, out_of_fold
from tests.synthetic import IMAGE, LABELS, TEXT, make_features, make_parts, with_arrays

KEYS = (IMAGE, TEXT)
DATA = make_parts(train=60, val=0, noise=0.1).train


def relabelled(data: Dataset, changes: dict[int, int]) -> Dataset:
    targets = data.targets.clone()
    for place, target in changes.items():
        targets[place] = target
    return replace(data, targets=targets)


def predict(data: Dataset, folds: np.ndarray, encoders: Sequence[str] = KEYS) -> Floats:
    return out_of_fold.probabilities(data, folds, 3, "plain", encoders, 0)


def fold_of(data: Dataset, groups: Mapping[str, str] = {}, **changes: Any) -> np.ndarray:
    return out_of_fold.fold_of(data, LABELS, groups, **{"count": 5, "seed": 0, **changes})


def test_it_tells_what_is_easy() -> None:
    found = predict(DATA, fold_of(DATA))
    assert found.shape == (60, 3)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    assert np.array_equal(found.argmax(axis=1), DATA.targets.numpy())


def test_no_sample_is_predicted_by_a_model_that_has_seen_its_label(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folds = np.arange(60) % 4
    monkeypatch.setattr(logistic_regression, "PENALTIES", (0.1,))  # which all labels choose
    before, own = predict(DATA, folds), folds == 1
    changed = {int(place): (int(DATA.targets[place]) + 1) % 3 for place in np.flatnonzero(own)}
    after = predict(relabelled(DATA, changed), folds)
    assert np.array_equal(after[own], before[own])
    assert not np.array_equal(after[~own], before[~own])


def test_twins_are_in_one_fold_and_each_fold_has_every_label() -> None:
    groups = {str(place): f"g{place // 6}" for place in range(36)}
    folds = fold_of(DATA, groups)
    assert all(len(set(folds[start : start + 6])) == 1 for start in range(0, 36, 6))
    for fold in range(5):
        assert set(DATA.targets[folds == fold].tolist()) == {0, 1, 2}


def test_another_seed_gives_other_folds() -> None:
    assert not np.array_equal(fold_of(DATA), fold_of(DATA, seed=1))


def test_too_few_samples_of_a_label_for_the_folds_are_refused() -> None:
    with pytest.raises(UserError, match=r"^30 folds: the label 'negative' has 20 groups"):
        fold_of(DATA, count=30)


def test_only_the_encoders_that_are_named_are_read() -> None:
    folds = fold_of(DATA)
    blind = replace(
        DATA,
        features=with_arrays(DATA.features, image={"embeddings": np.full((60, 1, 6), np.nan)}),
    )
    assert np.array_equal(predict(blind, folds, [TEXT]), predict(DATA, folds, [TEXT]))


def test_embeddings_are_read_a_block_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    folds = fold_of(DATA)
    sizes, gather = [], logistic_regression.embeddings

    def count(data: Dataset, index: np.ndarray, *others: Any) -> np.ndarray:
        sizes.append(len(index))
        return gather(data, index, *others)

    monkeypatch.setattr(logistic_regression, "embeddings", count)
    monkeypatch.setattr(logistic_regression, "MAX_ROWS", 40)
    monkeypatch.setattr(logistic_regression, "PENALTIES", (1.0,))
    monkeypatch.setattr(out_of_fold, "_BLOCK", 5)
    found = predict(DATA, folds)
    assert max(sizes) == 40
    assert set(sizes) == {40, 5, 2}
    assert np.array_equal(found.argmax(axis=1), DATA.targets.numpy())


def test_the_penalty_with_the_least_log_loss_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_parts(train=60, val=0, noise=0.5).train
    folds, targets = fold_of(data), data.targets.numpy()
    chosen = predict(data, folds)
    losses = []
    for penalty in logistic_regression.PENALTIES:
        monkeypatch.setattr(logistic_regression, "PENALTIES", (penalty,))
        losses.append(log_loss(predict(data, folds), targets))
    assert log_loss(chosen, targets) == min(losses)
    assert losses[0] > min(losses), "the first one is not the best by chance"


def test_where_the_others_have_one_label_that_is_what_it_says() -> None:
    features = make_features([0] * 8, noise=0.1)
    data = Dataset(features, np.arange(8), torch.zeros(8, dtype=torch.int64), features.guids)
    assert predict(data, np.arange(8) % 2).tolist() == [[1.0, 0.0, 0.0]] * 8
