import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from sentifuse import evaluation
from sentifuse.dataset import Dataset, Parts, ViewChoice
from sentifuse.model import Batch, Classifier
from tests.synthetic import LABELS, make_parts, model_config


class Told(nn.Module):
    """Stands in for a classifier: answers with the class that the image embedding begins with."""

    needs_tokens = False
    image_tail = text_tail = None
    config = model_config()

    def forward(self, batch: Batch) -> torch.Tensor:
        return 5 * nn.functional.one_hot(batch.image.mean(dim=1)[:, 0].long(), 3).float()


def data(guesses: list[int], targets: list[int]) -> Dataset:
    """Samples of which `Told` makes `guesses`."""
    features = make_parts(max(len(guesses), 1), 0).train.features
    embeddings = np.zeros((len(features.guids), 1, 6), dtype=np.float32)
    embeddings[: len(guesses), 0, 0] = guesses
    return Dataset(
        replace(features, image_embeddings=embeddings),
        np.arange(len(guesses)),
        torch.tensor(targets, dtype=torch.int64),
        [f"g{index}" for index in range(len(guesses))],
    )


def parts(val: Dataset, test: Dataset) -> Parts:
    none = data([], [])
    return Parts(LABELS, none, val, test, none)


@pytest.fixture
def told() -> Classifier:
    return Told()  # type: ignore[return-value]


def test_parts_are_scored_by_name_and_class_name(told: Classifier) -> None:
    found = evaluation.evaluate(
        told, parts(data([0, 1, 2, 2], [0, 1, 2, 1]), data([0, 0, 0], [0, 1, 2])), "plain"
    )
    assert list(found.metrics) == ["val", "test"]
    val, test = found.metrics["val"], found.metrics["test"]
    assert (val["samples"], val["accuracy"]) == (4, 0.75)
    assert (test["samples"], math.isclose(test["accuracy"], 1 / 3)) == (3, True)
    assert val["per_class"]["neutral"]["recall"] == 0.5
    assert val["per_class"]["positive"]["precision"] == 0.5


def test_the_confusion_table_has_a_row_a_test_sample_in_order(told: Classifier) -> None:
    found = evaluation.evaluate(
        told, parts(data([0], [0]), data([2, 0, 1], [2, 1, 1])), "plain"
    ).confusion
    assert found.to_dict("list") == {
        "actual": ["positive", "neutral", "neutral"],
        "predicted": ["positive", "negative", "neutral"],
    }


def test_confusions_are_counted_with_actual_classes_as_rows(told: Classifier) -> None:
    found = evaluation.evaluate(
        told, parts(data([], []), data([2, 0, 0, 1], [2, 1, 1, 1])), "plain"
    )
    counts = evaluation.counts(found.confusion, LABELS)
    assert counts.tolist() == [[0, 0, 0], [2, 1, 0], [0, 0, 1]]


def test_a_part_without_samples_is_left_out(told: Classifier) -> None:
    some, none = data([0, 1], [0, 1]), data([], [])
    only_val = evaluation.evaluate(told, parts(some, none), "plain")
    assert list(only_val.metrics) == ["val"]
    assert only_val.confusion.to_csv(index=False) == "actual,predicted\n"
    assert evaluation.counts(only_val.confusion, LABELS).tolist() == [[0] * 3] * 3
    assert list(evaluation.evaluate(told, parts(none, some), "plain").metrics) == ["test"]


def test_without_any_sample_there_is_a_note(told: Classifier) -> None:
    none = data([], [])
    found = evaluation.evaluate(told, parts(none, none), "plain")
    assert list(found.metrics) == ["note"]
    assert "nothing to evaluate on" in found.metrics["note"]
    assert len(found.confusion) == 0


def test_probabilities_are_the_softmax_of_the_logits(told: Classifier) -> None:
    found = evaluation.probabilities(told, data([1, 0], [-1, -1]), "plain")
    assert found.dtype == torch.float64
    high, low = math.exp(5) / (math.exp(5) + 2), 1 / (math.exp(5) + 2)
    expected = torch.tensor([[low, high, low], [high, low, low]], dtype=torch.float64)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(2, dtype=torch.float64))


def test_nothing_to_predict_gives_no_rows(told: Classifier) -> None:
    assert evaluation.probabilities(told, data([], []), "plain").shape == (0, 3)


@pytest.mark.parametrize(("views", "accuracy"), [("plain", 1.0), ("mean", 0.0)])
def test_the_views_asked_for_are_used(told: Classifier, views: ViewChoice, accuracy: float) -> None:
    some = data([0, 0], [0, 0])
    embeddings = np.zeros((2, 2, 6), dtype=np.float32)
    # The plain view says class 0; the mean of both says 2.
    embeddings[:, 1, 0] = 4
    some = replace(some, features=replace(some.features, image_embeddings=embeddings))
    assert (
        evaluation.evaluate(told, parts(some, some), views).metrics["test"]["accuracy"] == accuracy
    )
    likeliest = evaluation.probabilities(told, some, views).argmax(dim=1)
    assert likeliest.tolist() == ([0, 0] if views == "plain" else [2, 2])


def test_dropout_is_off() -> None:
    made = make_parts(9, 3)
    model = Classifier(model_config(dropout=0.5)).train()
    first, again = (evaluation.probabilities(model, made.val, "plain") for _ in range(2))
    torch.testing.assert_close(first, again, rtol=0, atol=0)
