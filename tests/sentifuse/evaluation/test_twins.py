from collections.abc import Collection

import numpy as np
import pandas as pd
import pytest

from sentifuse.config.recipe import IntervalOptions
from sentifuse.data import duplicates
from sentifuse.evaluation import twins
from sentifuse.evaluation.answers import MODEL, Answers
from sentifuse.metrics.scores import headline

INTERVAL = IntervalOptions(level=0.95, resamples=200)
KINDS = ["image_file", "near_identical_image", "text", "any"]


def table(*rows: tuple[str, str, str, str, str, str]) -> pd.DataFrame:
    """Rows of guid, group, split, hash of the file, hash of the picture, and text."""
    columns = ["guid", "group", "split", "image_sha256", "image_hash", "clean_text"]
    return pd.DataFrame(rows, columns=columns, dtype=str)


# In train: a file, a picture and a text.
TRAIN = [
    ("t1", "t1", "train", "F", "f", "f text"),
    ("t2", "t2", "train", "P", "p", "p text"),
    ("t3", "t3", "train", "T", "t", "the text"),
]
GROUPS = table(
    *TRAIN,
    ("file", "t1", "test", "F", "f", "other"),
    ("picture", "t2", "test", "Q", "p", "another"),
    ("text", "t3", "test", "R", "r", "the text"),
    # In the group of the text through a picture that is in validation.
    ("chain", "t3", "test", "S", "v", "no twin of its own"),
    ("linked", "t3", "val", "V", "v", "the text"),
    # Two of the test part, whose texts are both empty, as that of one in train.
    ("one", "one", "test", "X", "x", ""),
    ("two", "one", "test", "X", "x", ""),
    ("empty", "empty", "train", "Y", "y", ""),
)
TEST = ["file", "picture", "text", "chain", "one", "two", "alone", "other"]


def answers(wrong: Collection[str] = ()) -> Answers:
    targets = np.arange(len(TEST)) % 2
    predicted = np.array([1 - t if g in wrong else t for g, t in zip(TEST, targets, strict=True)])
    return Answers(("no", "yes"), TEST, targets, {MODEL: predicted})


def test_twins_are_found_by_kind_and_an_empty_text_is_none() -> None:
    found = twins.in_train(TEST, GROUPS)
    assert list(found) == KINDS
    own = {
        kind: [guid for guid, flag in zip(TEST, found[kind], strict=True) if flag] for kind in KINDS
    }
    assert own == {
        "image_file": ["file"],
        "near_identical_image": ["file", "picture"],
        "text": ["text"],
        "any": ["file", "picture", "text", "chain"],
    }


def test_scores_without_twins_are_those_of_the_others() -> None:
    made = answers(wrong={"chain", "one"})
    found = twins.scores(made, GROUPS, INTERVAL, seed=0)
    assert [found[kind]["samples"] for kind in KINDS] == [1, 2, 1, 4]
    left = np.array([guid in ("one", "two", "alone", "other") for guid in TEST])
    expected = headline(made.targets[left], made.predicted[left], 2)
    assert found["any"]["without"]["accuracy"] == expected["accuracy"] == 0.75
    assert found["any"]["without"]["macro_f1"] == expected["macro_f1"]
    for name in ("accuracy", "macro_f1"):
        ends = found["any"]["without"]["interval"][name]
        assert ends["low"] <= expected[name] <= ends["high"]
    assert found["text"]["without"]["accuracy"] == pytest.approx(5 / 7)


def test_a_model_that_knows_twins_by_heart_is_worse_without_them() -> None:
    made = answers(wrong={"one", "two", "alone"})
    found = twins.scores(made, GROUPS, INTERVAL, seed=0)
    assert (made.predicted == made.targets).mean() == 5 / 8
    assert found["any"]["without"]["accuracy"] == 1 / 4


def test_without_twins_there_are_zeros_only() -> None:
    none = GROUPS[GROUPS["split"] != "train"]
    assert twins.scores(answers(), none, INTERVAL, seed=0) == {
        kind: {"samples": 0} for kind in KINDS
    }
    assert twins.scores(answers(), GROUPS[:0], INTERVAL, seed=0)["any"] == {"samples": 0}


def test_if_all_have_a_twin_nothing_is_left_to_score() -> None:
    made = Answers(("no", "yes"), ["file"], np.array([1]), {MODEL: np.array([1])})
    assert twins.scores(made, GROUPS, INTERVAL, seed=0)["image_file"] == {"samples": 1}


def test_the_kinds_are_those_of_the_data_report() -> None:
    assert [*duplicates.LINKS, twins.ANY] == KINDS
