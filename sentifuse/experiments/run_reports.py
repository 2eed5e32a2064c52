"""Where the report of each run lies: in the workspace, or in DVC's cache, from which a command gets it."""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from dvc.exceptions import OutputNotFoundError
from dvc.repo import Repo

from sentifuse.experiments.read import REPORTS, Experiment, folders

_PAGE = "report.html"


@dataclass(frozen=True)
class Report:
    """The report of one run; both texts are empty where the run has none that belongs to its params.

    Attributes:
        link: a relative address, if the file is there.
        command: else what puts the file there, to be run in the current folder.
    """

    link: str = ""
    command: str = ""


def locate(experiments: Sequence[Experiment], page: Path, fetched: Path) -> list[Report]:
    """The report of each experiment, for links from the file `page`.

    `fetched` is the folder that the commands write to, one file per commit: a later page links to it.
    """
    root, project = folders()
    here = Path(os.path.relpath(project)) / REPORTS
    present = _content(root, here)

    def of(one: Experiment) -> Report:
        if not one.report:
            return Report()
        copy = fetched / f"{one.rev[:7]}.html"
        for path in [here / _PAGE] * (one.report == present) + [copy]:
            if path.is_file():
                return Report(link=quote(os.path.relpath(path, page.parent)))
        if one.rev == "workspace":
            return Report(command=shlex.join(["dvc", "checkout", str(here)]))
        inside = (project.relative_to(root) / REPORTS / _PAGE).as_posix()
        command = ["dvc", "get", ".", inside, "--rev", one.rev[:7], "-o", str(copy)]
        return Report(command=shlex.join(command))

    return [of(one) for one in experiments]


def _content(root: Path, reports: Path) -> str:
    """The hash of the folder as it is now, whatever `dvc.lock` says; empty if it is not there."""
    with Repo(str(root)) as repo:
        try:
            [out] = repo.find_outs_by_path(str(reports))
            return str(out.get_hash().value)
        except (OutputNotFoundError, FileNotFoundError):
            return ""
