"""Writes the synthetic data set: sentiments drawn and merged, texts and pictures made of them.

Every sample has a sentiment of its text and one of its picture, drawn apart. They are merged to
the label by the rule of the MVSA corpus, so that either is often neutral while the other decides,
and a model has to read both.
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

from demo.scenes import paint
from demo.text import Encoding, Sentiment, compose
from sentifuse.runtime.files import named, write_bytes, write_text

SHARES: dict[Sentiment, float] = {"positive": 0.6, "negative": 0.3, "neutral": 0.1}
"""The share of each label, as unbalanced as in the real data."""

FEWEST_LABELLED = 30
"""Below this a label would have fewer than three samples, too few to split."""

LABEL_NOISE = 0.05
"""Share of the labels that are replaced by a wrong one."""

GUIDS = range(1, 5001)
"""Where the guids come from; with more samples than half of it, the range grows."""

# Independent chances of (negative, neutral, positive); opposite pairs are dropped afterwards.
_SENTIMENTS: tuple[Sentiment, ...] = ("negative", "neutral", "positive")
_TEXT_CHANCES = (0.365, 0.27, 0.365)
_IMAGE_CHANCES = (0.34, 0.32, 0.34)

_ENCODINGS: tuple[Encoding, ...] = ("utf-8", "gbk", "latin-1")
_ENCODING_CHANCES = (0.85, 0.10, 0.05)

_SUFFIXES = (".jpg", ".png", ".webp")
_SUFFIX_CHANCES = (0.95, 0.03, 0.02)


@dataclass(frozen=True)
class Sample:
    """The plan of one sample: what its text and picture express, and the label it is given."""

    text: Sentiment
    image: Sentiment
    tag: Sentiment


def merge(text: Sentiment, image: Sentiment) -> Sentiment | None:
    """Merges two sentiments by the rule of the MVSA corpus.

    Returns:
        The common sentiment; where one is neutral, the other; None for opposite ones, which the
        corpus drops.
    """
    if text == image or image == "neutral":
        return text
    return image if text == "neutral" else None


def quotas(count: int) -> dict[Sentiment, int]:
    """Returns how many of `count` samples get each label: the shares, rounded."""
    negative, neutral = (round(count * SHARES[tag]) for tag in ("negative", "neutral"))
    return {"negative": negative, "neutral": neutral, "positive": count - negative - neutral}


def plan(count: int, rng: Random) -> list[Sample]:
    """Draws the sentiments and labels of `count` samples.

    Returns:
        The samples in random order, with exactly `quotas(count)` of each label. All but about
        `LABEL_NOISE` of them have the label that `merge` gives.
    """
    left = Counter(quotas(count))
    samples: list[Sample] = []
    while len(samples) < count:
        text = rng.choices(_SENTIMENTS, _TEXT_CHANCES)[0]
        image = rng.choices(_SENTIMENTS, _IMAGE_CHANCES)[0]
        tag = merge(text, image)
        if tag is not None and left[tag]:
            left[tag] -= 1
            samples.append(Sample(text, image, tag))
    rng.shuffle(samples)
    return _mislabel(samples, rng)


def _mislabel(samples: list[Sample], rng: Random) -> list[Sample]:
    """Returns the samples after label noise: pairs swap their labels, which keeps the quotas."""
    noisy = list(samples)
    untouched = set(range(len(noisy)))
    for _ in range(round(len(noisy) * LABEL_NOISE / 2)):
        a = rng.choice(sorted(untouched))
        others = sorted(i for i in untouched if noisy[i].tag != noisy[a].tag)
        if not others:
            break
        b = rng.choice(others)
        first, second = noisy[a], noisy[b]
        noisy[a] = Sample(first.text, first.image, second.tag)
        noisy[b] = Sample(second.text, second.image, first.tag)
        untouched -= {a, b}
    return noisy


def _check(labelled: int, unlabelled: int) -> None:
    """Raises ValueError for a count that is out of range."""
    if labelled < FEWEST_LABELLED:
        raise ValueError(f"labelled is {labelled}; at least {FEWEST_LABELLED} are needed")
    if unlabelled < 0:
        raise ValueError(f"unlabelled is {unlabelled}; it must be 0 or more")


def _draw_guids(count: int, rng: Random) -> list[str]:
    """Returns `count` different guids in random order."""
    return [str(guid) for guid in rng.sample(range(1, max(GUIDS.stop, 2 * count)), count)]


def _write_text(stem: Path, sentiment: Sentiment, rng: Random) -> None:
    """Writes the text file of one sample, as bytes so that no platform changes the line end."""
    encoding = rng.choices(_ENCODINGS, _ENCODING_CHANCES)[0]
    line = compose(sentiment, encoding, rng) + "\n"
    write_bytes(stem.with_suffix(".txt"), line.encode(encoding))


def _write_image(stem: Path, sentiment: Sentiment, rng: Random) -> None:
    """Writes the picture of one sample, mostly as JPEG of varied quality."""
    image = paint(sentiment, rng)
    suffix = rng.choices(_SUFFIXES, _SUFFIX_CHANCES)[0]
    quality = rng.randint(35, 92)
    with named(stem.with_suffix(suffix)):
        if suffix == ".png":
            image.save(stem.with_suffix(suffix))
        else:
            image.save(stem.with_suffix(suffix), quality=quality)


def _write_tags(path: Path, rows: list[tuple[str, str]]) -> None:
    """Writes a table of guids and tags."""
    lines = ["guid,tag", *(f"{guid},{tag}" for guid, tag in rows)]
    write_text(path, "\n".join(lines) + "\n")


def _plan_all(labelled: int, unlabelled: int, rng: Random) -> tuple[list[str], list[Sample]]:
    """Returns the guids and the plans of all samples, the labelled ones first."""
    # The unlabelled samples are planned apart, so that the labelled ones meet their quotas.
    samples = plan(labelled, rng) + plan(unlabelled, rng)
    return _draw_guids(len(samples), rng), samples


def mislabelled(*, labelled: int, unlabelled: int, seed: int) -> set[str]:
    """Returns the guids whose label is wrong in the data set that `generate` writes with these arguments."""
    guids, samples = _plan_all(labelled, unlabelled, Random(seed))
    planned = zip(guids[:labelled], samples[:labelled], strict=True)
    return {guid for guid, sample in planned if sample.tag != merge(sample.text, sample.image)}


def generate(root: Path, *, labelled: int, unlabelled: int, seed: int) -> None:
    """Writes a synthetic data set in the raw layout.

    The files are `data/{guid}.txt` (in UTF-8, GBK or Latin-1) and `data/{guid}.jpg` (seldom .png
    or .webp) for every sample, `train.txt` with a row per labelled sample, and
    `test_without_label.txt` with the tag `null`. The same arguments give the same bytes, given
    the same versions of the libraries.

    Args:
        root: Folder to write into, made if it is not there. Files of another run are not removed.
        labelled: How many labelled samples, at least 30.
        unlabelled: How many samples without a label, 0 or more.
        seed: Where all choices come from.

    Raises:
        ValueError: A count is out of range.
    """
    _check(labelled, unlabelled)
    rng = Random(seed)
    guids, samples = _plan_all(labelled, unlabelled, rng)
    data = root / "data"
    data.mkdir(parents=True, exist_ok=True)
    for guid, sample in zip(guids, samples, strict=True):
        _write_text(data / guid, sample.text, rng)
        _write_image(data / guid, sample.image, rng)
    _write_tags(
        root / "train.txt",
        [(g, s.tag) for g, s in zip(guids[:labelled], samples[:labelled], strict=True)],
    )
    _write_tags(root / "test_without_label.txt", [(g, "null") for g in guids[labelled:]])
