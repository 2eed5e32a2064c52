"""A search on some data, and its study: all that is known of its trials stands in SQLite.

So a search goes on after a kill, and another search, on other data or of another space, is another study.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import sqlalchemy
from optuna import Study, create_study, create_trial
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from sentifuse.errors import UserError
from sentifuse.experiments.search.space import Space

DEFAULT, SCORES, ERROR = "default", "scores", "error"  # what is noted of a study and its trials
_SECONDS_FOR_A_LOCK = 60.0  # that another worker holds while it writes
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


def open_study(search: Search) -> Study:
    """The study, in which the trials that a killed search has left have failed."""
    study = create_study(
        study_name=search.name,
        storage=storage(search.folder),
        direction="maximize",
        load_if_exists=True,
    )
    for trial in study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
        study.tell(trial.number, state=TrialState.FAIL)
    return study


def interrupted(study: Study, space: Space) -> list[dict[str, Any]]:
    """What was drawn for trials that a kill ended, and that have not begun anew yet.

    Optuna's own queue is no help: two processes may take one trial out of it.
    """
    done = [trial.params for trial in finished(study)]
    failed = study.get_trials(deepcopy=False, states=[TrialState.FAIL])
    drawn = [trial.params for trial in failed if trial.params.keys() == space.dimensions.keys()]
    return [params for params in drawn if params not in done]


def storage(folder: Path) -> RDBStorage:
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


def note_default(study: Study, space: Space, scores: list[float]) -> None:
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
