"""What a killed DVC or a bad disk can leave behind that DVC itself does not get over.

DVC writes `dvc.lock` and `.dvc/tmp/rwlock` in place: killed in that moment it leaves half a file, and
stops at it. It takes an object of its cache for sound because it is there: a damaged one comes back with
every checkout. Nothing that this removes is lost: what is missing is run again, or comes from the cache.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

import yaml


def mend(root: Path, cache: Path, dvc: Path | None = None) -> list[Path]:
    """Removes what DVC stumbles over; must not run beside DVC.

    Args:
        root: the folder of `dvc.lock`.
        cache: DVC's cache, `.dvc/cache` by default.
        dvc: DVC's own folder, if it is not `ROOT/.dvc`: a pipeline may lie deeper in a repository.

    Returns:
        What was removed. Where an object of the cache was, DVC will hash all outputs anew, since one of
        them may be a copy of it.
    """
    broken = [path for path in ((dvc or root / ".dvc") / "tmp" / "rwlock",) if not _is_json(path)]
    broken += [path for path in (root / "dvc.lock",) if not _is_lock(path)]
    objects = [path for path in _objects(cache) if _md5(path) != path.parent.name + path.stem]
    if objects and _is_lock(root / "dvc.lock"):
        for path in _outputs(root):
            os.utime(path)  # DVC trusts the hash that it noted beside the time of the last change
    for path in [*broken, *objects]:
        path.unlink()
    return [*broken, *objects]


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except FileNotFoundError:
        return True
    except ValueError:
        return False
    return True


def _is_lock(path: Path) -> bool:
    """Whether DVC will read it: half a file may well be YAML."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    try:
        COMPILED_LOCKFILE_SCHEMA(yaml.safe_load(path.read_bytes()))
    except FileNotFoundError:
        return True
    except (ValueError, yaml.YAMLError, Invalid):
        return False
    return True


def _objects(cache: Path) -> list[Path]:
    """The objects that DVC 3 names by MD5; a folder's ends with `.dir`."""
    return sorted((cache / "files" / "md5").glob("[0-9a-f][0-9a-f]/*"))


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _outputs(root: Path) -> Iterator[Path]:
    lock = root / "dvc.lock"
    document = yaml.safe_load(lock.read_bytes()) if lock.exists() else {}
    for stage in document.get("stages", {}).values():
        for out in stage.get("outs", []):
            path = root / out["path"]
            yield from (each for each in [path, *path.rglob("*")] if each.is_file())
