"""Tests of the label audit: its table, its figures, and the twins that check it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sentifuse.config.recipe import IntervalOptions
from sentifuse.evaluation import audit
from sentifuse.features.batches import Dataset
from tests.synthetic import LABELS, make_parts

INTERVAL = IntervalOptions(level=0.95, resamples=100)
SCALE = audit.Scale(folds=5, views="plain", interval=INTERVAL, seed=0)
# The model is sure of each one's class; thresholds are .8 or less.
SURE = {label: np.where(np.arange(3) == place, 0.8, 0.1) for place, label in enumerate(LABELS)}
GROUPS = {"0": "a", "3": "a", "6": "a", "1": "b", "4": "b", "2": "c", "5": "c"}
DATA = make_parts(train=9, val=0).train


def rows(given: dict[int, str] = {}, says: dict[int, str] = {}) -> pd.DataFrame:  # noqa: B006
    """The audit of nine samples, classes in turn, with some labels and some answers of the model changed."""
    targets = DATA.targets.clone()
    for place, label in given.items():
        targets[place] = LABELS.index(label)
    answers = [says.get(place, LABELS[place % 3]) for place in range(9)]
    probabilities = np.stack([SURE[answer] for answer in answers])
    return audit.table(replace(DATA, targets=targets), LABELS, GROUPS, probabilities)


def test_doubted_labels_come_first_and_the_others_by_margin() -> None:
    probabilities = np.stack([SURE[LABELS[place % 3]] for place in range(9)])
    probabilities[4] = [0.1, 0.45, 0.45]
    probabilities[7] = [0.9, 0.05, 0.05]
    found = audit.table(DATA, LABELS, GROUPS, probabilities)
    assert list(found["guid"]) == ["7", "4", "0", "1", "2", "3", "5", "6", "8"]
    assert list(found["suggested"]) == ["negative"] + [""] * 8
    assert found.loc[0, "margin"] == pytest.approx(-0.85)
    assert list(found.loc[0, ["label", "p_negative", "group", "twins"]]) == [
        "neutral",
        0.9,
        "7",
        "",
    ]


def test_twins_are_the_others_of_the_group() -> None:
    found = rows({3: "positive"}).set_index("guid")["twins"]
    assert found["0"] == "negative, positive"
    assert found["3"] == "negative x2"
    assert (found["1"], found["8"]) == ("neutral", "")


def summary(found: pd.DataFrame) -> dict[str, Any]:
    return audit.summary(found, LABELS, INTERVAL, seed=0)


def test_what_is_counted_of_twins() -> None:
    # In a, 3 is contradicted by both others; in b both contradict each other; c is confirmed.
    given = {3: "positive", 4: "positive"}
    found = summary(rows(given, says={3: "negative", 4: "positive"}))
    twins = found["twins"]
    assert twins["contradicted"]["samples"] == 3
    assert twins["contradicted"]["share"] == pytest.approx(1 / 3)
    assert twins["confirmed"] == {"samples": 2, "share": 0.0, "low": 0.0, "high": 0.0}
    assert twins["same_suggestion"] == {"samples": 1, "share": 1.0, "low": 1.0, "high": 1.0}
    assert (found["samples"], found["doubted"], found["accuracy"]) == (9, 1, 1.0 - 1 / 9)


def test_every_share_has_an_interval_around_it_and_rows_of_the_noise_sum_to_one() -> None:
    found = summary(rows({4: "positive", 8: "negative"}))
    assert found["wrong"]["share"] == pytest.approx(2 / 9)
    for true in LABELS:
        row = found["noise"][true]
        assert sum(each["share"] for each in row.values()) == pytest.approx(1)
        assert all(each["low"] <= each["share"] <= each["high"] for each in row.values())
    assert found["noise"]["neutral"]["positive"]["share"] == pytest.approx(1 / 3)
    assert found["noise"]["positive"]["negative"]["share"] == pytest.approx(1 / 3)
    assert found == summary(rows({4: "positive", 8: "negative"}))


def test_what_cannot_be_counted_is_absent() -> None:
    alone = audit.table(DATA, LABELS, {}, np.stack([SURE[LABELS[place % 3]] for place in range(9)]))
    found = summary(alone)
    assert found["twins"] == {
        name: {"samples": 0} for name in ("contradicted", "confirmed", "same_suggestion")
    }
    never = summary(rows(says={place: "negative" for place in (1, 4, 7)}))
    assert never["noise"]["neutral"] == dict.fromkeys(LABELS)


def test_planted_labels_are_found_from_features() -> None:
    parts = make_parts(train=120, val=0, noise=0.1)
    targets, planted = parts.train.targets.clone(), [5, 17, 33, 58, 71]
    targets[planted] = (targets[planted] + 1) % 3
    found, figures = audit.audit(replace(parts.train, targets=targets), LABELS, {}, SCALE)
    assert {str(place) for place in planted} <= set(found["guid"].head(8))
    assert figures["wrong"]["low"] < 5 / 120 < figures["wrong"]["high"]
    assert figures["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "there are no labelled rows"),
        (
            12,
            "audit.folds: 5 folds: the label 'negative' has 4 groups of samples: expected one for ",
        ),
    ],
)
def test_too_few_samples_give_a_note_and_no_rows(count: int, told: str) -> None:
    data: Dataset = make_parts(train=count, val=3).train
    found, figures = audit.audit(data, LABELS, {}, SCALE)
    assert list(figures) == ["note"]
    assert figures["note"].startswith(told)
    assert len(found) == 0
    assert {"guid", "label", "suggested", "twins"} <= set(found)
    assert audit.told(figures) == f"no audit: {figures['note']}"


def test_the_audit_is_told_in_words() -> None:
    found = summary(rows({3: "positive", 4: "positive"}, says={3: "negative"}))
    assert audit.told(found).startswith(
        "2 of 9 labels are doubted; estimated share of wrong labels"
    )
    assert "doubted: 0.667 of 3 contradicted, 0.000 of 2 confirmed by their twins" in audit.told(
        found
    )
