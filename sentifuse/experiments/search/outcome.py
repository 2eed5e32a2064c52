"""What a search has found: its trials, the best recipe, how much of that figure is luck, what to run next."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
import yaml
from optuna import Study
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial

from sentifuse.errors import UserError
from sentifuse.evaluation import plots
from sentifuse.experiments import reporting
from sentifuse.experiments.search import figures
from sentifuse.experiments.search.dimensions import as_text
from sentifuse.experiments.search.space import Space, nested
from sentifuse.experiments.search.study import DEFAULT, ERROR, SCORES, complete, finished
from sentifuse.runtime.files import write_csv, write_text

METRIC = "val.macro_f1"
_LEAST_FOR_IMPORTANCE = 10  # trials
_FRESH_SEED, _FRESH_SPLITS = 101, 10  # the splits for reporting: docs/protocol.md


@dataclass(frozen=True)
class Outcome:
    """The trials of a search.

    Attributes:
        space: what was searched.
        study: the name of the study.
        trials: all that are finished, pruned and failed ones too, in the order of their start.
        best: the one with the highest score; the first of equal ones.
        default: macro-F1 on validation of the default, one per split.
        noise: standard deviation of the chance in a trial's score; None if the trials do not tell.
    """

    space: Space
    study: str
    trials: Sequence[FrozenTrial]
    best: FrozenTrial
    default: Sequence[float]
    noise: float | None


def of(space: Space, study: Study) -> Outcome:
    """Reads the study.

    Raises:
        UserError: no trial was trained to its end.
    """
    trained = complete(study)
    if not trained:
        failed = [trial.user_attrs[ERROR] for trial in finished(study) if ERROR in trial.user_attrs]
        why = f": {failed[0]}" if failed else ""
        raise UserError(f"{space.path}: no trial came to its end, so there is no best one{why}")
    best = max(trained, key=lambda trial: trial.value or 0.0)
    scores = np.array([trial.user_attrs[SCORES] for trial in trained])
    default = study.user_attrs[DEFAULT]
    return Outcome(space, study.study_name, finished(study), best, default, noise(scores))


def noise(scores: "np.ndarray[Any, Any]") -> float | None:
    """The standard deviation of the chance in the mean score of a recipe.

    Some splits are harder for all recipes, and some recipes are better on all splits. What remains is chance:
    the residual of the two-way table.

    Args:
        scores: (N, J), of N recipes on J splits.

    Returns:
        It; None for one recipe or one split.
    """
    recipes, splits = scores.shape
    if min(recipes, splits) == 1:
        return None
    residuals = scores - scores.mean(axis=1, keepdims=True) - scores.mean(axis=0) + scores.mean()
    variance = float((residuals**2).sum()) / ((recipes - 1) * (splits - 1))
    return math.sqrt(variance / splits)


def table(outcome: Outcome) -> pd.DataFrame:
    """One row per trial: its number, state, score, macro-F1 on each split, seconds, values, error."""
    rows = []
    for trial in outcome.trials:
        scores = trial.user_attrs.get(SCORES, [])
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                "macro_f1": trial.value if scores else None,
                **{
                    f"split_{place}": scores[place - 1] if scores else None
                    for place in range(1, len(outcome.default) + 1)
                },
                "seconds": trial.duration.total_seconds() if trial.duration else None,
                **{
                    key: as_text(value) for key, value in outcome.space.values(trial.params).items()
                },
                "error": trial.user_attrs.get(ERROR, ""),
            }
        )
    return pd.DataFrame(rows)


def told(outcome: Outcome, recipe: Path) -> str:
    """What the search says at its end; `recipe` is the file with the best one."""
    states = [trial.state.name for trial in outcome.trials]
    failed = [trial.user_attrs[ERROR] for trial in outcome.trials if ERROR in trial.user_attrs]
    scores, default = outcome.best.user_attrs[SCORES], outcome.default
    pairs = [one - other for one, other in zip(scores, default, strict=True)]
    values = outcome.space.values(outcome.best.params)
    lines = [
        f"trials: {len(states)} ({states.count('PRUNED')} stopped early, {len(failed)} failed), "
        f"{_stages(outcome)}, macro-F1 on validation, mean of {len(default)} splits",
        *([f"the first that failed: {failed[0]}"] if failed else []),
        f"best:    {fmean(scores):.4f}, trial {outcome.best.number}: "
        + ", ".join(f"{key} {as_text(values[key])}" for key in outcome.space.dimensions),
        f"default: {fmean(default):.4f}; best minus default: {100 * fmean(pairs):+.1f} points, better on "
        f"{sum(pair > 0 for pair in pairs)} of {len(pairs)} splits",
        reporting.on_choosing(len(states), METRIC, outcome.noise),
        "",
        "On fresh splits:",
        *(f"  {command}" for command in commands(outcome, recipe)),
    ]
    return "\n".join(lines)


def commands(outcome: Outcome, recipe: Path) -> list[str]:
    """The commands that report the best recipe beside the default, on splits that chose nothing.

    The default comes first, for what `-S` sets stays in the workspace.
    """
    mode = outcome.space.recipe(outcome.best.params).input_mode
    fresh = (
        f"-S seed={_FRESH_SEED} -S ablate.repeats={_FRESH_SPLITS} "
        f"-S ablate.finetune={str(outcome.space.both_stages).lower()} -S 'ablate.modes=[{mode}]'"
    )
    name = outcome.space.path.stem
    return [
        f"dvc exp run -n {name}-default {fresh} ablate",
        f"dvc exp run -n {name}-best $(python -m sentifuse recipe {recipe}) {fresh} ablate",
        f"python -m sentifuse compare {name}-best {name}-default --variant {mode}",
    ]


def write(outcome: Outcome, study: Study, folder: Path) -> list[Path]:
    """Writes `trials.csv`, `best.yaml` and the figures; returns their paths."""
    write_csv(folder / "trials.csv", table(outcome))
    write_text(folder / "best.yaml", as_recipe(outcome))
    trained = complete(study)
    scores = {trial.number: float(trial.value or 0) for trial in trained}
    stopped = [trial.number for trial in outcome.trials if trial.number not in scores]
    dimensions = outcome.space.dimensions
    drawn = {
        "history": figures.history(scores, stopped, fmean(outcome.default)),
        "slices": figures.slices(
            dimensions, [trial.params for trial in trained], list(scores.values())
        ),
    }
    if len(trained) >= _LEAST_FOR_IMPORTANCE:
        shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
        drawn["importance"] = figures.importance(shares)
    named = {folder / f"{name}.png": figure for name, figure in drawn.items()}
    for path, figure in named.items():
        plots.save(figure, path)
    return [folder / "trials.csv", folder / "best.yaml", *named]


def as_recipe(outcome: Outcome) -> str:
    """The best recipe as a file that the command `recipe` reads."""
    about = (
        f"The best of {len(outcome.trials)} trials of {outcome.space.path}, {_stages(outcome)}: "
        f"{outcome.best.value:.4f} macro-F1 on validation, the mean of {len(outcome.default)} splits. "
        f"The default has {fmean(outcome.default):.4f}. Trial {outcome.best.number} of {outcome.study}."
    )
    values = nested(outcome.space.values(outcome.best.params), {})
    return (
        textwrap.fill(about, 100, initial_indent="# ", subsequent_indent="# ")
        + "\n\n"
        + yaml.safe_dump(values, sort_keys=False, default_flow_style=None)
    )


def _stages(outcome: Outcome) -> str:
    return "both stages" if outcome.space.both_stages else "stage 1 alone"
