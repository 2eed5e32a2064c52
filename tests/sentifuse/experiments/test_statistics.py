import math

import numpy as np
import pytest

from sentifuse.errors import UserError
from sentifuse.experiments import statistics
from sentifuse.experiments.read import Experiment
from tests.search import experiment


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("val.macro_f1", False),
        ("val.per_class.neutral.f1", False),
        ("test.accuracy", True),
        ("test.interval.macro_f1.low", True),
        ("ablate.multimodal.macro_f1.mean", True),
        ("baselines.text_only.model_minus.accuracy.mean", True),
        ("other.test.accuracy", True),
        ("contest", False),
    ],
)
def test_metrics_of_the_test_part_are_known(metric: str, expected: bool) -> None:
    assert statistics.is_test(metric) is expected


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("concat", "concat"),
        (None, "null"),
        (True, "true"),
        ([256, 64], "[256, 64]"),
        (5e-6, "5e-06"),
    ],
)
def test_params_become_text_that_tells_them_apart(found: object, expected: str) -> None:
    assert statistics.param_text(experiment("a", 0.5, key=found), "key") == expected
    assert statistics.param_text(experiment("a", 0.5), "key") == ""


def test_ranks_go_down_and_equal_ones_by_name() -> None:
    runs = [
        experiment(*pair)
        for pair in (("c", 0.5), ("none", None), ("b", 0.5), ("a", 0.4), ("d", 0.6))
    ]
    ranked = statistics.rank(runs, "val.macro_f1")
    assert [one.name for one in ranked] == ["d", "b", "c", "a"]
    assert statistics.rank(reversed(runs), "val.macro_f1") == ranked


def test_a_key_that_some_lack_differs() -> None:
    runs = [experiment("a", 0.5, seed=1, x=None), experiment("b", 0.5, seed=1, x=None, new=0)]
    assert statistics.varying(runs) == ["new"]
    assert statistics.varying(runs[:1]) == []


def test_params_that_change_the_samples_are_known() -> None:
    keys = ["seed", "split.seed", "data.root", "labels", "database", "stage1.seed"]
    assert statistics.of_other_data(keys) == ["split.seed", "data.root", "labels"]


def test_selecting_compares_texts_of_all_params_given() -> None:
    runs = [
        experiment("a", 0.5, fusion="gated", dims=[]),
        experiment("b", 0.5, fusion="gated", dims=[8]),
        experiment("c", 0.5, fusion="film", dims=[8]),
    ]
    assert [one.name for one in statistics.select(runs, {"fusion": "gated", "dims": "[8]"})] == [
        "b"
    ]
    assert statistics.select(runs, {}) == runs


def test_an_unknown_name_comes_with_those_like_it() -> None:
    known = ["val.macro_f1", "val.accuracy", "test.accuracy"]
    statistics.check_known("metric", known, known)
    with pytest.raises(UserError, match=r"^val\.acuracy: no .* metric; there is val\.accuracy"):
        statistics.check_known("metric", ["val.acuracy"], known)
    with pytest.raises(UserError, match=r"macro_f1: .* there is val\.macro_f1"):
        statistics.check_known("metric", ["macro_f1"], known)
    with pytest.raises(UserError, match=r"zzz: .* there is val\.macro_f1, val\.accuracy"):
        statistics.check_known("metric", ["zzz"], known)


def test_the_group_with_the_largest_mean_comes_first() -> None:
    runs = [
        experiment("a", 0.5, fusion="film", seed=1),
        experiment("b", 0.7, fusion="film", seed=1),
        experiment("c", 0.65, fusion="gated", seed=1),
        experiment("d", None, fusion="gated", seed=1),
    ]
    groups = statistics.group(runs, "val.macro_f1", ["fusion"])
    assert list(groups.items()) == [(("gated",), [0.65]), (("film",), [0.7, 0.5])]
    by_two = statistics.group(runs, "val.macro_f1", ["seed", "fusion"])
    assert list(by_two) == [("1", "gated"), ("1", "film")]


def made_up(count: int) -> list[Experiment]:
    rng = np.random.default_rng(0)
    return [
        experiment(
            f"run{number}",
            0.5 + 0.02 * number + 0.01 * float(rng.normal()),
            seed=number,
            constant=3,
            stage2__lr_clip=10.0 ** (number - 6),
            dropout=float(rng.uniform(0.2, 0.8)) if number else None,
            flag=number % 2 == 0,
            fusion="concat",
        )
        for number in range(count)
    ]


def test_correlations_are_of_numbers_that_vary_and_rates_by_decade_too() -> None:
    runs = [*made_up(6), experiment("none", None, seed=9, dropout=9.0)]
    found = {one.name: one for one in statistics.correlate(runs, "val.macro_f1")}
    assert set(found) == {"stage2.lr_clip", "log10(stage2.lr_clip)", "dropout"}
    scores = [one.metrics["val.macro_f1"] for one in runs[:6]]
    by_decade = found["log10(stage2.lr_clip)"]
    assert by_decade.r == pytest.approx(np.corrcoef(range(6), scores)[0, 1])
    assert by_decade.r > found["stage2.lr_clip"].r
    assert (by_decade.n, found["dropout"].n) == (6, 5)
    # t = r sqrt((n - 2) / (1 - r^2)) with n - 2 degrees of freedom.
    t = found["dropout"].r * math.sqrt(3 / (1 - found["dropout"].r ** 2))
    draws = np.random.default_rng(1).standard_t(3, 200_000)
    assert found["dropout"].p == pytest.approx(np.mean(np.abs(draws) > abs(t)), abs=0.01)


def test_the_strongest_correlation_comes_first() -> None:
    strengths = [abs(one.r) for one in statistics.correlate(made_up(6), "val.macro_f1")]
    assert strengths == sorted(strengths, reverse=True)


def test_two_experiments_or_one_score_have_no_correlation() -> None:
    assert statistics.correlate(made_up(2), "val.macro_f1") == []
    level = [experiment(f"run{number}", 0.5, dropout=number / 4) for number in range(4)]
    assert statistics.correlate(level, "val.macro_f1") == []


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [((1e-4, 1e-3), True), ((1e-4, 9e-4), False), ((0.0, 1.0), False), ((-1.0, 10.0), False)],
)
def test_a_decade_is_ten_times_of_something_positive(
    numbers: tuple[float, float], expected: bool
) -> None:
    assert statistics.spans_decade(numbers) is expected


def test_the_interval_stands_beside_its_metric() -> None:
    metrics = {"val.f1": 0.5, "val.interval.f1.low": 0.4, "val.interval.f1.high": 0.6, "val.x": 1.0}
    one = Experiment("a", "", "", "", {}, metrics)
    assert statistics.interval(one, "val.f1") == (0.4, 0.6)
    assert statistics.interval(one, "val.x") is None


@pytest.mark.parametrize("count", [1, 2, 10, 100])
def test_luck_is_the_mean_of_the_largest_of_many_draws(count: int) -> None:
    drawn = np.random.default_rng(0).normal(0, 0.5, size=(20_000, count))
    assert statistics.luck(count, 0.5) == pytest.approx(drawn.max(axis=1).mean(), abs=0.01)
