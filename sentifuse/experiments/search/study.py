"""Trials side by side: optuna's TPE draws them (Bergstra et al. 2011), medians stop the poor ones.

A trial trains a recipe on some splits, one after the other. Its score is the mean macro-F1 on validation; the
test parts are left out before training. All that is known of a trial stands in SQLite, so that a search goes
on after a kill.
"""

import hashlib
import itertools
import multiprocessing
import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, cached_property, partial
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from statistics import fmean
from typing import Any

import sqlalchemy
from filelock import FileLock, Timeout
from optuna import Study, Trial, TrialPruned, create_study, create_trial, load_study
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import MedianPruner
from optuna.samplers import PartialFixedSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from sentifuse.config.recipe import Recipe
from sentifuse.data import splits
from sentifuse.errors import UserError
from sentifuse.experiments.search.space import Space
from sentifuse.features import schema
from sentifuse.features.parts import Parts, load_parts
from sentifuse.runtime import worker
from sentifuse.runtime.progress import progress
from sentifuse.training.loop import NO_HOOKS, Hooks
from sentifuse.training.trial import run_trial
from sentifuse.training.two_stage import tail_weights

DEFAULT, SCORES, ERROR = "default", "scores", "error"  # what is noted of a study and its trials
_FREE_TRIALS, _FREE_EPOCHS = 16, 3  # which no median stops
_SECONDS_FOR_A_LOCK = 60.0  # that another worker holds while it writes
# Trials are compared at the same step: the epoch, plus this for each run of `fit` and each split before it.
_RUN, _SPLIT = 10**4, 10**7
# The files that say what the features are of.
_DESCRIBING = ("meta.json", "encoding.json", "guids.txt")


@dataclass(frozen=True)
class Data:
    """What is trained on: the folder of the features, the split table, class names, shares of the parts."""

    features: Path
    splits: Path
    labels: tuple[str, ...]
    val_size: float
    test_size: float


@dataclass(frozen=True)
class Search:
    """A space on some data.

    Attributes:
        space: what is searched.
        data: what each trial is trained on.
        seeds: of the splits; each is that of training, too.
        seed: of what is drawn from the space.
        folder: where the database stands.
        device: where trials are trained, `cpu` or `cuda`.
    """

    space: Space
    data: Data
    seeds: Sequence[int]
    seed: int
    folder: Path
    device: str = "cpu"

    @cached_property
    def name(self) -> str:
        """The study's: another one for other inputs."""
        space, data = self.space, self.data
        digest = hashlib.sha256(
            repr(
                [space.dimensions, space.fixed, space.params, self.seeds, self.seed, self.device]
            ).encode()
        )
        for path in (*(data.features / name for name in _DESCRIBING), data.splits):
            digest.update(path.read_bytes())
        return f"{space.path.stem}-{digest.hexdigest()[:12]}"


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
        study = _open(search)
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
            _note_default(study, search.space, scores)
        numbers = range(len(finished(study)), trials)
        again = itertools.chain(_interrupted(study, search.space), itertools.repeat({}))
        shown.update(numbers.start)
        jobs = zip(numbers, again, strict=False)
        for future in as_completed([pool.submit(_trial, search, *job) for job in jobs]):
            future.result()
            best = max((trial.value or 0.0 for trial in complete(study)), default=0.0)
            shown.advance(1, f"best {best:.4f}, default {fmean(study.user_attrs[DEFAULT]):.4f}")


def finished(study: Study) -> list[FrozenTrial]:
    """The trials that are not to be run again: not those that a kill ended."""
    return [
        trial
        for trial in study.get_trials(deepcopy=False)
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) or ERROR in trial.user_attrs
    ]


def complete(study: Study) -> list[FrozenTrial]:
    """The trials that were trained on all splits."""
    return study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])


@cache
def parts(data: Data, seed: int) -> Parts:
    """The split that `seed` draws, its test part and the rows to predict left out.

    Raises:
        UserError: no features, labels that are not known, or too few rows for such a split.
    """
    table = splits.reassign(
        splits.read(data.splits), seed=seed, val_size=data.val_size, test_size=data.test_size
    )
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


def _open(search: Search) -> Study:
    """The study, in which the trials that a killed search has left have failed."""
    study = create_study(
        study_name=search.name,
        storage=_storage(search.folder),
        direction="maximize",
        load_if_exists=True,
    )
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def _interrupted(study: Study, space: Space) -> list[dict[str, Any]]:
    """What was drawn for trials that a kill ended, and that have not begun anew yet.

    Optuna's own queue is no help: two processes may take one trial out of it.
    """
    done = [trial.params for trial in finished(study)]
    failed = study.get_trials(deepcopy=False, states=[TrialState.FAIL])
    drawn = [trial.params for trial in failed if trial.params.keys() == space.dimensions.keys()]
    return [params for params in drawn if params not in done]


def _storage(folder: Path) -> RDBStorage:
    path = folder / "study.db"
    try:
        url = sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string()
        storage = RDBStorage(url, {"connect_args": {"timeout": _SECONDS_FOR_A_LOCK}})
    except (sqlalchemy.exc.DatabaseError, RuntimeError) as error:
        told = str(error).splitlines()[0]
        raise UserError(f"{path}: not a database of this optuna ({told}): move it away") from None
    # A trial reports each epoch. With a log ahead of the database it need not wait for the disk each time.
    sqlalchemy.event.listen(storage.engine, "connect", _write_ahead)
    storage.engine.dispose()
    return storage


def _write_ahead(connection: "sqlalchemy.engine.interfaces.DBAPIConnection", _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _note_default(study: Study, space: Space, scores: list[float]) -> None:
    """Notes how the default scores; it is a trial, too, if it is in the space."""
    study.set_user_attr(DEFAULT, scores)
    if space.default_drawn is not None:
        trial = create_trial(
            params=space.default_drawn,
            distributions=space.distributions(),
            value=fmean(scores),
            user_attrs={SCORES: scores},
        )
        study.add_trial(trial)


@cache
def _study(folder: Path, name: str) -> Study:
    """The study in a worker, which opens it once."""
    pruner = MedianPruner(n_startup_trials=_FREE_TRIALS, n_warmup_steps=_FREE_EPOCHS)
    return load_study(study_name=name, storage=_storage(folder), pruner=pruner)


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
