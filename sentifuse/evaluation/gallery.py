"""The samples that are worth a look, as cards.

The mistakes of which the model was surest are often wrong labels or irony. Where text alone and image alone
disagree, fusion has to decide. The label audit doubts labels of all parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sentifuse.data import locations, text
from sentifuse.evaluation import explained, pictures
from sentifuse.evaluation.explained import Explained

UNIMODAL = ("text_only", "image_only")
# Table -> the models whose answers it has, and what stands before `p_<label>` in the names of their columns.
EVALUATED = {"model": "", **{name: f"{name}." for name in UNIMODAL}}
AUDITED = {"out_of_fold": ""}


@dataclass(frozen=True)
class Answer:
    """What one model says: its class, and class name -> probability."""

    model: str
    predicted: str
    probabilities: dict[str, float]


@dataclass(frozen=True)
class SampleCard:
    """One sample: its text, shortened, its picture as a `data:` URI, and what the models say.

    The contributions are what `text` and `image` add to the probability of the first model, -1..1, where they
    are known, and so is what its words and the parts of its picture add (`explained`). The label audit gives
    `suggested`, another label, and `twins`, the labels of near-identical samples in words.
    """

    guid: str
    label: str
    text: str
    picture: str
    answers: list[Answer]
    contributions: dict[str, float]
    suggested: str = ""
    twins: str = ""
    explained: Explained | None = None


def mistakes(samples: pd.DataFrame, labels: Sequence[str], count: int) -> pd.DataFrame:
    """The wrongly classified rows of `evaluate.sample_table` with the highest confidence."""
    if not len(samples):
        return samples
    wrong = samples[samples["predicted"] != samples["label"]]
    return _surest(wrong, _probabilities(wrong, labels, "").max(axis=1), count)


def disagreements(samples: pd.DataFrame, labels: Sequence[str], count: int) -> pd.DataFrame:
    """The rows on which text alone and image alone differ, first those of which both are sure."""
    if not len(samples):
        return samples
    text_only, image_only = (_probabilities(samples, labels, f"{name}.") for name in UNIMODAL)
    less_sure = text_only.max(axis=1).clip(upper=image_only.max(axis=1))
    differ = text_only.idxmax(axis=1) != image_only.idxmax(axis=1)
    return _surest(samples[differ], less_sure[differ], count)


def doubted(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """The first rows of `audit.table`, read from a file, whose label is probably wrong."""
    return rows[rows["suggested"].notna()].head(count).fillna({"twins": ""})


def cards(
    chosen: pd.DataFrame,
    labels: Sequence[str],
    manifest: pd.DataFrame,
    models: Mapping[str, str] = EVALUATED,
    explanations: Mapping[str, Mapping[str, Any]] = {},
) -> list[SampleCard]:
    """Makes one card per row of `evaluate.sample_table` or, with the models `AUDITED`, of `audit.table`.

    Args:
        chosen: the rows.
        labels: class names.
        manifest: where the files are.
        models: the models whose answers the rows have.
        explanations: guid -> what `explaining.document` made of an explanation; of any samples.
    """
    files = manifest.set_index("guid")
    return [
        _card(row, labels, files.loc[row["guid"]], models, explanations.get(row["guid"]))
        for row in chosen.to_dict("records")
    ]


def _card(
    row: dict[Any, Any],
    labels: Sequence[str],
    files: "pd.Series[str]",
    models: Mapping[str, str],
    explanation: Mapping[str, Any] | None,
) -> SampleCard:
    picture, size = pictures.thumbnail(locations.read(files["image"]))
    return SampleCard(
        guid=row["guid"],
        label=row["label"],
        text=explained.shortened(text.decode(locations.read(files["text"]))),
        picture=picture,
        answers=[_answer(row, labels, model, prefix) for model, prefix in models.items()],
        contributions={
            name: row[f"{name}_contribution"]
            for name in ("text", "image")
            if f"{name}_contribution" in row
        },
        suggested=row.get("suggested", ""),
        twins=row.get("twins", ""),
        explained=explained.of(explanation, size) if explanation else None,
    )


def _answer(row: dict[Any, Any], labels: Sequence[str], model: str, prefix: str) -> Answer:
    probabilities = {label: float(row[f"{prefix}p_{label}"]) for label in labels}
    return Answer(model, max(labels, key=probabilities.__getitem__), probabilities)


def _probabilities(samples: pd.DataFrame, labels: Sequence[str], prefix: str) -> pd.DataFrame:
    """(N, C), with the class names as columns."""
    columns = {f"{prefix}p_{label}": label for label in labels}
    return samples[list(columns)].rename(columns=columns)


def _surest(rows: pd.DataFrame, confidence: "pd.Series[float]", count: int) -> pd.DataFrame:
    return rows.loc[confidence.sort_values(ascending=False, kind="stable").index[:count]]
