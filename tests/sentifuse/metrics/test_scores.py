import json
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, classification_report, confusion_matrix

from sentifuse.metrics import scores

LABELS = ("negative", "neutral", "positive")

# Rows are the actual classes, columns the predicted ones.
CONFUSION = ((5, 1, 2), (1, 2, 1), (0, 2, 6))


def arrays(confusion: tuple[tuple[int, ...], ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    cells = [
        (actual, predicted)
        for actual, row in enumerate(confusion)
        for predicted, times in enumerate(row)
        for _ in range(times)
    ]
    targets, predicted = np.array(cells, dtype=np.int64).T
    return targets, predicted


def test_scores_are_those_of_the_confusion_matrix() -> None:
    found = scores.scores(*arrays(CONFUSION), LABELS)
    # Columns add up to 6, 5, 9; rows to 8, 4, 8; the diagonal to 13 of 20.
    precision = (5 / 6, 2 / 5, 6 / 9)
    recall = (5 / 8, 2 / 4, 6 / 8)
    f1 = (10 / 14, 4 / 9, 12 / 17)
    assert found["samples"] == 20
    assert math.isclose(found["accuracy"], 13 / 20)
    assert math.isclose(found["macro_f1"], sum(f1) / 3)
    assert math.isclose(found["weighted_f1"], (8 * f1[0] + 4 * f1[1] + 8 * f1[2]) / 20)
    assert math.isclose(found["precision_macro"], sum(precision) / 3)
    assert math.isclose(found["recall_macro"], sum(recall) / 3)
    assert list(found["per_class"]) == list(LABELS)
    for index, label in enumerate(LABELS):
        own = found["per_class"][label]
        assert math.isclose(own["precision"], precision[index])
        assert math.isclose(own["recall"], recall[index])
        assert math.isclose(own["f1"], f1[index])
    assert [found["per_class"][label]["support"] for label in LABELS] == [8, 4, 8]


def test_scores_are_plain_numbers_that_json_can_write() -> None:
    found = scores.scores(*arrays(CONFUSION), LABELS)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_keys_are_those_that_users_compare() -> None:
    assert list(scores.scores(*arrays(CONFUSION), LABELS)) == [
        "samples", "accuracy", "macro_f1", "weighted_f1", "precision_macro", "recall_macro", "per_class",
    ]  # fmt: skip


def test_headline_agrees_with_the_scores() -> None:
    targets, predicted = arrays(CONFUSION)
    found = scores.scores(targets, predicted, LABELS)
    assert scores.headline(targets, predicted, 3) == {
        "accuracy": found["accuracy"],
        "macro_f1": found["macro_f1"],
    }


def test_a_perfect_prediction_scores_one() -> None:
    targets, _ = arrays(CONFUSION)
    found = scores.scores(targets, targets, LABELS)
    assert {found[key] for key in ("accuracy", "macro_f1", "weighted_f1")} == {1.0}


def test_a_class_that_is_never_predicted_counts_zero_without_a_warning() -> None:
    targets, predicted = arrays(((3, 0, 0), (2, 0, 0), (0, 0, 5)))
    found = scores.scores(targets, predicted, LABELS)
    assert found["per_class"]["neutral"] == {
        "precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 2
    }  # fmt: skip
    assert math.isclose(found["macro_f1"], (6 / 8 + 0 + 1) / 3)


def test_a_class_without_samples_counts_zero() -> None:
    targets, predicted = arrays(((4, 0, 0), (0, 0, 0), (0, 0, 4)))
    found = scores.headline(targets, predicted, 3)
    assert found["accuracy"] == 1.0
    assert math.isclose(found["macro_f1"], 2 / 3)
    assert scores.scores(targets, predicted, LABELS)["per_class"]["neutral"]["support"] == 0


def random_inputs(seed: int) -> tuple[int, NDArray[np.int64], NDArray[np.int64]]:
    """2 to 6 classes, of which some have no samples or are never predicted; 1 to 60 samples."""
    rng = np.random.default_rng(seed)
    classes, samples = int(rng.integers(2, 7)), int(rng.integers(1, 61))
    shares = rng.dirichlet(np.full(classes, 0.5), size=2)
    targets, guesses = (rng.choice(classes, size=samples, p=each) for each in shares)
    return classes, targets, np.where(rng.random(samples) < 0.5, targets, guesses)


RANDOM = [random_inputs(seed) for seed in range(200)]


def test_random_inputs_have_classes_without_samples_and_never_predicted() -> None:
    absent = [set(range(classes)) - set(targets) for classes, targets, _ in RANDOM]
    silent = [set(range(classes)) - set(predicted) for classes, _, predicted in RANDOM]
    pairs = list(zip(absent, silent, strict=True))
    assert sum(bool(one - other) for one, other in pairs) > 10
    assert sum(bool(other - one) for one, other in pairs) > 10
    assert sum(bool(one & other) for one, other in pairs) > 10


def test_scores_are_those_of_scikit_learn() -> None:
    for classes, targets, predicted in RANDOM:
        names = [f"c{index}" for index in range(classes)]
        report = classification_report(
            targets,
            predicted,
            labels=range(classes),
            target_names=names,
            output_dict=True,
            zero_division=0,
        )
        found = scores.scores(targets, predicted, names)
        macro, weighted = report["macro avg"], report["weighted avg"]
        assert found == {
            "samples": len(targets),
            "accuracy": pytest.approx(accuracy_score(targets, predicted)),
            "macro_f1": pytest.approx(macro["f1-score"]),
            "weighted_f1": pytest.approx(weighted["f1-score"]),
            "precision_macro": pytest.approx(macro["precision"]),
            "recall_macro": pytest.approx(macro["recall"]),
            "per_class": {
                name: {
                    "precision": pytest.approx(report[name]["precision"]),
                    "recall": pytest.approx(report[name]["recall"]),
                    "f1": pytest.approx(report[name]["f1-score"]),
                    "support": report[name]["support"],
                }
                for name in names
            },
        }


def test_the_confusion_matrix_is_that_of_scikit_learn() -> None:
    for classes, targets, predicted in RANDOM:
        expected = confusion_matrix(targets, predicted, labels=range(classes))
        assert np.array_equal(scores.confusion(targets, predicted, classes), expected)


def test_many_matrices_at_once_are_scored_as_each_of_them() -> None:
    counts = np.random.default_rng(0).integers(0, 4, size=(5, 2, 3, 3))
    counts[0, 0] = np.diag([1, 0, 0])
    together, of_class = scores.summary(counts), scores.per_class(counts)
    assert tuple(together) == scores.HEADLINE
    assert {values.shape for values in together.values()} == {(5, 2)}
    assert {values.shape for values in of_class.values()} == {(5, 2, 3)}
    for place in np.ndindex(5, 2):
        alone = scores.summary(counts[place])
        assert {name: values[place] for name, values in together.items()} == alone
        for name, values in scores.per_class(counts[place]).items():
            assert np.array_equal(of_class[name][place], values)


@pytest.mark.parametrize("labels", [("b", "a"), ("1", "0")])
def test_names_stand_for_the_positions_of_the_logits(labels: tuple[str, str]) -> None:
    targets, predicted = arrays(((3, 1), (0, 2)))
    found = scores.scores(targets, predicted, labels)["per_class"]
    assert [found[label]["support"] for label in labels] == [4, 2]
    assert [found[label]["recall"] for label in labels] == [0.75, 1.0]
