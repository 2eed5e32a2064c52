"""The samples that are worth a look, as cards.

The mistakes of which the model was surest are often wrong labels or irony. Where text alone and image alone
disagree, fusion has to decide. The label audit doubts labels of all parts.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from PIL import Image

from sentifuse.data import images, locations, text

# Longest side of a picture, in pixels: twice as long as it is shown, for dense screens.
_SIDE = 480
_JPEG_QUALITY = 80
# Characters of a text that are shown: a file may have a megabyte.
_TEXT_LENGTH = 500
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
    are known. The label audit gives `suggested`, another label, and `twins`, the labels of near-identical
    samples in words.
    """

    guid: str
    label: str
    text: str
    picture: str
    answers: list[Answer]
    contributions: dict[str, float]
    suggested: str = ""
    twins: str = ""


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
) -> list[SampleCard]:
    """Makes one card per row of `evaluate.sample_table` or, with the models `AUDITED`, of `audit.table`.

    `manifest` says where the files are.
    """
    files = manifest.set_index("guid")
    return [_card(row, labels, files.loc[row["guid"]], models) for row in chosen.to_dict("records")]


def _card(
    row: dict[Any, Any],
    labels: Sequence[str],
    files: "pd.Series[str]",
    models: Mapping[str, str],
) -> SampleCard:
    return SampleCard(
        guid=row["guid"],
        label=row["label"],
        text=_shortened(text.decode(locations.read(files["text"]))),
        picture=_thumbnail(files["image"]),
        answers=[_answer(row, labels, model, prefix) for model, prefix in models.items()],
        contributions={
            name: row[f"{name}_contribution"]
            for name in ("text", "image")
            if f"{name}_contribution" in row
        },
        suggested=row.get("suggested", ""),
        twins=row.get("twins", ""),
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


def _shortened(written: str) -> str:
    folded = " ".join(written.split())
    # Control characters, such as NUL, have no place on a page.
    shown = "".join(letter for letter in folded if letter.isprintable())
    return shown if len(shown) <= _TEXT_LENGTH else f"{shown[:_TEXT_LENGTH]}…"


def _thumbnail(location: str) -> str:
    image = images.read(locations.read(location))
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_JPEG_QUALITY)
    return data_uri("image/jpeg", out.getvalue())


def data_uri(kind: str, raw: bytes) -> str:
    """A file of the MIME type `kind` as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(raw).decode()}"
