"""Tests of the report's gallery: which samples, and what stands on their cards."""

import base64
import io
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from sentifuse.evaluation import gallery

LABELS = ("negative", "neutral", "positive")


def row(guid: str, label: str, model: str, text_only: str, image_only: str) -> dict[str, object]:
    """A row of `evaluation.sample_table`; each answer is a class and its probability, `positive .8`."""
    out: dict[str, object] = {"guid": guid, "label": label, "predicted": model.split()[0]}
    for prefix, answer in (("", model), ("text_only.", text_only), ("image_only.", image_only)):
        name, share = answer.split()
        rest = (1 - float(share)) / 2
        out |= {f"{prefix}p_{each}": float(share) if each == name else rest for each in LABELS}
    return out | {"text_contribution": 0.25, "image_contribution": -0.125}


def table(*rows: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(list(rows))


SAMPLES = table(
    row("right", "positive", "positive .9", "positive .9", "positive .9"),
    row("unsure", "positive", "negative .5", "negative .9", "positive .6"),
    row("sure", "negative", "positive .8", "positive .7", "negative .8"),
    row("agree", "neutral", "positive .7", "positive .95", "positive .95"),
    row("disagree-right", "neutral", "neutral .6", "neutral .99", "negative .5"),
)


def test_mistakes_are_wrong_answers_surest_first() -> None:
    assert list(gallery.mistakes(SAMPLES, LABELS, 9)["guid"]) == ["sure", "agree", "unsure"]
    assert list(gallery.mistakes(SAMPLES, LABELS, 2)["guid"]) == ["sure", "agree"]


def test_disagreements_are_ranked_by_the_less_sure_of_both() -> None:
    # .7 and .8; .9 and .6; .99 and .5.
    assert list(gallery.disagreements(SAMPLES, LABELS, 9)["guid"]) == [
        "sure", "unsure", "disagree-right",
    ]  # fmt: skip


def test_equally_sure_samples_keep_their_order() -> None:
    same = table(
        *[row(guid, "neutral", "positive .8", "positive .8", "negative .8") for guid in "cab"]
    )
    for choose in (gallery.mistakes, gallery.disagreements):
        assert list(choose(same, LABELS, 2)["guid"]) == ["c", "a"]


def test_no_samples_give_no_cards() -> None:
    nothing = pd.DataFrame(columns=["guid", "label", "predicted"])
    assert len(gallery.mistakes(nothing, LABELS, 3)) == 0
    assert len(gallery.disagreements(nothing, LABELS, 3)) == 0
    assert gallery.cards(nothing, LABELS, pd.DataFrame(columns=["guid", "image", "text"])) == []


@pytest.fixture
def manifest(tmp_path: Path) -> pd.DataFrame:
    Image.new("RGB", (1200, 300), "red").save(tmp_path / "sure.png")
    (tmp_path / "sure.txt").write_bytes("So <b>sad</b>\x00\r\n今天 😀".encode())
    return pd.DataFrame(
        [("sure", str(tmp_path / "sure.png"), str(tmp_path / "sure.txt"))],
        columns=["guid", "image", "text"],
    )


def test_a_card_has_the_picture_the_text_and_each_models_answer(manifest: pd.DataFrame) -> None:
    [card] = gallery.cards(gallery.mistakes(SAMPLES, LABELS, 1), LABELS, manifest)
    assert (card.guid, card.label) == ("sure", "negative")
    assert card.text == "So <b>sad</b> 今天 😀"
    assert [(answer.model, answer.predicted) for answer in card.answers] == [
        ("model", "positive"), ("text_only", "positive"), ("image_only", "negative"),
    ]  # fmt: skip
    assert card.answers[0].probabilities["positive"] == 0.8
    assert card.answers[2].probabilities["negative"] == 0.8
    assert card.contributions == {"text": 0.25, "image": -0.125}


def test_pictures_are_small_jpegs_whatever_the_file_is(manifest: pd.DataFrame) -> None:
    [card] = gallery.cards(gallery.mistakes(SAMPLES, LABELS, 1), LABELS, manifest)
    head, _, data = card.picture.partition(",")
    assert head == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert (picture.format, picture.size) == ("JPEG", (480, 120))


def test_a_long_text_is_cut(manifest: pd.DataFrame) -> None:
    Path(manifest.loc[0, "text"]).write_text("word " * 10_000, encoding="utf-8")
    [card] = gallery.cards(gallery.mistakes(SAMPLES, LABELS, 1), LABELS, manifest)
    assert len(card.text) == 501
    assert card.text.endswith("…")


def test_one_picture_goes_on_any_number_of_cards_of_its_own_text(manifest: pd.DataFrame) -> None:
    twice = pd.concat([gallery.mistakes(SAMPLES, LABELS, 1)] * 2)
    assert len(gallery.cards(twice, LABELS, manifest)) == 2


AUDITED = pd.DataFrame(
    {
        "guid": ["sure", "other", "right"],
        "label": ["positive", "positive", "neutral"],
        "suggested": ["negative", "negative", None],
        "twins": [None, "negative x2", None],
        "p_negative": [0.7, 0.6, 0.1],
        "p_neutral": [0.2, 0.1, 0.8],
        "p_positive": [0.1, 0.3, 0.1],
    }
)


def test_labels_that_are_not_doubted_are_not_shown() -> None:
    assert list(gallery.doubted(AUDITED, 9)["guid"]) == ["sure", "other"]
    assert list(gallery.doubted(AUDITED, 1)["guid"]) == ["sure"]
    assert list(gallery.doubted(AUDITED, 9)["twins"]) == ["", "negative x2"]


def test_the_card_of_a_doubted_label_has_one_answer(manifest: pd.DataFrame) -> None:
    [card] = gallery.cards(gallery.doubted(AUDITED, 1), LABELS, manifest, gallery.AUDITED)
    assert (card.label, card.suggested) == ("positive", "negative")
    assert (card.twins, card.contributions) == ("", {})
    [answer] = card.answers
    assert (answer.model, answer.predicted) == ("out_of_fold", "negative")
    assert answer.probabilities == {"negative": 0.7, "neutral": 0.2, "positive": 0.1}


def test_a_card_shows_the_explanation_of_its_sample(manifest: pd.DataFrame) -> None:
    word = {"text": "sad", "start": 6, "end": 9, "contribution": 0.2}
    explanation = {
        "prediction": {"label": "positive", "confidence": 0.8},
        "text": "So <b>sad</b>", "words": [word], "grid": [[0.1, 0.0], [0.0, -0.2]],
    }  # fmt: skip
    chosen = gallery.mistakes(SAMPLES, LABELS, 1)
    [card] = gallery.cards(chosen, LABELS, manifest, explanations={"sure": explanation})
    assert card.explained is not None
    assert [part.text for part in card.explained.text if part.side] == ["sad"]
    assert card.explained.cells[3].box == (240, 60, 240, 60)  # of the small picture
    [other] = gallery.cards(chosen, LABELS, manifest, explanations={"unsure": explanation})
    assert other.explained is None
