"""What lies in the feature store, and what of it can go: `python -m sentifuse store`.

All that is removed is encoded again when it is asked for: pruning costs time, never a result.
"""

import os
import shutil
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sentifuse.errors import UserError
from sentifuse.features.store import lock as store_lock
from sentifuse.features.store import space as store
from sentifuse.features.store import space_record
from sentifuse.features.store.space import Space
from sentifuse.features.store.space_record import SpaceRecord

_SECONDS_A_DAY = 24 * 3600.0
# Writing a shard takes seconds; what is older was left by a killed run.
_PART_SECONDS = 3600.0


@dataclass(frozen=True)
class Contents:
    """One space.

    Attributes:
        folder: where it lies; its name is the space's.
        record: what it is for; None for one that was made before there were records.
        shards: how many files have its rows.
        rows: how many rows they have.
        size: bytes of all its files.
        used: seconds since 1970 of the last run that used it.
        garbage: half-written and damaged files.
    """

    folder: Path
    record: SpaceRecord | None
    shards: int
    rows: int
    size: int
    used: float
    garbage: list[Path]

    @property
    def name(self) -> str:
        """The space's."""
        return self.folder.name

    def purpose(self) -> str:
        """What its rows are, in words."""
        if self.record is None:
            return "no record: of an earlier version, or a sample in float32 to compare with"
        return ", ".join(_words(dict(self.record.parts)))

    def last_used(self) -> str:
        """The day and time of the last use, local time."""
        return f"{datetime.fromtimestamp(self.used):%Y-%m-%d %H:%M}"


def read(root: Path, verify: bool = False) -> list[Contents]:
    """What the spaces of the store at `root` hold, the last used first; changes nothing.

    Args:
        root: of the store; need not exist.
        verify: whether every shard is read in whole to see if it is sound, and not only its header.
    """
    folders = [path for path in root.glob("*") if path.is_dir()]
    return sorted(
        (_contents(folder, verify) for folder in folders),
        key=lambda space: (-space.used, space.name),
    )


def chosen(
    spaces: Sequence[Contents],
    *,
    unused_days: float | None,
    names: Collection[str],
    current: Collection[str] | None,
) -> list[Contents]:
    """The spaces to remove.

    Args:
        spaces: those there are.
        unused_days: those that no run has used for so many days.
        names: those with these names.
        current: the names of those to keep in any case; alone, it chooses all others. None: not asked for.

    Raises:
        UserError: a name that no space has.
    """
    unknown = set(names) - {space.name for space in spaces}
    if unknown:
        raise UserError(
            f"--space {' '.join(sorted(unknown))}: no such space: `python -m sentifuse store` lists them"
        )
    before = None if unused_days is None else time.time() - unused_days * _SECONDS_A_DAY
    all_others = current is not None and before is None and not names
    return [
        space
        for space in spaces
        if space.name not in (current or ())
        and (all_others or space.name in names or (before is not None and space.used < before))
    ]


def remove(root: Path, spaces: Sequence[Contents], garbage: Sequence[Path]) -> None:
    """Deletes spaces and files of the store at `root`.

    Raises:
        UserError: a run is using the store.
    """
    with store_lock.alone(root):
        for path in garbage:
            path.unlink(missing_ok=True)
        for space in spaces:
            shutil.rmtree(space.folder)


def _contents(folder: Path, verify: bool) -> Contents:
    space = Space(folder.parent, folder.name)
    # A run may be writing: what is here now may be gone or renamed in a moment.
    files = {path: found for path in folder.glob("*") if (found := _stat(path))}
    young = time.time() - _PART_SECONDS
    garbage = [
        path for path, found in files.items() if path.suffix == ".part" and found.st_mtime < young
    ]
    shards = rows = 0
    for path in space.paths():
        keys = store.read_keys(path)
        if keys is not None and (not verify or store.is_sound(path)):
            shards, rows = shards + 1, rows + len(keys)
        elif path.exists():
            garbage.append(path)
    noted = files.get(folder / space_record.FILE)
    used = [noted.st_mtime] if noted else [found.st_mtime for found in files.values()]
    return Contents(
        folder=folder,
        record=space_record.read(folder),
        shards=shards,
        rows=rows,
        size=sum(found.st_size for found in files.values()),
        used=max(used, default=folder.stat().st_mtime),
        garbage=sorted(garbage),
    )


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _words(parts: dict[str, Any]) -> list[str]:
    """What the parts of a space's name say; those that have no words of their own as they stand."""
    words = []
    views, split = parts.pop("views", None), parts.pop("split", None)
    dtype, tokens = parts.pop("hidden_dtype", None), parts.pop("tokens", None)
    if split:
        words.append(f"states that enter the last {'layer' if split == 1 else f'{split} layers'}")
    if tokens:
        words.append("token states")
    if (split or tokens) and dtype:
        words[-1] += f" in {dtype}"
    if views:
        shown = " ".join(f"{key} {value}" for key, value in views.items())
        words.append(f"views: {shown}")
    encoder = str(parts.pop("encoder", ""))[:12]
    return ["embeddings", *words, f"encoder {encoder}", *(f"{k} {v}" for k, v in parts.items())]
