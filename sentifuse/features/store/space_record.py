"""What the rows of a space of the store are, on record beside its shards, for people to read.

Nothing is decided by it: a space is found by its name, which is a hash of the same parts.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sentifuse.config import params
from sentifuse.errors import UserError
from sentifuse.features.store.space import Space
from sentifuse.runtime.files import write_json

FILE = "space.json"


@dataclass(frozen=True)
class SpaceRecord:
    """What a space is for.

    Attributes:
        modality: `image` or `text`.
        backbone: the name of the backbone that the last run used it with.
        revision: of its hub repository, or None.
        parts: all that its name is a hash of: `space_names.space_parts`.
    """

    __pydantic_config__ = params.STRICT
    modality: str
    backbone: str
    revision: str | None
    parts: Mapping[str, Any]


def touch(space: Space, record: SpaceRecord) -> None:
    """Notes that a run uses `space`, now: makes it, or sets the time of the file's last change."""
    path = space.folder / FILE
    with suppress(OSError):  # a store to read only is none the worse
        if read(space.folder) == record:
            os.utime(path)
        else:
            write_json(path, asdict(record))


def read(folder: Path) -> SpaceRecord | None:
    """The record of the space in `folder`; None where there is none that can be read."""
    try:
        values = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return params.parse(SpaceRecord, values, str(folder / FILE))
    except (OSError, ValueError, UserError):
        return None
