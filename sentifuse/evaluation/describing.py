"""What can be said of a test sample beside its label: which groups it belongs to, for `slices`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sentifuse.data import emoji_names, language, locations, text
from sentifuse.errors import UserError
from sentifuse.evaluation import twins
from sentifuse.evaluation.answers import Answers
from sentifuse.evaluation.baselines import UNIMODAL
from sentifuse.evaluation.slices import LEAST
from sentifuse.features.schema import Features

AGREEMENT, LENGTH, LANGUAGE = "text and image", "text", "language"
PICTURE, EMOJI = "text in the picture", "emoji"
DUPLICATE, TWIN = "near-duplicate", "twin in train"


@dataclass(frozen=True)
class About:
    """What is known of N test samples, in their order, and of others.

    Attributes:
        texts: their cleaned texts.
        in_picture: (N,) bool, whether there is text in their pictures; None if it was not read.
        duplicates: as of `duplicates.table`, of any samples.
        annotated: as of `modality_labels.read`, of any samples.
    """

    texts: Sequence[str]
    in_picture: NDArray[np.bool_] | None
    duplicates: pd.DataFrame
    annotated: pd.DataFrame


def texts(manifest: pd.DataFrame, guids: Sequence[str]) -> list[str]:
    """The text of each sample, cleaned as for an encoder of plain English.

    Raises:
        UserError: a text is no longer there.
    """
    where = manifest.set_index("guid")["text"][list(guids)]
    return [_text(str(guid), location) for guid, location in where.items()]


def _text(guid: str, location: str) -> str:
    try:
        return text.clean(text.decode(locations.read(location)))
    except FileNotFoundError as error:
        raise UserError(
            f"{location}: {error.strerror}: the slices of the test part need the text of guid {guid}: "
            "bring the data back, or run `dvc repro split`"
        ) from None


def in_picture(features: Features, guids: Sequence[str]) -> NDArray[np.bool_] | None:
    """(N,) bool, whether there is text in the picture of each sample; None without `backbone.ocr`."""
    for key, own in features.arrays.items():
        if key.startswith("ocr_"):
            # Of a picture without text they are zeros.
            return np.asarray(own.embeddings[features.rows(guids)].any(axis=(1, 2)))
    return None


def describe(answers: Answers, about: About) -> pd.DataFrame:
    """One row per sample, and one column of values in words for each thing that is known.

    `AGREEMENT` says whether the labels of text and of image are the same, where a sample has both, else
    whether the models of one modality answer the same; a sample of which neither is known has an empty
    value. `LENGTH` has three parts of equal size. `LANGUAGE` is a guess (`language.guesses`); those of fewer
    than `LEAST` samples are `other`.
    `answers` has N > 0 samples.
    """
    own = about.duplicates
    columns: dict[str, Any] = {
        AGREEMENT: _agreement(answers, about.annotated),
        LENGTH: _lengths(about.texts),
        LANGUAGE: _languages(about.texts),
        EMOJI: _words([emoji_names.present(each) for each in about.texts]),
        DUPLICATE: _words(pd.Series(answers.guids).isin(own["guid"])),
        TWIN: _words(twins.in_train(answers.guids, own)[twins.ANY]),
    }
    if about.in_picture is not None:
        columns[PICTURE] = _words(about.in_picture)
    return pd.DataFrame(columns)


def _agreement(answers: Answers, annotated: pd.DataFrame) -> NDArray[np.str_]:
    own = annotated.set_index("guid").reindex(list(answers.guids), fill_value="")
    of_text, of_image = own["text_label"].to_numpy(), own["image_label"].to_numpy()
    if all(name in answers.given for name in UNIMODAL):
        first, second = (answers.given[name] for name in UNIMODAL)
        answered = np.where(first == second, "models agree", "models differ")
    else:
        answered = np.full(len(own), "")
    labelled = np.where(of_text == of_image, "labels agree", "labels differ")
    return np.where((of_text != "") & (of_image != ""), labelled, answered)


def _lengths(texts: Sequence[str]) -> list[str]:
    """Thirds of the texts by their number of characters, which also counts where nothing parts the words."""
    sizes = np.array([len(each) for each in texts])
    if not sizes.any():
        return ["none"] * len(texts)
    short, long = np.quantile(sizes[sizes > 0], [1 / 3, 2 / 3], method="lower")
    names = (
        "none", f"up to {short} characters", f"{short + 1} to {long} characters",
        f"over {long} characters",
    )  # fmt: skip
    return [names[place] for place in np.digitize(sizes, [0, short, long], right=True)]


def _languages(texts: Sequence[str]) -> list[str]:
    found = language.guesses(texts)
    counts = Counter(found)
    names = {code: code if count >= LEAST else "other" for code, count in counts.items()}
    return [{**names, "": "cannot tell"}[code] for code in found]


def _words(flags: Any) -> NDArray[np.str_]:
    return np.where(np.asarray(flags, dtype=bool), "yes", "no")
