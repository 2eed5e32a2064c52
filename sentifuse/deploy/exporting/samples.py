"""What the gate compares on: rows of a CSV, pairs of the project, or pairs that are made here.

A bundle holds no data, so that nobody's pictures and texts travel with a model. Whether two programs compute
the same function shows on any input; so without a CSV the pairs are texts with everything that texts have
and pictures of every shape, always the same ones. Whether 8 bits suffice shows only on such inputs as the
model will see: of the project that trained it, these are the pairs of the validation part.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from sentifuse.data import locations, text
from sentifuse.data.manifest import Sample
from sentifuse.data.splits import SplitRow
from sentifuse.deploy import predict_csv
from sentifuse.deploy.pairs import Pair
from sentifuse.errors import UserError, listed
from sentifuse.runtime.files import CsvRows

# Of several lengths and scripts: links, mentions, entities, emoji that no tokenizer knows, nothing at all.
_TEXTS = (
    "what a day",
    "I love this so much!!! 😍😍",
    "worst. service. ever. #fail",
    "RT @somebody: look at this http://t.co/abc123 &amp; smile",
    "meh",
    "The food was cold, the waiter was rude, and we waited an hour for the bill - never again.",
    "今天天气真好",
    "Así es la vida… ¿no?",
    "happy birthday to my favourite person 🎂🎉 @friend",
    "so sad 😭💔",
    "https://example.org/a?b=c",
    "Just landed in New York. Traffic as usual.",
    "GOOOOOAL!!! 3:2 #WorldCup #final",
    "can't believe it's over :(",
    "👨‍👩‍👧‍👦 family time 🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "a",
    "Noël à la maison, enfin ❤️",
    "if you know, you know",
    "Новый год!",
    "1234567890 0.5 50% $20",
    "thank you thank you thank you thank you thank you thank you",
    "not bad at all, not great either",
    "(╯°□°)╯︵ ┻━┻",
    "rain " * 300,
)
# Of the project in the current folder: which pairs were not trained on, and where they lie.
SPLITS, MANIFEST = Path("data/splits.csv"), Path("data/manifest.csv")
# More would measure the agreement better, and take the bundle in torch minutes.
_MOST = 200
# Width and height in pixels.
_SIZES = ((320, 240), (240, 320), (64, 64), (500, 90), (90, 500), (224, 224))


@dataclass(frozen=True)
class Samples:
    """N pairs, and the label of each, or None if nobody has labelled them."""

    pairs: Sequence[Pair]
    labels: Sequence[str] | None


def made() -> Samples:
    """Pairs without a label, the same in every run."""
    pictures = [_picture(place) for place in range(len(_TEXTS))]
    return Samples([Pair(*each) for each in zip(pictures, _TEXTS, strict=True)], None)


def read(path: Path, labels: Sequence[str]) -> Samples:
    """Reads the pairs of a CSV, as `predict --csv` does, and their labels from its column `tag`.

    Args:
        path: of the CSV.
        labels: of the model.

    Raises:
        UserError: not such a CSV, no row, a row that is not a pair, or labels that the model does not have.
    """
    rows = list(predict_csv.read(path))
    if not rows:
        raise UserError(f"{path}: no rows: expected samples to compare on")
    pairs = [row.found for row in rows if isinstance(row.found, Pair)]
    bad = [f"line {row.line}: {row.found}" for row in rows if isinstance(row.found, UserError)]
    tags = [row.tag for row in rows]
    if any(tags):
        expected = f"expected one of {', '.join(labels)}, or no column `tag`"
        bad += [
            f"line {row.line}: tag {row.tag!r}: {expected}" for row in rows if row.tag not in labels
        ]
    if bad:
        raise UserError(f"{path}: {len(bad)} bad rows: {listed(bad)}")
    return Samples(pairs, tags if any(tags) else None)


def of_project(labels: Sequence[str]) -> Samples:
    """The first 200 pairs of the validation part of the project in the current folder.

    Args:
        labels: of the model.

    Raises:
        UserError: there are none, they cannot be read, or a label is not one of the model's.
    """
    rows = [row for row in CsvRows(SPLITS, SplitRow._make) if row.split == "val"][:_MOST]
    tags = [row.label for row in rows]
    if not set(tags) <= set(labels) or not rows:
        found = ", ".join(sorted({*tags})) or "none"
        raise UserError(
            f"{SPLITS}: validation part: {len(rows)} pairs of the labels {found}: expected pairs of "
            f"{', '.join(labels)}: run `dvc repro`, or give others by --samples"
        )
    manifest = {each.guid: each for each in CsvRows(MANIFEST, Sample._make)}
    return Samples([_pair(manifest[row.guid]) for row in rows], tags)


def _pair(sample: Sample) -> Pair:
    try:
        image, words = (
            locations.read(each) if each else None for each in (sample.image, sample.text)
        )
    except OSError as error:
        raise UserError(f"{MANIFEST}: {sample.guid}: {error}: run `dvc repro`") from None
    return Pair(image, None if words is None else text.decode(words))


def _picture(number: int) -> bytes:
    """A PNG file: a slope of two colours with noise on it."""
    rng = np.random.default_rng(number)
    width, height = _SIZES[number % len(_SIZES)]
    start, end = rng.uniform(0, 255, (2, 3))
    slope = np.linspace(0, 1, width)[None, :, None] * np.linspace(0, 1, height)[:, None, None]
    pixels = start + slope * (end - start) + rng.normal(0, 20, (height, width, 3))
    out = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(out, "PNG")
    return out.getvalue()
