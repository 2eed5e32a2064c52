"""Trials side by side: optuna's TPE draws them (Bergstra et al. 2011), medians stop the poor ones.

A trial trains a recipe on some splits, one after the other. Its score is the mean macro-F1 on validation; the
test parts are left out before training.
"""

import itertools
import multiprocessing
import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache, partial
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from statistics import fmean
from typing import Any

from filelock import FileLock, Timeout
from optuna import Study, Trial, TrialPruned, load_study
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import MedianPruner
from optuna.samplers import PartialFixedSampler, TPESampler
from optuna.trial import TrialState

from sentifuse.config.recipe import Recipe
from sentifuse.data import splits
from sentifuse.errors import UserError
from sentifuse.experiments.search.study import (
    DEFAULT,
    ERROR,
    SCORES,
    Data,
    Search,
    complete,
    finished,
    interrupted,
    note_default,
    open_study,
    storage,
)
from sentifuse.features import schema
from sentifuse.features.parts import Parts, load_parts
from sentifuse.runtime import worker
from sentifuse.runtime.progress import progress
from sentifuse.training.loop import NO_HOOKS, Hooks
from sentifuse.training.trial import run_trial
from sentifuse.training.two_stage import tail_weights

_FREE_TRIALS, _FREE_EPOCHS = 16, 3  # which no median stops
# Trials are compared at the same step: the epoch, plus this for each run of `fit` and each split before it.
_RUN, _SPLIT = 10**4, 10**7


def run(search: Search, trials: int, jobs: int) -> Study:
    """Runs the default once, and trials until the study has as many as `trials`; Ctrl-C ends it earlier.

    Raises:
        UserError: the default cannot be trained, a worker was killed, or another search runs in the folder.
    """
    # What is wrong with the data is told here. Forked workers have them then.
    for seed in search.seeds:
        parts(search.data, seed)
    with _alone(search.folder), _pool(jobs, search.device) as pool:
        # The processes start here: before there is a connection that they would share, or a thread.
        pool.submit(int).result()
        study = open_study(search)
        try:
            _run_all(search, study, trials, pool)
        except KeyboardInterrupt:
            for process in multiprocessing.active_children():
                process.terminate()
    return study


def _run_all(search: Search, study: Study, trials: int, pool: ProcessPoolExecutor) -> None:
    with progress("search", trials, "trials") as shown:
        if DEFAULT not in study.user_attrs:
            scores = list(pool.map(partial(_score, search, search.space.default), search.seeds))
            note_default(study, search.space, scores)
        numbers = range(len(finished(study)), trials)
        again = itertools.chain(interrupted(study, search.space), itertools.repeat({}))
        shown.update(numbers.start)
        jobs = zip(numbers, again, strict=False)
        for future in as_completed([pool.submit(_trial, search, *job) for job in jobs]):
            future.result()
            best = max((trial.value or 0.0 for trial in complete(study)), default=0.0)
            shown.advance(1, f"best {best:.4f}, default {fmean(study.user_attrs[DEFAULT]):.4f}")


@cache
def parts(data: Data, seed: int) -> Parts:
    """The split that `seed` draws, its test part and the rows to predict left out.

    With a `test_size` of 0 the test part that the table has is left out before the rest is split.

    Raises:
        UserError: no features, labels that are not known, or too few rows for such a split.
    """
    table = splits.read(data.splits)
    if data.test_size == 0:
        table = table[table["split"] != "test"]
    table = splits.reassign(table, seed=seed, val_size=data.val_size, test_size=data.test_size)
    return load_parts(
        schema.read(data.features), table[table["split"].isin(["train", "val"])], data.labels
    )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        # A killed search keeps its lock until its workers have ended, which takes a moment.
        with FileLock(folder / "lock", timeout=2):
            yield
    except Timeout:
        raise UserError(
            f"{folder}: another search runs there: wait for it, or choose another --out"
        ) from None


@contextmanager
def _pool(jobs: int, device: str) -> Iterator[ProcessPoolExecutor]:
    """Processes for trials."""
    context, free, workers = worker.places(device, jobs)
    with ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(free,)
    ) as pool:
        try:
            yield pool
        except BrokenProcessPool:
            raise UserError(
                "search: a worker was killed (out of memory?): run the command again, with more memory "
                "free or with `--jobs 1`"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _start_worker(free: "SimpleQueue[str]") -> None:
    worker.start_on(free)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that owns the pool ends it


@cache
def _study(folder: Path, name: str) -> Study:
    """The study in a worker, which opens it once."""
    pruner = MedianPruner(n_startup_trials=_FREE_TRIALS, n_warmup_steps=_FREE_EPOCHS)
    return load_study(study_name=name, storage=storage(folder), pruner=pruner)


def _trial(search: Search, number: int, drawn: Mapping[str, Any]) -> None:
    """Trains a recipe on all splits, unless it is stopped.

    Args:
        search: what is searched.
        number: its own.
        drawn: the values of one that a kill ended; empty to draw new ones.
    """
    study = _study(search.folder, search.name)
    # One job alone draws the same trials each time, killed in between or not.
    study.sampler = TPESampler(seed=search.seed + number)
    if drawn:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)  # optuna is pinned
            study.sampler = PartialFixedSampler(dict(drawn), study.sampler)
    trial = study.ask(search.space.distributions())
    recipe, scores = search.space.recipe(trial.params), list[float]()
    try:
        for seed in search.seeds:
            report = _Report(trial, recipe, scores, len(search.seeds))
            scores.append(_score(search, recipe, seed, Hooks(report.on_epoch)))
    except TrialPruned:
        study.tell(trial, state=TrialState.PRUNED)
    except UserError as error:  # a rate so high that the loss is not finite
        trial.set_user_attr(ERROR, str(error))
        study.tell(trial, state=TrialState.FAIL)
    else:
        trial.set_user_attr(SCORES, scores)
        study.tell(trial, fmean(scores))


def _score(search: Search, recipe: Recipe, seed: int, hooks: Hooks = NO_HOOKS) -> float:
    """Macro-F1 on validation, on the split that `seed` draws."""
    data = parts(search.data, seed)
    meta = data.train.features.meta
    weights = {} if recipe.stage2 is None else tail_weights(search.data.features, meta)
    trial = run_trial(recipe, data, weights, seed=seed, device=search.device, hooks=hooks)
    return trial.val["macro_f1"]


class _Report:
    """Reports the epochs of a split, and raises `TrialPruned` if the trial is below the median of others.

    What is reported is the sum of the best macro-F1 of each split over the number of all splits: it never
    falls, as the median rule expects, and ends at the score of the trial. Where stage 2 follows, stage 1 is
    not reported: it tells little of what comes.
    """

    def __init__(self, trial: Trial, recipe: Recipe, before: Sequence[float], splits: int) -> None:
        self._trial, self._before, self._splits = trial, before, splits
        self._best = 0.0
        # The runs of `fit` that began: 0 is the first one that is reported.
        self._runs = -1 if recipe.stage2 is None else -2

    def on_epoch(self, row: dict[str, float]) -> None:
        epoch = int(row["epoch"])
        self._runs += epoch == 1
        self._best = max(self._best, row["val_macro_f1"])
        if self._runs < 0:
            return
        step = len(self._before) * _SPLIT + self._runs * _RUN + epoch
        self._trial.report((sum(self._before) + self._best) / self._splits, step)
        if self._trial.should_prune():
            raise TrialPruned
