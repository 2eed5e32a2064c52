"""Tests of what a search tells and writes."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("optuna", reason="optuna is not installed (requirements-search.txt)")

from optuna import Study, create_study, create_trial
from optuna.trial import TrialState

from sentifuse.config.overrides import as_options
from sentifuse.errors import UserError
from sentifuse.experiments.search import outcome as outcomes
from sentifuse.experiments.search import space as spaces
from sentifuse.experiments.search.outcome import Outcome
from sentifuse.experiments.search.space import Space
from sentifuse.experiments.search.study import DEFAULT, ERROR, SCORES
from tests.places import ROOT

SPACE = """\
fusion: [concat, gated]
head.hidden_dims: [[256, 64], [], [64]]
stage1: {epochs: 12, lr_head: {low: 1.0e-5, high: 1.0e-2, log: true}}
"""
SCORED = [(0.60, 0.64), (0.66, 0.70), (0.61, 0.66), *((0.59, 0.62 + 0.001 * n) for n in range(9))]


@pytest.fixture
def space(tmp_path: Path) -> Space:
    (tmp_path / "toy.yaml").write_text(SPACE)
    return spaces.read(tmp_path / "toy.yaml", ROOT / "params.yaml")


@pytest.fixture
def study(space: Space) -> Study:
    """Trained trials, one that was stopped early, and one that failed."""
    made = create_study(direction="maximize", study_name="toy-123")
    made.set_user_attr(DEFAULT, [0.61, 0.65])
    rates = np.geomspace(1.23456e-5, 1e-2, len(SCORED))
    for number, (scores, rate) in enumerate(zip(SCORED, rates, strict=True)):
        drawn = {
            "fusion": ["concat", "gated"][number % 2],
            "head.hidden_dims": ["[256,64]", "[]", "[64]"][number % 3],
            "stage1.lr_head": float(rate),
        }
        made.add_trial(
            create_trial(
                params=drawn,
                distributions=space.distributions(),
                value=sum(scores) / 2,
                user_attrs={SCORES: list(scores)},
            )
        )
    for state, value, noted in (
        (TrialState.PRUNED, 0.3, {}),
        (TrialState.FAIL, None, {ERROR: "epoch 1: the loss is nan"}),
    ):
        made.add_trial(
            create_trial(
                state=state,
                params=drawn,
                distributions=space.distributions(),
                value=value,
                user_attrs=noted,
            )
        )
    return made


@pytest.fixture
def found(space: Space, study: Study) -> Outcome:
    return outcomes.of(space, study)


def test_noise_is_what_neither_recipe_nor_split_explains() -> None:
    rng = np.random.default_rng(0)
    recipes, parts = rng.normal(0.6, 0.1, (4000, 1)), np.array([[-0.2, 0.0, 0.3]])
    scores = recipes + parts + rng.normal(0, 0.02, (4000, 3))
    assert outcomes.noise(scores) == pytest.approx(0.02 / 3**0.5, rel=0.03)
    assert outcomes.noise(recipes + parts) == pytest.approx(0, abs=1e-12)
    assert outcomes.noise(scores[:1]) is None
    assert outcomes.noise(scores[:, :1]) is None


def test_it_tells_the_best_the_default_the_luck_and_what_to_run(found: Outcome) -> None:
    said = outcomes.told(found, Path("data/search/best.yaml"))
    assert "trials: 14 (1 stopped early, 1 failed), stage 1 alone, " in said
    assert "the first that failed: epoch 1: the loss is nan" in said
    assert (
        "best:    0.6800, trial 1: fusion gated, head.hidden_dims [], stage1.lr_head 2.27e-05"
        in said
    )
    assert "default: 0.6300; best minus default: +5.0 points, better on 2 of 2 splits" in said
    assert "The best of 14 figures is high by luck too (by 0." in said
    for command in (
        "dvc exp run -n toy-default -S seed=101 -S ablate.repeats=10 -S ablate.finetune=false "
        "-S 'ablate.modes=[multimodal]' ablate",
        "dvc exp run -n toy-best $(python -m sentifuse recipe data/search/best.yaml) -S seed=101 "
        "-S ablate.repeats=10 -S ablate.finetune=false -S 'ablate.modes=[multimodal]' ablate",
        "python -m sentifuse compare toy-best toy-default --variant multimodal",
    ):
        assert f"\n  {command}" in said


def test_the_best_recipe_comes_back_as_options_and_as_what_was_trained(
    found: Outcome, study: Study, tmp_path: Path
) -> None:
    outcomes.write(found, study, tmp_path / "out")
    options = as_options(tmp_path / "out/best.yaml", ROOT / "params.yaml")
    assert options == [
        "-S", "stage1.epochs=12", "-S", "stage1.lr_head=2.27e-05", "-S", "fusion=gated",
        "-S", "head.hidden_dims=[]",
    ]  # fmt: skip
    recipe = found.space.recipe(found.best.params)
    assert recipe.stage1.lr_head == 2.27e-05
    text = (tmp_path / "out/best.yaml").read_text()
    assert text.startswith("# The best of 14 trials of ")
    assert "0.6800 macro-F1 on validation" in " ".join(text.replace("\n# ", " ").split())
    assert max(map(len, text.splitlines())) <= 120


def test_every_trial_is_a_row(found: Outcome, study: Study, tmp_path: Path) -> None:
    written = outcomes.write(found, study, tmp_path)
    assert [path.name for path in written] == [
        "trials.csv", "best.yaml", "history.png", "slices.png", "importance.png",
    ]  # fmt: skip
    assert all(path.stat().st_size > 100 for path in written)
    rows = list(csv.DictReader((tmp_path / "trials.csv").open()))
    assert len(rows) == 14
    assert rows[1] | {"seconds": ""} == {
        "trial": "1", "state": "complete", "macro_f1": "0.680000", "split_1": "0.660000",
        "split_2": "0.700000", "seconds": "", "stage1.epochs": "12", "fusion": "gated",
        "head.hidden_dims": "[]", "stage1.lr_head": "2.27e-05", "error": "",
    }  # fmt: skip
    assert (rows[-2]["state"], rows[-2]["macro_f1"]) == ("pruned", "")
    assert (rows[-1]["state"], rows[-1]["error"]) == ("fail", "epoch 1: the loss is nan")


def test_the_commands_train_both_stages_and_the_mode_that_was_searched(
    found: Outcome, tmp_path: Path
) -> None:
    (tmp_path / "modes.yaml").write_text("input_mode: [text_only, image_only]\nstage2.epochs: 1\n")
    space = spaces.read(tmp_path / "modes.yaml", ROOT / "params.yaml")
    best = create_trial(
        params={"input_mode": "text_only"}, distributions=space.distributions(), value=0.6
    )
    default, own, compare = outcomes.commands(replace(found, space=space, best=best), Path("b"))
    assert "-S ablate.finetune=true -S 'ablate.modes=[text_only]'" in default
    assert "-S ablate.finetune=true -S 'ablate.modes=[text_only]'" in own
    assert compare.endswith("--variant text_only")


def test_without_a_trained_trial_there_is_no_best_one(space: Space) -> None:
    study = create_study(direction="maximize")
    study.set_user_attr(DEFAULT, [0.5])
    with pytest.raises(UserError, match=r"no trial came to its end, so there is no best one$"):
        outcomes.of(space, study)
    study.add_trial(create_trial(state=TrialState.FAIL, user_attrs={ERROR: "why"}))
    with pytest.raises(UserError, match=r"no best one: why$"):
        outcomes.of(space, study)
