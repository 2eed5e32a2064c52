"""The command `search`: tries recipes on the cached features, and writes the best one."""

import argparse
from pathlib import Path

from sentifuse.errors import UserError
from sentifuse.runtime import devices, files, numerics, pins, threads

OUT = Path("data/search")
_FEATURES, _SPLITS = Path("data/features"), Path("data/splits.csv")
_COUNTS = Path("metrics/data.json")
_TRIALS = 100


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options."""
    add = parser.add_argument
    add("space", type=Path, help="a YAML file with several values for keys of params.yaml")
    add("--trials", type=int, metavar="N", help=f"default: those of the file, else {_TRIALS}")
    add("--splits", type=int, default=3, metavar="J", help="splits of a trial (default: 3)")
    add("--jobs", type=int, metavar="N", help="trials at a time (default: one for each core)")
    add("--out", type=Path, default=OUT, help="folder of the results (default: %(default)s)")


def run(arguments: argparse.Namespace) -> None:
    """Runs the trials that are missing; writes and prints what was found.

    Raises:
        UserError: a space that cannot be searched; no features, or features of other params.
    """
    from sentifuse.config import params
    from sentifuse.experiments import lockfile
    from sentifuse.experiments.search import space as spaces

    for option in ("trials", "splits", "jobs"):
        if (given := getattr(arguments, option)) is not None and given < 1:
            raise UserError(f"--{option} {given}: expected 1 or more")
    space = spaces.read(arguments.space)
    p = params.load(spaces.SearchParams)
    if p.split.val_size == 0:
        raise UserError("params.yaml: split.val_size: 0: a search chooses on validation")
    if not _SPLITS.exists():
        raise UserError(f"{_SPLITS}: no such file: run `dvc repro preprocess`")
    if {str(_FEATURES), str(_SPLITS)} & lockfile.stale_here():
        raise UserError(
            f"{_FEATURES}: made with other params or pins.yaml: run `dvc repro preprocess`"
        )
    numerics.hold(p.numerics)
    try:
        import optuna
        import sqlalchemy  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"search: {error.name} is not installed: run `pip install -r requirements-search.txt`"
        ) from None
    from sentifuse.experiments.search import outcome, study, trials

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Scores on a published test part stand beside those of others: it may choose nothing.
    published = files.read_json(_COUNTS)["protocol"]["published"]
    test_size = 0.0 if published else p.split.test_size
    data = study.Data(_FEATURES, _SPLITS, p.labels, p.split.val_size, test_size)
    device = devices.choose(p.device, p.numerics)
    seeds = range(1, arguments.splits + 1)
    search = study.Search(space, data, seeds, p.seed, arguments.out, device)
    count = arguments.trials or space.trials or _TRIALS
    done = trials.run(search, count, arguments.jobs or threads.cores())
    found = outcome.of(space, done)
    written = outcome.write(found, done, arguments.out)
    pins.warn_if_other()
    if len(found.trials) < count:
        print(f"stopped after {len(found.trials)} of {count} trials: the same command goes on")
    print(outcome.told(found, arguments.out / "best.yaml"))
    print("\n" + "\n".join(f"wrote {path}" for path in written))
