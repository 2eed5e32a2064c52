"""`python -m sentifuse check ROOT`: what is wrong with a data set, before any run."""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sentifuse.config import params
from sentifuse.config.recipe import Columns

if TYPE_CHECKING:
    from sentifuse.data.raw_data import RawData


@dataclass(frozen=True)
class _Data:
    """What the check reads of the section `data`."""

    columns: Columns


@dataclass(frozen=True)
class _Params:
    """What the check reads of `params.yaml`."""

    labels: params.ClassNames
    data: _Data


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("root", type=Path, help="a folder with data, as `data.root`")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> None:
    """Prints every bad sample by reason; exit status 1 if there are any.

    The known tags are `labels` of `params.yaml`, and the names of columns `data.columns`.

    Raises:
        UserError: data that cannot be read at all, or a label without a sound row.
    """
    read = params.load(_Params)
    from sentifuse.data import label_rows, raw_data

    found = raw_data.read(arguments.root, read.labels, read.data.columns)
    print(_json(found) if arguments.json else _text(found))
    label_rows.check_labels(found.listing.source, found.listing.rows.labelled, read.labels)
    if found.problems:
        sys.exit(1)


def _text(found: "RawData") -> str:
    """One heading per reason, one line per sample."""
    from sentifuse.data.bad_samples import by_reason

    rows = found.listing.rows
    lines = [f"{rows.train_rows} labelled rows, {len(rows.predict)} to predict"]
    for what, problems in (("bad", found.problems), ("note", found.notes)):
        for reason, same in by_reason(problems).items():
            lines += ["", f"{what}: {reason} ({len(same)})"]
            lines += [f"  {problem.where()}" for problem in same]
    bad = len({problem.guid for problem in found.problems})
    return "\n".join([*lines, "", f"{bad} bad rows" if bad else "no bad rows"])


def _json(found: "RawData") -> str:
    document = {
        "labelled_rows": found.listing.rows.train_rows,
        "rows_to_predict": len(found.listing.rows.predict),
        "bad": [asdict(problem) for problem in found.problems],
        "notes": [asdict(problem) for problem in found.notes],
    }
    return json.dumps(document, indent=2)
