"""Removes what a killed DVC or a bad disk left behind, and DVC itself stops at.

DVC writes `dvc.lock` and `.dvc/tmp/rwlock` in place: killed in that moment, it leaves half a file that it
cannot read. It trusts every object of its cache: a damaged one comes back with each checkout. Nothing is
lost by the removal: what is missing is run again, or comes from the cache.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dvc.schema import COMPILED_LOCKFILE_SCHEMA
from voluptuous import Invalid

from sentifuse.config import yaml_file


def mend(root: Path, cache: Path, dvc: Path) -> list[Path]:
    """Removes what DVC stops at, and returns it; must not run beside DVC.

    `root` is the folder of `dvc.lock`, and `dvc` the folder `.dvc`, which may lie further up. If an object of
    the cache is removed, DVC will hash all outputs anew, since one of them may be a copy of it.
    """
    lock = root / "dvc.lock"
    readers: dict[Path, Callable[[bytes], Any]] = {
        dvc / "tmp" / "rwlock": json.loads,
        lock: _read_lock,
    }
    broken = [path for path, read in readers.items() if path.exists() and _fails(read, path)]
    # The objects that DVC 3 names by MD5; a folder's ends with `.dir`.
    objects = sorted((cache / "files" / "md5").glob("[0-9a-f][0-9a-f]/*"))
    damaged = [path for path in objects if _md5(path) != path.parent.name + path.stem]
    if damaged and lock.exists() and lock not in broken:
        for path in _outputs(root, _read_lock(lock.read_bytes())):
            os.utime(path)  # DVC trusts the hash that it noted beside the time of the last change
    for path in [*broken, *damaged]:
        path.unlink()
    return [*broken, *damaged]


def _fails(read: Callable[[bytes], Any], path: Path) -> bool:
    try:
        read(path.read_bytes())
    except (ValueError, Invalid):
        return True
    return False


def _read_lock(raw: bytes) -> Any:
    """Fails where DVC does: half a file may well be YAML."""
    return COMPILED_LOCKFILE_SCHEMA(yaml_file.parse(raw.decode()))


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _outputs(root: Path, lock: Any) -> Iterator[Path]:
    for stage in lock.get("stages", {}).values():
        for out in stage.get("outs", []):
            path = root / out["path"]
            yield from (each for each in [path, *path.rglob("*")] if each.is_file())
