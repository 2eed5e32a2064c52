import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from sentifuse.config.recipe import IntervalOptions
from sentifuse.evaluation import evaluate as evaluation
from sentifuse.evaluation.evaluate import Scale
from sentifuse.features.batches import Batch, Dataset, Needs, ViewChoice
from sentifuse.features.parts import Parts
from sentifuse.metrics import bootstrap, calibration
from sentifuse.metrics import scores as metrics
from sentifuse.metrics.scores import HEADLINE, scores, summary
from sentifuse.metrics.shapley import Attribution
from sentifuse.models.checkpoint import Checkpoint
from sentifuse.models.classifier import Classifier
from tests.synthetic import (
    IMAGE,
    LABELS,
    make_features,
    make_parts,
    model_config,
    with_arrays,
)

SCALE = Scale(IntervalOptions(level=0.95, resamples=200), bins=5, seed=0)
FIGURES = ("accuracy", "macro_f1", "weighted_f1")


class Told(nn.Module):
    """Stands in for a classifier: answers with the class that the image embedding begins with."""

    needs = Needs()
    device = torch.device("cpu")
    config = model_config()

    def without(self, batch: Batch, absences: Sequence[Collection[str]]) -> torch.Tensor:
        logits = (
            5 * nn.functional.one_hot(batch[IMAGE].embedding.mean(dim=1)[:, 0].long(), 3).float()
        )
        nothing = torch.zeros_like(logits)
        return torch.stack([nothing if "image" in absent else logits for absent in absences])


def told(views: str = "plain", temperature: float = 1.0) -> Checkpoint:
    return Checkpoint(
        Told(),  # type: ignore[arg-type]
        {"predict_views": views, "temperature": temperature},
    )


def data(guesses: Sequence[int], targets: Sequence[int]) -> Dataset:
    """Samples of which `Told` makes `guesses`."""
    features = make_parts(max(len(guesses), 1), 0).train.features
    embeddings = np.zeros((len(features.guids), 1, 6), dtype=np.float32)
    embeddings[: len(guesses), 0, 0] = guesses
    return Dataset(
        with_arrays(features, image={"embeddings": embeddings}),
        np.arange(len(guesses)),
        torch.tensor(targets, dtype=torch.int64),
        [f"g{index}" for index in range(len(guesses))],
    )


NONE = data([], [])


def parts(val: Dataset, test: Dataset) -> Parts:
    train = data([0, 1, 2, 2, 2], [0, 1, 2, 2, 2])
    return Parts(LABELS, train, val, test, NONE)


def answers(predicted: Sequence[int], temperature: float = 1.0) -> np.ndarray:
    """The probabilities of a baseline that answers like this on the test part."""
    logits = 5 * np.eye(3, dtype=np.float32)[list(predicted)]
    return calibration.softmax(logits, temperature)


def evaluate(
    made: Parts, baselines: Mapping[str, np.ndarray] | None = None
) -> evaluation.Evaluation:
    return evaluation.evaluate(told(), made, baselines or {}, SCALE)


def counts(found: evaluation.Evaluation) -> list[list[int]]:
    """The confusion matrix of the test part."""
    actual, predicted = (list(found.confusion[name]) for name in ("actual", "predicted"))
    return metrics.confusion_by_name(actual, predicted, LABELS).tolist()


def drawn(samples: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Targets, and probabilities that are right more often than not."""
    rng = np.random.default_rng(seed)
    targets = rng.integers(3, size=samples)
    logits = 2 * np.eye(3)[targets] + 1.5 * rng.standard_normal((samples, 3))
    return targets, calibration.softmax(logits.astype(np.float32))


# evaluate


def test_parts_are_scored_by_name_and_class_name() -> None:
    found = evaluate(parts(data([0, 1, 2, 2], [0, 1, 2, 1]), data([0, 0, 0], [0, 1, 2])))
    assert list(found.metrics) == ["val", "test", "baselines"]
    val, test = found.metrics["val"], found.metrics["test"]
    assert (val["samples"], val["accuracy"]) == (4, 0.75)
    assert (test["samples"], math.isclose(test["accuracy"], 1 / 3)) == (3, True)
    assert val["per_class"]["neutral"]["recall"] == 0.5
    assert val["per_class"]["positive"]["precision"] == 0.5
    assert "calibration" not in val


def test_metrics_are_what_json_can_write() -> None:
    found = evaluate(parts(data([0], [0]), data([2, 0, 1], [2, 1, 1])), {"a": answers([2, 2, 2])})
    assert json.loads(json.dumps(found.metrics, allow_nan=False)) == found.metrics


def test_the_confusion_table_has_a_row_a_test_sample_in_order() -> None:
    found = evaluate(parts(data([0], [0]), data([2, 0, 1], [2, 1, 1]))).confusion
    assert found.to_dict("list") == {
        "actual": ["positive", "neutral", "neutral"],
        "predicted": ["positive", "negative", "neutral"],
    }


def test_confusions_are_counted_with_actual_classes_as_rows() -> None:
    found = evaluate(parts(NONE, data([2, 0, 0, 1], [2, 1, 1, 1])))
    assert counts(found) == [[0, 0, 0], [2, 1, 0], [0, 0, 1]]


def test_a_part_without_samples_is_left_out() -> None:
    some = data([0, 1], [0, 1])
    only_val = evaluate(parts(some, NONE))
    assert list(only_val.metrics) == ["val"]
    assert only_val.confusion.to_csv(index=False) == "actual,predicted\n"
    assert counts(only_val) == [[0] * 3] * 3
    assert list(evaluate(parts(NONE, some)).metrics) == ["test", "baselines"]


def test_without_a_test_part_tables_have_headers_only() -> None:
    full = evaluate(parts(NONE, data([0, 1], [0, 1])))
    for val in (data([0, 1], [0, 1]), NONE):
        found = evaluate(parts(val, NONE))
        for name in ("confusion", "reliability", "risk_coverage"):
            table = getattr(found, name)
            assert len(table) == 0
            assert list(table) == list(getattr(full, name)), name
        assert list(found.samples) == list(full.samples)[:3]
        assert len(found.samples) == 0


def test_without_any_sample_there_is_a_note() -> None:
    found = evaluate(parts(NONE, NONE))
    assert list(found.metrics) == ["note"]
    assert "nothing to evaluate on" in found.metrics["note"]
    assert len(found.confusion) == 0


@pytest.mark.parametrize(("views", "accuracy"), [("plain", 1.0), ("mean", 0.0)])
def test_the_views_of_the_checkpoint_are_used(views: ViewChoice, accuracy: float) -> None:
    some = data([0, 0], [0, 0])
    embeddings = np.zeros((2, 2, 6), dtype=np.float32)
    # The plain view says class 0; the mean of both says 2.
    embeddings[:, 1, 0] = 4
    some = replace(some, features=with_arrays(some.features, image={"embeddings": embeddings}))
    made = Parts(LABELS, some, some, some, NONE)
    found = evaluation.evaluate(told(views), made, {}, SCALE)
    assert found.metrics["val"]["accuracy"] == accuracy
    assert found.metrics["test"]["accuracy"] == accuracy
    assert set(found.confusion["predicted"]) == {"negative" if views == "plain" else "positive"}


def test_dropout_is_off() -> None:
    made = make_parts(9, 3)
    made = replace(made, test=made.val)
    model = Classifier(model_config(dropout=0.5)).train()
    trained = Checkpoint(model, {"predict_views": "plain", "temperature": 1.0})
    first, again = (evaluation.evaluate(trained, made, {}, SCALE).samples for _ in range(2))
    pd.testing.assert_frame_equal(first, again, check_exact=True)


def test_the_same_seed_gives_the_same_figures_and_another_one_other_intervals() -> None:
    rng = np.random.default_rng(0)
    made = parts(NONE, data(rng.integers(3, size=40), rng.integers(3, size=40)))
    first, again, other = (
        evaluation.evaluate(told(), made, {}, replace(SCALE, seed=seed)).metrics["test"]
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first["interval"] != other["interval"]
    assert first["macro_f1"] == other["macro_f1"]


def test_baselines_answer_the_same_samples() -> None:
    test = data([0, 1, 2, 0], [0, 1, 2, 2])
    others = {
        "majority": answers([2] * 4),
        "text_only": answers([0] * 4),
        "image_only": answers([1, 1, 2, 2]),
    }
    found = evaluate(parts(NONE, test), others).metrics["baselines"]
    assert [row["accuracy"] for row in found.values()] == [0.5, 0.25, 0.75]
    assert found["text_only"]["model_minus"]["accuracy"]["mean"] == pytest.approx(0.5)
    assert found["image_only"]["model_minus"]["accuracy"]["mean"] == 0


def test_every_model_is_told_with_its_own_temperature() -> None:
    test = data([0, 1], [0, 1])
    found = evaluation.evaluate(
        told(temperature=2.0), parts(NONE, test), {"text_only": answers([0, 1], 5.0)}, SCALE
    )
    expected = [math.exp(5 / t) / (math.exp(5 / t) + 2) for t in (2, 5)]
    row = found.samples.iloc[0]
    assert row["p_negative"] == pytest.approx(expected[0])
    assert row["text_only.p_negative"] == pytest.approx(expected[1])
    assert found.metrics["test"]["calibration"]["temperature"] == 2.0
    # `Told` never reads the text.
    assert row["text_contribution"] == 0
    assert row["image_contribution"] == pytest.approx(expected[0] - 1 / 3)


def test_on_real_classifiers_all_of_it_holds_together() -> None:
    targets = [index % 3 for index in range(90)]
    features = make_features(targets, noise=1.0)

    def part(start: int, stop: int) -> Dataset:
        return Dataset(
            features,
            np.arange(start, stop),
            torch.tensor(targets[start:stop]),
            features.guids[start:stop],
        )

    made = Parts(LABELS, part(0, 45), part(45, 60), part(60, 90), part(0, 0))
    torch.manual_seed(0)
    trained = Checkpoint(Classifier(model_config()), {"predict_views": "plain", "temperature": 1.7})
    found = evaluation.evaluate(trained, made, {}, SCALE)
    test, samples = found.metrics["test"], found.samples
    assert test["accuracy"] == pytest.approx((samples["label"] == samples["predicted"]).mean())
    assert samples["guid"].tolist() == features.guids[60:]
    own = samples[[f"p_{label}" for label in LABELS]]
    assert [f"p_{label}" for label in samples["predicted"]] == own.idxmax(axis=1).tolist()
    assert found.risk_coverage["risk"].iloc[-1] == pytest.approx(1 - test["accuracy"])
    by_when = found.reliability.groupby("temperature")["samples"].sum()
    assert by_when.to_dict() == {"before": 30, "after": 30}
    for name in HEADLINE:
        assert test["interval"][name]["low"] <= test[name] <= test["interval"][name]["high"]


# score


def test_a_score_has_an_interval_for_each_headline_figure() -> None:
    targets, probabilities = drawn()
    found = evaluation.score(targets, probabilities, LABELS, SCALE)
    predicted = probabilities.argmax(axis=1)
    assert tuple(found["interval"]) == HEADLINE
    resampled = summary(bootstrap.resample(targets, predicted[None], 3, resamples=200, seed=0))
    for name in HEADLINE:
        low, high = np.quantile(resampled[name], [0.025, 0.975])
        assert found["interval"][name] == {
            "low": pytest.approx(low), "high": pytest.approx(high)
        }  # fmt: skip
        assert low < found[name] < high
    del found["interval"]
    assert found == scores(targets, predicted, LABELS)


def test_of_a_single_sample_the_interval_is_its_score() -> None:
    found = evaluation.score(np.array([1]), np.array([[0.1, 0.8, 0.1]]), LABELS, SCALE)
    assert found["interval"]["accuracy"] == {"low": 1.0, "high": 1.0}
    assert found["interval"]["macro_f1"]["low"] == pytest.approx(1 / 3)


def test_an_interval_of_a_lower_level_is_narrower() -> None:
    widths = []
    for level in (0.5, 0.95):
        scale = replace(SCALE, interval=IntervalOptions(level=level, resamples=200))
        ends = evaluation.score(*drawn(), LABELS, scale)["interval"]["macro_f1"]
        widths.append(ends["high"] - ends["low"])
    assert 0 < widths[0] < widths[1]


# compare


def test_a_model_does_not_differ_from_itself() -> None:
    targets, probabilities = drawn()
    found = evaluation.compare(targets, probabilities, {"itself": probabilities}, LABELS, SCALE)
    nothing = {"mean": 0.0, "low": 0.0, "high": 0.0, "p_value": 1.0}
    assert found["itself"]["model_minus"] == dict.fromkeys(FIGURES, nothing)


def test_differences_are_paired_on_the_same_resamples() -> None:
    targets, model = drawn()
    # The same answers but for two samples that the model gets right.
    right = np.flatnonzero(model.argmax(axis=1) == targets)[:2]
    other = model.copy()
    other[right] = np.roll(model[right], 1, axis=1)
    found = evaluation.compare(targets, model, {"other": other}, LABELS, SCALE)["other"]
    difference = found["model_minus"]["accuracy"]
    assert difference["mean"] == pytest.approx(2 / 60)
    # Unpaired it would be as wide as the intervals of both.
    assert 0 <= difference["low"] < difference["high"] <= 8 / 60
    ends = found["interval"]["accuracy"]
    assert difference["high"] - difference["low"] < 0.6 * (ends["high"] - ends["low"])


def test_a_baselines_figures_are_those_of_its_score() -> None:
    targets, model = drawn()
    _, other = drawn(seed=1)
    found = evaluation.compare(targets, model, {"a": other, "b": model}, LABELS, SCALE)
    assert list(found) == ["a", "b"]
    for name, probabilities in (("a", other), ("b", model)):
        expected = scores(targets, probabilities.argmax(axis=1), LABELS)
        assert list(found[name]) == [*FIGURES, "interval", "model_minus"]
        for figure in FIGURES:
            assert found[name][figure] == expected[figure]
            ends = found[name]["interval"][figure]
            assert ends["low"] < expected[figure] < ends["high"]
    gap = found["a"]["model_minus"]["accuracy"]
    assert gap["mean"] == pytest.approx(found["b"]["accuracy"] - found["a"]["accuracy"])
    # The other one's answers have nothing to do with these targets.
    assert gap["low"] > 0
    assert gap["p_value"] < 0.05


def test_without_baselines_nothing_is_compared() -> None:
    assert evaluation.compare(*drawn(), {}, LABELS, SCALE) == {}


# calibrate


def test_calibration_is_told_before_and_after_the_temperature() -> None:
    targets, probabilities = drawn()
    logits = (4 * np.log(probabilities)).astype(np.float32)  # four times too sure
    found, reliability, curve = evaluation.calibrate(targets, logits, 4.0, 5)
    assert list(found) == ["temperature", "before", "after", "aurc"]
    assert found["temperature"] == 4.0
    for when, temperature in (("before", 1.0), ("after", 4.0)):
        used = calibration.softmax(logits, temperature)
        confidence, correct = used.max(axis=1), used.argmax(axis=1) == targets
        table = calibration.reliability(confidence, correct, 5)
        assert found[when] == {
            "ece": calibration.expected_calibration_error(table),
            "log_loss": calibration.log_loss(used, targets),
            "brier": calibration.brier_score(used, targets),
        }
        own = reliability[reliability["temperature"] == when]
        pd.testing.assert_frame_equal(own.drop(columns="temperature"), table)
    for name in ("ece", "log_loss", "brier"):
        assert found["after"][name] < found["before"][name]
    # Curve and area are those after it.
    pd.testing.assert_frame_equal(curve, calibration.risk_coverage(confidence, correct))
    assert found["aurc"] == calibration.area_under_risk_coverage(confidence, correct)


# sample_table


def test_a_sample_is_told_with_what_each_modality_gave_to_the_predicted_class() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    model = Attribution(
        logits=np.log(probabilities).astype(np.float32),
        probabilities=probabilities,
        base=np.zeros((2, 3)),
        text=np.array([[0.5, 0.1, 0.1], [0.2, 0.2, 0.25]]),
        image=np.array([[0.2, 0.1, 0.0], [-0.1, 0.1, 0.35]]),
    )
    others = {"text_only": probabilities[::-1]}
    found = evaluation.sample_table(["b", "a"], np.array([1, 2]), LABELS, model, others)
    assert found.to_dict("list") == {
        "guid": ["b", "a"],
        "label": ["neutral", "positive"],
        "predicted": ["negative", "positive"],
        "p_negative": [0.7, 0.1],
        "p_neutral": [0.2, 0.3],
        "p_positive": [0.1, 0.6],
        "text_contribution": [0.5, 0.25],
        "image_contribution": [0.2, 0.35],
        "text_only.p_negative": [0.1, 0.7],
        "text_only.p_neutral": [0.3, 0.2],
        "text_only.p_positive": [0.6, 0.1],
    }


# told


def row(value: float, samples: int | None = None) -> dict[str, Any]:
    ends = {"low": value - 0.1, "high": value + 0.05}
    size = {} if samples is None else {"samples": samples}
    return {**size, **dict.fromkeys(FIGURES, value), "interval": dict.fromkeys(FIGURES, ends)}


def test_a_line_a_part_and_a_line_a_baseline_are_told() -> None:
    found = evaluation.summary(
        {"val": row(0.5, 40), "test": row(0.25, 41), "baselines": {"majority": row(0.125)}}
    )
    assert found.splitlines() == [
        "val: accuracy 0.500 (0.400 to 0.550), macro_f1 0.500 (0.400 to 0.550), "
        "weighted_f1 0.500 (0.400 to 0.550) (40 samples)",
        "test: accuracy 0.250 (0.150 to 0.300), macro_f1 0.250 (0.150 to 0.300), "
        "weighted_f1 0.250 (0.150 to 0.300) (41 samples)",
        "majority: accuracy 0.125 (0.025 to 0.175), macro_f1 0.125 (0.025 to 0.175), "
        "weighted_f1 0.125 (0.025 to 0.175)",
    ]


def test_without_a_test_part_only_validation_is_told() -> None:
    assert evaluation.summary({"val": row(0.5, 40)}).startswith("val: accuracy 0.500")
    assert evaluation.summary({"note": evaluation.NOTE}) == evaluation.NOTE
