"""Scores a model on the parts that have labels, beside baselines on the same test samples.

`targets` are (N,) class indices with N > 0, probabilities and logits are (N, C), `labels` are the C class
names, and baselines are probabilities by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from sentifuse.config.recipe import IntervalOptions
from sentifuse.evaluation.answers import MODEL, Answers
from sentifuse.evaluation.attribution import attribute
from sentifuse.evaluation.baselines import UNIMODAL
from sentifuse.features.parts import Parts
from sentifuse.metrics import bootstrap, calibration
from sentifuse.metrics.scores import COMPARED, HEADLINE, ClassIndices, Floats, scores
from sentifuse.metrics.shapley import Attribution
from sentifuse.metrics.softmax import Logits, softmax
from sentifuse.models.checkpoint import Checkpoint
from sentifuse.models.inference import predict

NOTE = "val_size and test_size are 0: there is nothing to evaluate on"


@dataclass(frozen=True)
class Scale:
    """How uncertainty and calibration are measured.

    Attributes:
        interval: level of the intervals, resamples of the bootstrap.
        bins: of the reliability diagram and the calibration error.
        seed: of the bootstrap.
    """

    interval: IntervalOptions
    bins: int
    seed: int


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found; without a test part all but `metrics` have no rows.

    Attributes:
        metrics: part name (`val`, `test`) -> as of `score`; `test` also has `calibration`; and
            `baselines`, as of `compare`. Without either part, a `note` only.
        confusion: one row per test sample, columns `actual` and `predicted`, by class name.
        reliability: as of `calibration.reliability`, with a column `temperature`: `before`, `after` it.
        risk_coverage: as of `calibration.risk_coverage`.
        samples: as of `sample_table`.
        answers: what the model and those of one modality answer.
    """

    metrics: dict[str, Any]
    confusion: pd.DataFrame
    reliability: pd.DataFrame
    risk_coverage: pd.DataFrame
    samples: pd.DataFrame
    answers: Answers


def evaluate(
    trained: Checkpoint, parts: Parts, baselines: Mapping[str, Floats], scale: Scale
) -> Evaluation:
    """Scores `trained`, with its temperature, on validation and test, whichever is not empty."""
    model, labels = trained.model, parts.labels
    views, temperature = trained.info["predict_views"], trained.info["temperature"]
    metrics: dict[str, Any] = {}
    if len(parts.val):
        probabilities = softmax(predict(model, parts.val, views).numpy(), temperature)
        metrics["val"] = score(parts.val.targets.numpy(), probabilities, labels, scale)
    targets = parts.test.targets.numpy()
    if not len(targets):
        return Evaluation(
            metrics or {"note": NOTE},
            confusion=pd.DataFrame(columns=["actual", "predicted"]),
            reliability=pd.DataFrame(columns=[*calibration.RELIABILITY, "temperature"]),
            risk_coverage=pd.DataFrame(columns=calibration.RISK_COVERAGE),
            samples=pd.DataFrame(columns=["guid", "label", "predicted"]),
            answers=Answers(labels, [], targets, {MODEL: targets}),
        )
    found = attribute(model, parts.test, views, temperature)
    trust, reliability, risk_coverage = calibrate(targets, found.logits, temperature, scale.bins)
    metrics["test"] = score(targets, found.probabilities, labels, scale) | {"calibration": trust}
    metrics["baselines"] = compare(targets, found.probabilities, baselines, labels, scale)
    alone: dict[str, Floats] = {name: baselines[name] for name in UNIMODAL if name in baselines}
    samples = sample_table(parts.test.guids, targets, labels, found, alone)
    confusion = samples[["label", "predicted"]].rename(columns={"label": "actual"})
    given = {
        name: each.argmax(axis=1) for name, each in {MODEL: found.probabilities, **alone}.items()
    }
    answers = Answers(labels, parts.test.guids, targets, given)
    return Evaluation(metrics, confusion, reliability, risk_coverage, samples, answers)


def score(
    targets: ClassIndices, probabilities: Floats, labels: Sequence[str], scale: Scale
) -> dict[str, Any]:
    """The scores of one part: those of `metrics.scores`, and an `interval` for each headline score."""
    predicted = probabilities.argmax(axis=1)
    drawn = bootstrap.scores(targets, predicted[None], len(labels), scale.interval, scale.seed)
    level = scale.interval.level
    return {
        **scores(targets, predicted, labels),
        "interval": {
            name: asdict(bootstrap.interval(drawn[name][:, 0], level)) for name in HEADLINE
        },
    }


def compare(
    targets: ClassIndices,
    model: Floats,
    baselines: Mapping[str, Floats],
    labels: Sequence[str],
    scale: Scale,
) -> dict[str, Any]:
    """What baselines reach on the same samples, and how much better or worse the model is.

    Returns:
        Name -> each score of `COMPARED`, its `interval`, and under `model_minus` the paired difference
        with `mean`, `low`, `high` and `p_value`, all from the same resamples.
    """
    predicted = np.stack([each.argmax(axis=1) for each in (model, *baselines.values())])
    drawn = bootstrap.scores(targets, predicted, len(labels), scale.interval, scale.seed)
    plain = [scores(targets, row, labels) for row in predicted]
    level = scale.interval.level
    out: dict[str, Any] = {}
    for place, name in enumerate(baselines, start=1):
        own: dict[str, Any] = {score: plain[place][score] for score in COMPARED}
        own["interval"], own["model_minus"] = {}, {}
        for score in COMPARED:
            of_baseline = drawn[score][:, place]
            differences = drawn[score][:, 0] - of_baseline
            own["interval"][score] = asdict(bootstrap.interval(of_baseline, level))
            own["model_minus"][score] = {
                "mean": plain[0][score] - plain[place][score],
                **asdict(bootstrap.interval(differences, level)),
                "p_value": bootstrap.p_value(differences),
            }
        out[name] = own
    return out


def calibrate(
    targets: ClassIndices, logits: Logits, temperature: float, bins: int
) -> tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]:
    """Measures how far confidence is to be trusted, on samples that did not choose `temperature`.

    Returns:
        `temperature`, `aurc`, and `before` and `after` it `ece`, `log_loss` and `brier`; the
        reliability table; the risk-coverage curve, after it.
    """
    found: dict[str, Any] = {"temperature": temperature}
    tables = []
    for when, used in (("before", 1.0), ("after", temperature)):
        probabilities = softmax(logits, used)
        confidence, correct = probabilities.max(axis=1), probabilities.argmax(axis=1) == targets
        table = calibration.reliability(confidence, correct, bins)
        tables.append(table.assign(temperature=when))
        found[when] = {
            "ece": calibration.expected_calibration_error(table),
            "log_loss": calibration.log_loss(probabilities, targets),
            "brier": calibration.brier_score(probabilities, targets),
        }
    found["aurc"] = calibration.area_under_risk_coverage(confidence, correct)
    return found, pd.concat(tables), calibration.risk_coverage(confidence, correct)


def sample_table(
    guids: Sequence[str],
    targets: ClassIndices,
    labels: Sequence[str],
    model: Attribution,
    others: Mapping[str, Floats],
) -> pd.DataFrame:
    """One row per test sample.

    Returns:
        `guid`, `label`, `predicted`, `p_<label>` for each class, `text_contribution` and
        `image_contribution` to the predicted class, and `<name>.p_<label>` of the other models.
    """
    best = model.probabilities.argmax(axis=1)
    rows = np.arange(len(best))
    columns: dict[str, Any] = {
        "guid": list(guids),
        "label": [labels[index] for index in targets],
        "predicted": [labels[index] for index in best],
        **{f"p_{label}": model.probabilities[:, place] for place, label in enumerate(labels)},
        "text_contribution": model.text[rows, best],
        "image_contribution": model.image[rows, best],
    }
    for name, probabilities in others.items():
        for place, label in enumerate(labels):
            columns[f"{name}.p_{label}"] = probabilities[:, place]
    return pd.DataFrame(columns)


def summary(metrics: Mapping[str, Any]) -> str:
    """`Evaluation.metrics` in a few lines of text."""
    if "note" in metrics:
        return str(metrics["note"])
    rows = {name: metrics[name] for name in ("val", "test") if name in metrics}
    rows |= metrics.get("baselines", {})
    lines = []
    for name, row in rows.items():
        cells = []
        for score in COMPARED:
            ends = row["interval"][score]
            cells.append(f"{score} {row[score]:.3f} ({ends['low']:.3f} to {ends['high']:.3f})")
        size = f" ({row['samples']} samples)" if "samples" in row else ""
        lines.append(f"{name}: {', '.join(cells)}{size}")
    return "\n".join(lines)
