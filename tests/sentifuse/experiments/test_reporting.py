import csv
from dataclasses import replace

import pytest

from sentifuse.experiments import reporting as report
from sentifuse.experiments.read import Experiment
from tests.search import experiment

METRIC = "val.macro_f1"
RUNS = [
    experiment("b", 0.62, fusion="gated", seed=1, dims=[], revision=None),
    experiment("a", 0.51, fusion="film", seed=1, dims=[8, 4], revision="main"),
    experiment("c", 0.5, fusion="film", seed=1, dims=[8, 4], revision=None, added=True),
]


def test_the_summary_says_what_counts_and_what_does_not() -> None:
    chosen = [
        *RUNS,
        replace(RUNS[0], name="workspace", same_as="b"),
        replace(experiment("half", None), stale=("metrics/ablate.json",)),
    ]
    text = report.summary(chosen, RUNS, {"failed": 2, "queued": 1}, METRIC)
    assert text.split("\n") == [
        "experiments with val.macro_f1: 3",
        "not counted again, same params and metrics: workspace = b",
        "without val.macro_f1: 1 (half)",
        "left out, not run again with these params: metrics/ablate.json of 1",
        "left out (2 failed, 1 queued)",
    ]
    assert report.summary(RUNS, RUNS, {}, METRIC) == "experiments with val.macro_f1: 3"


def test_the_table_shows_the_params_that_differ_among_its_rows() -> None:
    table = report.top_table(RUNS, METRIC, 2, [])
    assert table.columns == ["rank", "experiment", METRIC, "fusion", "dims", "revision"]
    assert table.rows == [
        ["1", "b", "0.6200", "gated", "[]", "null"],
        ["2", "a", "0.5100", "film", "[8, 4]", "main"],
    ]
    chosen = report.top_table(RUNS, METRIC, 9, ["seed", "added"])
    assert [row[3:] for row in chosen.rows] == [["1", ""], ["1", ""], ["1", "true"]]
    assert chosen.numbers == {"rank", METRIC, "seed"}


def test_the_table_has_intervals_where_there_are_some() -> None:
    ends = {"val.interval.macro_f1.low": 0.4, "val.interval.macro_f1.high": 0.7}
    first = replace(RUNS[0], metrics={**RUNS[0].metrics, **ends})
    table = report.top_table([first, RUNS[1]], METRIC, 2, ["seed"])
    assert table.columns[3] == "interval"
    assert [row[3] for row in table.rows] == ["0.4000 to 0.7000", ""]


def test_a_single_run_has_no_deviation() -> None:
    text = report.group_table(RUNS, METRIC, ["fusion"]).text()
    assert text.split("\n") == [
        "fusion    mean      sd    best  count",
        "gated   0.6200       -  0.6200      1",
        "film    0.5050  0.0071  0.5100      2",
    ]
    assert "nan" not in text


def test_correlations_are_called_no_effects() -> None:
    runs = [
        experiment(name, score, dropout=dropout)
        for name, score, dropout in (
            ("a", 0.5, 0.1),
            ("b", 0.6, 0.2),
            ("c", 0.7, 0.3),
            ("d", 0.8, 0.4),
        )
    ]
    text = report.correlations(runs, METRIC)
    assert "dropout         +1.00  <.001  4" in text
    assert "not an effect" in text
    assert "by chance" in text
    assert "no correlations" in report.correlations(RUNS, METRIC)


@pytest.mark.parametrize(
    ("count", "metric", "said"),
    [
        (1, METRIC, "One experiment"),
        (9, METRIC, "report the test part"),
        (9, "test.x", "no estimate"),
    ],
)
def test_the_best_of_many_is_said_to_be_high_by_luck(count: int, metric: str, said: str) -> None:
    assert said in report.on_choosing(count, metric)


def test_luck_is_told_where_the_noise_is_known() -> None:
    said = report.on_choosing(100, "val.macro_f1", noise=0.004)
    assert (
        "high by luck too (by 1.0 points if all recipes are equally good): as an estimate" in said
    )


def test_the_csv_keeps_lists_nulls_and_what_is_not_there_apart() -> None:
    clash = Experiment("z,z", "r", "main", "", {"fusion": "null"}, {"fusion": 3, "seed": 2})
    runs = [experiment("none", None, fusion="x"), RUNS[2], clash, RUNS[0], RUNS[1]]
    header, *rows = csv.reader(report.as_csv(runs, METRIC).splitlines())
    assert header[:5] == ["name", "rev", "baseline", "created", "same_as"]
    assert [row[0] for row in rows] == ["b", "a", "c", "none", "z,z"]
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    assert columns["dims"] == ("[]", "[8, 4]", "[8, 4]", "", "")
    assert columns["revision"] == ("null", "main", "null", "", "")
    assert columns["added"] == ("", "", "true", "", "")
    assert columns[METRIC] == ("0.62", "0.51", "0.5", "", "")
    assert columns["metrics:fusion"][-1] == "3"
    assert len(set(header)) == len(header)
