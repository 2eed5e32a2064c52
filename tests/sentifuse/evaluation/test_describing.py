from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sentifuse.data import language, modality_labels
from sentifuse.errors import UserError
from sentifuse.evaluation import describing
from sentifuse.evaluation.answers import MODEL, Answers
from sentifuse.evaluation.describing import About
from sentifuse.features.schema import Arrays, EncoderMeta
from tests.synthetic import make_features

NOBODY = pd.DataFrame(columns=modality_labels.COLUMNS, dtype=str)
ALONE = pd.DataFrame(
    columns=["guid", "group", "split", "image_sha256", "image_hash", "clean_text"], dtype=str
)


@pytest.fixture(autouse=True)
def _no_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model that guesses languages takes half a second to load."""
    monkeypatch.setattr(language, "guesses", lambda texts: ["" for _ in texts])


def answers(count: int, **alone: Sequence[int]) -> Answers:
    given = {name: np.array(each) for name, each in alone.items()}
    guids = [f"g{place}" for place in range(count)]
    targets = np.zeros(count, dtype=np.int64)
    return Answers(("a", "b", "c"), guids, targets, {MODEL: targets, **given})


def about(texts: Sequence[str]) -> About:
    return About(texts, None, ALONE, NOBODY)


def annotated(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=modality_labels.COLUMNS, dtype=str)


# text and image


def test_labels_of_both_modalities_say_whether_they_agree_and_models_where_one_is_missing() -> None:
    made = answers(5, text_only=[0, 0, 0, 1, 1], image_only=[1, 1, 1, 1, 2])
    labels = annotated(("g0", "a", "a"), ("g1", "a", "b"), ("g2", "a", ""), ("other", "a", "b"))
    found = describing.describe(made, replace(about([""] * 5), annotated=labels))
    assert list(found[describing.AGREEMENT]) == [
        "labels agree", "labels differ", "models differ", "models agree", "models differ"
    ]  # fmt: skip


@pytest.mark.parametrize("alone", [{}, {"text_only": [0, 1]}, {"image_only": [0, 1]}])
def test_without_labels_and_without_both_models_nothing_is_said(
    alone: dict[str, list[int]],
) -> None:
    found = describing.describe(answers(2, **alone), about(["", ""]))
    assert list(found[describing.AGREEMENT]) == ["", ""]


# text


def test_texts_are_divided_into_thirds_by_length() -> None:
    texts = ["x" * size for size in (3, 9, 6, 1, 2, 8, 7, 4, 5)]
    found = describing.describe(answers(9), about(texts))[describing.LENGTH]
    assert found.value_counts().to_dict() == {
        "up to 3 characters": 3, "4 to 6 characters": 3, "over 6 characters": 3
    }  # fmt: skip
    assert found[0] == "up to 3 characters"


def test_texts_of_one_length_and_no_texts_are_no_failure() -> None:
    for texts, expected in ((["xx", "yy", ""], 2), (["", "", ""], 1)):
        found = describing.describe(answers(3), about(texts))[describing.LENGTH]
        assert found.nunique() == expected
        assert found[2] == "none"


# language


def test_a_language_with_few_samples_is_one_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = ["en"] * 30 + ["ja"] * 20 + ["fr"] * 19 + [""] * 2
    monkeypatch.setattr(language, "guesses", lambda texts: codes[: len(list(texts))])
    found = describing.describe(answers(71), about(["x"] * 71))[describing.LANGUAGE]
    assert found.value_counts().to_dict() == {"en": 30, "ja": 20, "other": 19, "cannot tell": 2}


# the rest


def test_emoji_are_looked_for_in_the_texts() -> None:
    found = describing.describe(answers(3), about(["so happy 😀", "so happy", "so happy ™"]))
    assert list(found[describing.EMOJI]) == ["yes", "no", "no"]


def test_near_duplicates_may_be_in_any_part_and_twins_only_in_train() -> None:
    rows = [
        ("g0", "g0", "test"),
        ("g1", "g1", "test"),
        ("t", "g0", "train"),
        ("p", "g1", "predict"),
    ]
    known = pd.DataFrame(rows, columns=["guid", "group", "split"]).assign(
        image_sha256="", image_hash="", clean_text=""
    )
    found = describing.describe(answers(3), replace(about([""] * 3), duplicates=known))
    assert list(found[describing.DUPLICATE]) == ["yes", "yes", "no"]
    assert list(found[describing.TWIN]) == ["yes", "no", "no"]


def test_text_in_pictures_is_known_only_where_it_was_read() -> None:
    features = make_features([0, 1, 2], noise=0.1)
    assert describing.in_picture(features, ["1"]) is None
    read = np.zeros((3, 1, 4), dtype=np.float32)
    read[2, 0, 3] = -0.5
    metas = (*features.meta.encoders, EncoderMeta("ocr_net", "text", 4, 4, None, "print"))
    with_ocr = replace(
        features,
        meta=replace(features.meta, encoders=metas),
        arrays={**features.arrays, "ocr_net": Arrays(read)},
    )
    found = describing.in_picture(with_ocr, ["2", "0"])
    assert found is not None
    assert found.tolist() == [True, False]
    plain = about(["", ""])
    assert describing.PICTURE not in describing.describe(answers(2), plain)
    shown = describing.describe(answers(2), replace(plain, in_picture=found))
    assert list(shown[describing.PICTURE]) == ["yes", "no"]


# reading texts


def manifest(**locations: str) -> pd.DataFrame:
    return pd.DataFrame({"guid": list(locations), "text": list(locations.values())}, dtype=str)


def test_texts_come_cleaned_and_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    written = {"a": b"Look http://t.co/x @bob #Joy", "b": "été".encode(), "c": b"third"}
    for name, raw in written.items():
        (tmp_path / name).write_bytes(raw)
    files = manifest(**{name: str(tmp_path / name) for name in written})
    assert describing.texts(files, ["b", "a"]) == ["été", "look joy"]
    assert describing.texts(files, []) == []


def test_a_text_that_is_gone_is_named_with_what_to_do(tmp_path: Path) -> None:
    gone = tmp_path / "7.txt"
    with pytest.raises(UserError, match=r"7\.txt: No such file .* of guid 7: .*dvc repro split"):
        describing.texts(manifest(**{"7": str(gone)}), ["7"])
