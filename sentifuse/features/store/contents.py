"""What the feature store holds, and what of it can go: `python -m sentifuse store`.

What is removed is encoded again when a run needs it: pruning costs time, never a result.
"""

import os
import shutil
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sentifuse.errors import UserError
from sentifuse.features.store import lock as store_lock
from sentifuse.features.store import space as store
from sentifuse.features.store.space import Space, SpaceRecord

_SECONDS_A_DAY = 24 * 3600.0
# Writing a shard takes seconds; a partial file that is older was left by a killed run.
_PART_SECONDS = 3600.0


@dataclass(frozen=True)
class Contents:
    """The contents of one space.

    Attributes:
        folder: of the space; it has its name.
        record: what the space is for; None if it was made before there were records.
        shards: the number of files that have its rows.
        rows: the number of rows in them.
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
        """The name of the space."""
        return self.folder.name

    def purpose(self) -> str:
        """What the rows are, in words; parts that have no words of their own are shown as they are."""
        if self.record is None:
            return "no record: of an earlier version, or a sample in float32 to compare with"
        parts = dict(self.record.parts)
        if reader := parts.pop("reader", None):
            words = ["text in images", f"reader {reader[:12]}"]
            return ", ".join([*words, *(f"{key} {value}" for key, value in parts.items())])
        words = ["embeddings"]
        if split := parts.pop("split", None):
            words.append(
                f"states that enter the last {'layer' if split == 1 else f'{split} layers'}"
            )
        if parts.pop("tokens", None):
            words.append("token states")
        dtype = parts.pop("hidden_dtype", None)
        if dtype and len(words) > 1:
            words[-1] += f" in {dtype}"
        if views := parts.pop("views", None):
            words.append("views: " + " ".join(f"{key} {value}" for key, value in views.items()))
        words.append(f"encoder {str(parts.pop('encoder', ''))[:12]}")
        return ", ".join([*words, *(f"{key} {value}" for key, value in parts.items())])

    def last_used(self) -> str:
        """The day and time of the last use, local time."""
        return f"{datetime.fromtimestamp(self.used):%Y-%m-%d %H:%M}"


def read(root: Path, verify: bool = False) -> list[Contents]:
    """The contents of all spaces of the store at `root`, the last used first; changes nothing.

    Args:
        root: of the store; need not exist.
        verify: whether to read the whole of every shard, and not only its header, to find damage.
    """
    found = [_contents(path, verify) for path in root.glob("*") if path.is_dir()]
    return sorted(found, key=lambda space: (-space.used, space.name))


def chosen(
    spaces: Sequence[Contents],
    *,
    unused_days: float | None,
    names: Collection[str],
    current: Collection[str] | None,
) -> list[Contents]:
    """The spaces to remove.

    Args:
        spaces: all that there are.
        unused_days: remove those that no run has used for so many days.
        names: remove those with these names.
        current: names of spaces to keep in any case; alone, it means to remove all others. None if that
            was not asked for.

    Raises:
        UserError: a name that no space has.
    """
    unknown = set(names) - {space.name for space in spaces}
    if unknown:
        raise UserError(
            f"--space {' '.join(sorted(unknown))}: no such space: `python -m sentifuse store` lists them"
        )
    going = set(names)
    if unused_days is not None:
        oldest = time.time() - unused_days * _SECONDS_A_DAY
        going |= {space.name for space in spaces if space.used < oldest}
    elif current is not None and not names:
        going = {space.name for space in spaces}
    going -= set(current or ())
    return [space for space in spaces if space.name in going]


def size(paths: Sequence[Path]) -> int:
    """The bytes of files of the store together; a run may have deleted one since it was listed."""
    return sum(found.st_size for path in paths if (found := _stat(path)))


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
    # A run may be writing: a file that is here now may be gone or renamed in a moment.
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
    noted = files.get(folder / store.RECORD)
    used = [noted.st_mtime] if noted else [found.st_mtime for found in files.values()]
    return Contents(
        folder=folder,
        record=space.record(),
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
