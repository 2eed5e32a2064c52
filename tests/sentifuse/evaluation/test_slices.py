"""Slices of made-up test parts, of which it is known where the model fails."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import pytest

from sentifuse.config.recipe import IntervalOptions
from sentifuse.evaluation import slices
from sentifuse.evaluation.answers import MODEL, Answers
from sentifuse.metrics import proportions

LABELS = ("negative", "neutral", "positive")
INTERVAL = IntervalOptions(level=0.95, resamples=200)
SCORES = [name for name in slices.COLUMNS if name not in ("slice", "value", "samples")]


def answers(targets: Sequence[int], right: Sequence[bool]) -> Answers:
    """Where it is wrong, the model answers the next class."""
    own = np.array(targets)
    predicted = np.where(right, own, (own + 1) % 3)
    return Answers(LABELS, [str(place) for place in range(len(own))], own, {MODEL: predicted})


def table(made: Answers, **columns: Sequence[str]) -> pd.DataFrame:
    return slices.table(pd.DataFrame(columns), made, INTERVAL, seed=0)


def row(found: pd.DataFrame, name: str, value: str) -> Mapping[str, float]:
    [own] = found[(found["slice"] == name) & (found["value"] == value)].to_dict("records")
    return {str(key): each for key, each in own.items()}


def drawn(samples: int = 300, seed: int = 0) -> tuple[Answers, np.ndarray]:
    """A model that is right in four of ten samples that are `hard`, and in nine of ten others."""
    rng = np.random.default_rng(seed)
    hard = rng.random(samples) < 0.2
    right = rng.random(samples) < np.where(hard, 0.4, 0.9)
    return answers(rng.integers(3, size=samples), right), hard


def yes(flags: np.ndarray) -> list[str]:
    return ["yes" if flag else "no" for flag in flags]


def test_the_slice_in_which_the_model_fails_comes_first_and_is_significant() -> None:
    made, hard = drawn()
    rng = np.random.default_rng(1)
    others = {f"luck{place}": yes(rng.random(300) < 0.5) for place in range(6)}
    found = table(made, **others, hard=yes(hard))
    assert tuple(found.loc[0, ["slice", "value"]]) == ("hard", "yes")
    assert list(found["accuracy"]) == sorted(found["accuracy"])
    worst = row(found, "hard", "yes")
    right = made.predicted == made.targets
    assert worst["accuracy"] == right[hard].mean()
    assert worst["minus_rest"] == pytest.approx(right[hard].mean() - right[~hard].mean())
    assert worst["minus_rest_low"] < worst["minus_rest"] < worst["minus_rest_high"] < 0
    assert worst["accuracy_low"] < worst["accuracy"] < worst["accuracy_high"]
    assert worst["p_holm"] < 0.001
    assert (found.loc[found["slice"] != "hard", "p_holm"] > 0.05).all()


def test_p_values_are_corrected_for_the_number_of_comparisons() -> None:
    made, hard = drawn()
    rng = np.random.default_rng(2)
    luck = {f"luck{place}": yes(rng.random(300) < 0.5) for place in range(4)}
    alone = row(table(made, hard=yes(hard)), "hard", "yes")
    # The slice and its rest are one comparison, not two.
    assert alone["p_holm"] == alone["p_value"]
    among = row(table(made, hard=yes(hard), **luck), "hard", "yes")
    assert among["p_value"] == alone["p_value"]
    assert among["p_holm"] == pytest.approx(5 * alone["p_value"])


def test_where_nothing_differs_the_correction_holds_its_promise() -> None:
    significant = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        made = answers(rng.integers(3, size=120), rng.random(120) < 0.7)
        columns = {f"luck{place}": yes(rng.random(120) < 0.4) for place in range(8)}
        significant += table(made, **columns)["p_holm"].min() < 0.05
    assert significant / 40 <= 0.1


@pytest.mark.parametrize(
    ("members", "samples", "is_scored"),
    [(19, 100, False), (20, 100, True), (80, 100, True), (81, 100, False), (20, 39, False)],
)
def test_a_slice_is_scored_if_it_and_the_rest_have_twenty_samples(
    members: int, samples: int, is_scored: bool
) -> None:
    made = answers(
        [place % 3 for place in range(samples)], [place % 2 == 0 for place in range(samples)]
    )
    flags = np.arange(samples) < members
    found = row(table(made, own=["in" if flag else "" for flag in flags]), "own", "in")
    assert found["samples"] == members
    assert all(pd.notna(found[name]) == is_scored for name in SCORES if "macro" not in name)


def test_slices_too_small_to_be_scored_come_last() -> None:
    made = answers([place % 3 for place in range(60)], [place % 4 > 0 for place in range(60)])
    languages = ["en"] * 30 + ["fr"] * 25 + ["de"] * 5
    found = table(made, language=languages)
    assert list(found["value"])[-1] == "de"
    assert found.loc[2, SCORES].isna().all()
    assert found.loc[:1, "p_holm"].notna().all()


def test_a_value_that_all_samples_have_is_no_slice() -> None:
    made = answers([0, 1, 2] * 20, [True] * 60)
    found = table(made, emoji=["no"] * 60)
    assert len(found) == 0
    assert list(found) == slices.COLUMNS


def test_an_empty_value_is_no_slice_but_part_of_the_rest() -> None:
    made = answers([0, 1, 2] * 20, [True] * 20 + [False] * 40)
    found = table(made, known=["a"] * 20 + ["b"] * 20 + [""] * 20)
    assert list(found["value"]) == ["b", "a"]
    assert row(found, "known", "a")["minus_rest"] == 1
    assert row(found, "known", "b")["minus_rest"] == pytest.approx(-1 / 2)


def test_a_slice_without_a_class_has_no_macro_f1_and_no_failure() -> None:
    targets = [0] * 20 + [0, 1, 2] * 10
    made = answers(targets, [True] * 20 + [place % 2 == 0 for place in range(30)])
    found = table(made, own=["one class"] * 20 + ["all classes"] * 30)
    one, all_of_them = row(found, "own", "one class"), row(found, "own", "all classes")
    assert one["accuracy"] == 1
    assert one["accuracy_low"] < 1
    assert pd.isna(one["macro_f1"])
    assert pd.isna(one["macro_f1_low"])
    assert all_of_them["macro_f1_low"] < all_of_them["macro_f1"] < all_of_them["macro_f1_high"]
    # The rest of it has no neutral and no positive sample to compare with.
    assert pd.isna(all_of_them["minus_rest_same_classes"])
    assert one["minus_rest_same_classes"] == pytest.approx(1 - 0.5)


def test_a_slice_that_is_hard_for_its_classes_alone_is_told_from_others() -> None:
    """Neutral samples are never right, and others always: nothing but the class decides."""
    targets = [1] * 30 + [0] * 10 + [1] * 10 + [0] * 25 + [2] * 25
    made = answers(targets, [target != 1 for target in targets])
    found = row(table(made, own=yes(np.arange(100) < 40)), "own", "yes")
    assert found["minus_rest"] == pytest.approx(10 / 40 - 50 / 60)
    assert found["minus_rest_same_classes"] == pytest.approx(0)


def test_classes_may_be_any() -> None:
    targets = np.arange(80) % 2
    made = Answers(("no", "yes"), [str(place) for place in range(80)], targets, {MODEL: targets})
    found = row(table(made, own=yes(np.arange(80) < 40)), "own", "yes")
    assert found["macro_f1"] == found["accuracy"] == 1


def test_the_same_seed_gives_the_same_table() -> None:
    made, hard = drawn()
    first, again = (table(made, hard=yes(hard)) for _ in range(2))
    pd.testing.assert_frame_equal(first, again, check_exact=True)


def test_the_level_is_that_of_the_params() -> None:
    made, hard = drawn()
    narrow = slices.table(
        pd.DataFrame({"hard": yes(hard)}), made, IntervalOptions(0.5, 200), seed=0
    )
    right = made.predicted == made.targets
    around = proportions.wilson((int(right[hard].sum()), int(hard.sum())), 0.5)
    assert narrow.loc[0, "accuracy_low"] == around.low
    assert narrow.loc[0, "accuracy_high"] == around.high


# summary


def test_the_summary_has_the_worst_slice() -> None:
    made, hard = drawn()
    found = slices.summary(table(made, hard=yes(hard)))
    assert found["scored"] == 2
    assert (found["worst"]["slice"], found["worst"]["value"]) == ("hard", "yes")
    assert slices.told(found).startswith("worst of 2 slices: hard: yes: accuracy 0.")


def test_without_a_scored_slice_there_is_no_worst() -> None:
    found = slices.summary(table(answers([0, 1], [True, False]), own=["a", "b"]))
    assert found == {"scored": 0}
    assert slices.told(found) == "slices: none has 20 samples, and 20 others beside it"
