"""Tests of running trials: what is drawn, stopped, kept and never seen."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import fmean, median
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from tests.places import ROOT
from tests.serial_pool import SerialPool

pytest.importorskip("optuna", reason="optuna is not installed (requirements-search.txt)")

from optuna import load_study
from optuna.trial import TrialState

from sentifuse.config import params
from sentifuse.data import splits
from sentifuse.errors import UserError
from sentifuse.experiments.search import space as spaces
from sentifuse.experiments.search import trials
from sentifuse.experiments.search.study import DEFAULT, ERROR, SCORES, Search, storage
from tests import toy_search
from tests.synthetic import IMAGE, LABELS, TEXT, make_features, with_arrays

RATES = "stage1.lr_head: {low: 1.0e-7, high: 1.0e-1, log: true}\n"
FUSIONS = "fusion: [concat, gated, film]\n"


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "ProcessPoolExecutor", SerialPool)
    monkeypatch.setattr(trials, "_start_worker", lambda free: None)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    toy_search.make_project(tmp_path)
    return tmp_path


def drawn(search: Search, count: int) -> list[tuple[str, dict[str, Any], float | None]]:
    study = trials.run(search, count, jobs=1)
    return [(trial.state.name, trial.params, trial.value) for trial in study.trials]


def test_it_finds_the_rates_at_which_the_model_learns(project: Path) -> None:
    study = trials.run(toy_search.make_search(project, RATES), 20, jobs=1)
    default = fmean(study.user_attrs[DEFAULT])
    assert study.best_value > default + 0.2
    assert study.best_params["stage1.lr_head"] > 3e-3
    # Half of the range is above 1e-4; what is drawn later is mostly there.
    assert median(trial.params["stage1.lr_head"] for trial in study.trials[-10:]) > 1e-3


def test_it_finds_out_that_one_modality_is_noise(tmp_path: Path) -> None:
    made = make_features([index % 3 for index in range(toy_search.SAMPLES)], noise=0.3)
    noise = np.random.default_rng(0).standard_normal(made.arrays[IMAGE].embeddings.shape)
    features = with_arrays(made, image={"embeddings": noise.astype(np.float32)})
    toy_search.make_project(tmp_path, features, **{"input_mode": "image_only"})
    text = "input_mode: [image_only, text_only]\nstage1.lr_head: [0.01, 0.02]"
    study = trials.run(toy_search.make_search(tmp_path, text), 12, jobs=1)
    assert study.best_params["input_mode"] == "text_only"


def test_a_trial_is_the_mean_of_macro_f1_on_validation_over_splits(project: Path) -> None:
    search = toy_search.make_search(project, "fusion: [concat]\nstage1.lr_head: [0.02]")
    study = trials.run(search, 1, jobs=1)
    [trial] = study.trials
    recipe = search.space.recipe(trial.params)
    expected = [
        trials.run_trial(recipe, trials.parts(search.data, seed), {}, seed=seed).val["macro_f1"]
        for seed in (1, 2)
    ]
    assert trial.user_attrs[SCORES] == expected
    assert trial.value == fmean(expected)
    # The last that is reported to the pruner is the score itself.
    assert trial.intermediate_values[max(trial.intermediate_values)] == pytest.approx(trial.value)


def test_the_default_is_run_once_and_is_a_trial_if_it_is_in_the_space(project: Path) -> None:
    inside = trials.run(toy_search.make_search(project, FUSIONS), 3, jobs=1)
    assert inside.trials[0].params == {"fusion": "concat"}
    assert inside.trials[0].user_attrs[SCORES] == inside.user_attrs[DEFAULT]
    assert len(inside.trials) == 3
    outside = trials.run(toy_search.make_search(project, "fusion: [gated, film]"), 3, jobs=1)
    assert outside.user_attrs[DEFAULT] == inside.user_attrs[DEFAULT]
    assert [trial.params for trial in outside.trials if trial.params["fusion"] == "concat"] == []


def test_both_stages_are_trained_if_the_space_has_a_key_of_stage_2(project: Path) -> None:
    search = toy_search.make_search(project, "stage2.lr_clip: [0.001, 0.01]")
    study = trials.run(search, 2, jobs=1)
    for trial in study.trials:
        # Two epochs of stage 2 on two splits; those of stage 1 are not reported.
        assert len(trial.intermediate_values) == 2 * 2
        values = [trial.intermediate_values[step] for step in sorted(trial.intermediate_values)]
        assert values == sorted(values)


def test_poor_trials_are_stopped_by_the_median(project: Path) -> None:
    study = trials.run(toy_search.make_search(project, RATES), 30, jobs=1)
    trained, stopped = (
        [trial for trial in study.trials if trial.state is state]
        for state in (TrialState.COMPLETE, TrialState.PRUNED)
    )
    assert len(stopped) >= 3
    for trial in stopped:
        step = max(trial.intermediate_values)
        others = [
            other.intermediate_values[step]
            for other in trained
            if other.number < trial.number and step in other.intermediate_values
        ]
        assert trial.intermediate_values[step] < median(others)
    assert min(len(trial.intermediate_values) for trial in stopped) <= 6  # in the first split


def test_the_test_part_is_never_seen(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials stay the same to the bit when labels and features of the test part are spoilt."""
    text = "fusion: [concat, gated]\nstage1.lr_head: {low: 0.001, high: 0.1, log: true}"
    search = toy_search.make_search(project, text, splits_drawn=1)
    plain = drawn(search, 4)
    reassign, read = splits.reassign, trials.schema.read
    spoilt: list[int] = []

    def with_wrong_labels(table: pd.DataFrame, **how: Any) -> pd.DataFrame:
        found = reassign(table, **how)
        own = found["split"] == "test"
        spoilt[:] = np.flatnonzero(own).tolist()
        found.loc[own, "label"] = found.loc[own, "label"].to_numpy()[::-1]
        return found

    def with_holes(folder: Path) -> Any:
        made = read(folder)
        holes = {key: each.embeddings.copy() for key, each in made.arrays.items()}
        for embeddings in holes.values():
            embeddings[spoilt] = np.nan
        return with_arrays(
            made, image={"embeddings": holes[IMAGE]}, text={"embeddings": holes[TEXT]}
        )

    monkeypatch.setattr(trials.splits, "reassign", with_wrong_labels)
    monkeypatch.setattr(trials.schema, "read", with_holes)
    trials.parts.cache_clear()
    other = replace(search, folder=project / "other")
    assert drawn(other, 4) == plain
    assert len(spoilt) == 30
    assert len(trials.parts(search.data, 1).test) == 0
    trials.parts.cache_clear()


def test_without_a_test_size_the_test_part_at_hand_is_left_out(project: Path) -> None:
    search = toy_search.make_search(project, FUSIONS)
    table = splits.read(search.data.splits)
    table.loc[:29, "split"] = "test"
    table.loc[30:39, "split"] = "unused"
    table.to_csv(search.data.splits, index=False)
    trials.parts.cache_clear()
    for seed in (1, 2):
        found = trials.parts(replace(search.data, test_size=0.0), seed)
        assert {*found.train.guids, *found.val.guids} == set(table["guid"][40:])
        assert len(found.val) == 22
    drawn_anew = trials.parts(search.data, 1)
    assert {*drawn_anew.train.guids, *drawn_anew.val.guids} & set(table["guid"][:30])
    trials.parts.cache_clear()


def test_a_search_goes_on_where_it_stopped(project: Path) -> None:
    search = toy_search.make_search(project, RATES)
    first = drawn(search, 4)
    second = drawn(search, 9)
    assert second[:4] == first
    assert drawn(search, 9) == second
    # As if it had not stopped: with one job, each trial is drawn from those before it.
    assert drawn(replace(search, folder=project / "at once"), 9) == second


@pytest.mark.parametrize("change", ["space", "params", "features", "splits", "seeds"])
def test_other_inputs_are_another_study(project: Path, change: str) -> None:
    search = toy_search.make_search(project, FUSIONS)
    before = search.name
    text, drawn_splits = FUSIONS, 2
    if change == "space":
        text += "head.dropout: [0.1, 0.3]"
    elif change == "params":
        own = (project / "params.yaml").read_text()
        (project / "params.yaml").write_text(own.replace('"epochs": 6', '"epochs": 5'))
    elif change == "features":
        path = project / "data/features/meta.json"
        path.write_text(path.read_text().replace("image print", "other print"))
    elif change == "splits":
        table = splits.read(search.data.splits)
        table.loc[0, "label"] = LABELS[1]
        table.to_csv(search.data.splits, index=False)
    else:
        drawn_splits = 3
    assert toy_search.make_search(project, text, drawn_splits).name != before


def test_the_same_inputs_are_the_same_study_wherever_the_file_stands(project: Path) -> None:
    search = toy_search.make_search(project, FUSIONS)
    (project / "elsewhere").mkdir()
    moved = (project / "space.yaml").rename(project / "elsewhere/space.yaml")
    again = spaces.read(moved, project / "params.yaml")
    assert replace(search, space=again).name == search.name
    assert search.name.startswith("space-")


def test_a_trial_that_cannot_be_trained_is_noted_and_not_run_again(project: Path) -> None:
    search = toy_search.make_search(project, "stage1.lr_head: [1.0e-4, 1.0e+30]")
    study = trials.run(search, 6, jobs=1)
    failed = [trial for trial in study.trials if trial.state is TrialState.FAIL]
    assert failed
    for trial in failed:
        assert trial.params == {"stage1.lr_head": "1e+30"}
        assert "expected finite numbers" in trial.user_attrs[ERROR]
    assert len(trials.run(search, 6, jobs=1).trials) == 6


def test_a_default_that_cannot_be_trained_stops_the_search(project: Path) -> None:
    toy_search.make_project(project, **{"stage1.lr_head": 1e30})
    with pytest.raises(UserError, match="expected finite numbers"):
        trials.run(toy_search.make_search(project, FUSIONS), 3, jobs=1)


def test_two_searches_do_not_share_a_folder(project: Path) -> None:
    search = toy_search.make_search(project, FUSIONS)
    search.folder.mkdir()
    with FileLock(search.folder / "lock"), pytest.raises(UserError, match="another search runs"):
        trials.run(search, 3, jobs=1)


def test_a_file_that_is_no_database_is_told(project: Path) -> None:
    search = toy_search.make_search(project, FUSIONS)
    search.folder.mkdir()
    (search.folder / "study.db").write_text("nothing of the kind, and long enough" * 9)
    with pytest.raises(UserError, match=r"study.db: not a database of this optuna \("):
        trials.run(search, 3, jobs=1)


# With real processes.

_SLOW = "stage1: {epochs: 20, early_stop_patience: 0, lr_head: {low: 0.0001, high: 0.1, log: true}}"


def command(project: Path, *more: str) -> "subprocess.Popen[str]":
    (project / "space.yaml").write_text(_SLOW)
    return subprocess.Popen(
        [sys.executable, "-m", "sentifuse", "search", "space.yaml", "--jobs", "2", *more],
        cwd=project,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore Ctrl-C, and so would all that they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.3)


def states(project: Path) -> list[str]:
    """Those of the trials of a running search; optuna would get in its way while it makes the tables."""
    path = project / "data/search/study.db"
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            return [state for (state,) in database.execute("SELECT state FROM trials")]
    except sqlite3.OperationalError:
        return []


def trials_of(project: Path) -> list[Any]:
    """What the database of an ended search has."""
    search = toy_search.make_search(project, _SLOW, splits_drawn=3)
    search = replace(search, seed=params.load(spaces.SearchParams, project / "params.yaml").seed)
    return load_study(study_name=search.name, storage=storage(search.folder)).trials


@pytest.mark.pipeline
def test_after_a_kill_finished_trials_stay_and_the_others_begin_anew(project: Path) -> None:
    killed = command(project, "--trials", "50")

    wait_for(lambda: len(states(project)) >= 6 and "RUNNING" in states(project))
    os.kill(killed.pid, signal.SIGKILL)
    killed.communicate()
    before = trials_of(project)
    done = [each for each in before if each.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    running = [each for each in before if each.state is TrialState.RUNNING]
    again = command(project, "--trials", str(len(done) + 3))
    out, err = again.communicate(timeout=240)
    assert again.returncode == 0, err
    after = trials_of(project)
    for trial in done:
        assert after[trial.number] == trial
    for trial in running:
        assert after[trial.number].state is TrialState.FAIL
        assert [each.params for each in after[len(before) :]].count(trial.params) == 1
    assert len(after) == len(before) + 3
    assert f"trials: {len(done) + 3} (" in out


@pytest.mark.pipeline
def test_ctrl_c_ends_it_with_what_there_is(project: Path) -> None:
    stopped = command(project, "--trials", "500")
    wait_for(lambda: len(states(project)) >= 5)
    os.kill(stopped.pid, signal.SIGINT)
    out, err = stopped.communicate(timeout=240)
    assert stopped.returncode == 0, err
    assert "Traceback" not in err
    assert " of 500 trials: the same command goes on\n" in out
    assert (project / "data/search/best.yaml").exists()
