"""Shares the run-cache: which outputs each run of a stage gave for its params and dependencies.

`dvc push --run-cache` uploads these records, but of the outputs only those of the workspace, and never
the small files that Git tracks (`cache: false`); without all of its outputs, DVC runs a stage again.
"""

import logging

from dvc.exceptions import DvcException
from dvc.repo import Repo

from sentifuse.errors import UserError


def push(remote: str | None) -> int:
    """Uploads the records of all runs in the local cache, and those of their outputs that are in it.

    `remote` is a name; None is the default one. Returns how many runs of a stage the remote has.

    Raises:
        UserError: no repository, no such remote, one that keeps no run-cache (HTTP), a failed upload.
    """
    # `dvc gc` removes outputs but not records: what it left is pushed, without a warning for the rest.
    logging.getLogger("dvc").setLevel(logging.ERROR)
    try:
        with Repo() as repo:
            runs = repo.stage_cache.push(remote)
            failed = 0
            for objects in repo.stage_cache.get_used_objs(runs, force=True).values():
                present = {each for each in objects if repo.cache.local.exists(each.value)}
                failed += len(repo.cloud.push(present, remote=remote).failed)
    except DvcException as error:
        reason = " ".join(str(error).split())
        raise UserError(f"push-runs: {reason}; see docs/remotes.md") from None
    if failed:
        raise UserError(f"push-runs: {failed} files were not uploaded; run it again")
    return len(runs)
