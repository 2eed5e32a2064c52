"""The test samples worth a look, as cards: picture, text, label and what each model said.

Two kinds: the mistakes that the model was surest of, which are often wrong labels or irony; and samples on
which text alone and image alone disagree, where fusion has to decide.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from sentifuse.data import images, text

# Longest side of a picture on the page, in pixels: twice what is shown, for dense screens.
_SIDE = 480
_JPEG_QUALITY = 80
# Characters; a file of a megabyte would otherwise make the page as long.
_TEXT_LENGTH = 500
UNIMODAL = ("text_only", "image_only")


@dataclass(frozen=True)
class Answer:
    """What one model says: its class, and the probability of each class by name."""

    model: str
    predicted: str
    probabilities: dict[str, float]


@dataclass(frozen=True)
class SampleCard:
    """One sample.

    Attributes:
        guid: its name.
        label: what the data say.
        text: as it was written, shortened.
        picture: a JPEG as a `data:` URI.
        answers: of the model itself, of text alone, of image alone.
        contributions: `text` and `image` -> what the model's probability owes to it, -1..1.
    """

    guid: str
    label: str
    text: str
    picture: str
    answers: list[Answer]
    contributions: dict[str, float]


def mistakes(samples: pd.DataFrame, labels: Sequence[str], count: int) -> pd.DataFrame:
    """The wrongly classified rows of `evaluation.sample_table` with the highest confidence."""
    if not len(samples):
        return samples
    wrong = samples[samples["predicted"] != samples["label"]]
    return _surest(wrong, _confidence(wrong, labels, ""), count)


def disagreements(samples: pd.DataFrame, labels: Sequence[str], count: int) -> pd.DataFrame:
    """The rows on which text alone and image alone differ, those first of which both are sure."""
    if not len(samples):
        return samples
    says = {name: _probabilities(samples, labels, f"{name}.").idxmax(axis=1) for name in UNIMODAL}
    differ = samples[says["text_only"] != says["image_only"]]
    surenesses = [_confidence(differ, labels, f"{name}.") for name in UNIMODAL]
    return _surest(differ, pd.concat(surenesses, axis=1).min(axis=1), count)


def cards(chosen: pd.DataFrame, labels: Sequence[str], manifest: pd.DataFrame) -> list[SampleCard]:
    """Makes a card of each row.

    Args:
        chosen: rows of `evaluation.sample_table`.
        labels: class names.
        manifest: where the files of each guid are.
    """
    files = manifest.set_index("guid")
    out = []
    for row in chosen.to_dict("records"):
        own = files.loc[row["guid"]]
        written = text.decode(Path(str(own["text"])).read_bytes())
        out.append(
            SampleCard(
                guid=row["guid"],
                label=row["label"],
                text=_shortened(written),
                picture=_thumbnail(Path(str(own["image"]))),
                answers=[
                    _answer(row, labels, name, prefix)
                    for name, prefix in (("model", ""), *((name, f"{name}.") for name in UNIMODAL))
                ],
                contributions={
                    "text": row["text_contribution"],
                    "image": row["image_contribution"],
                },
            )
        )
    return out


def _probabilities(samples: pd.DataFrame, labels: Sequence[str], prefix: str) -> pd.DataFrame:
    """(N, C), with the class names as columns."""
    columns = {f"{prefix}p_{label}": label for label in labels}
    return samples[list(columns)].rename(columns=columns)


def _confidence(samples: pd.DataFrame, labels: Sequence[str], prefix: str) -> "pd.Series[float]":
    return _probabilities(samples, labels, prefix).max(axis=1)


def _surest(rows: pd.DataFrame, sureness: "pd.Series[float]", count: int) -> pd.DataFrame:
    return rows.loc[sureness.sort_values(ascending=False, kind="stable").index[:count]]


def _answer(row: dict[Any, Any], labels: Sequence[str], model: str, prefix: str) -> Answer:
    probabilities = {label: float(row[f"{prefix}p_{label}"]) for label in labels}
    return Answer(model, max(labels, key=probabilities.__getitem__), probabilities)


def _shortened(written: str) -> str:
    folded = " ".join(written.split())
    # Control characters have no place on a page, NUL least of all.
    shown = "".join(letter for letter in folded if letter.isprintable())
    return shown if len(shown) <= _TEXT_LENGTH else f"{shown[:_TEXT_LENGTH]}…"


def _thumbnail(path: Path) -> str:
    image = images.read(path.read_bytes())
    image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=_JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
