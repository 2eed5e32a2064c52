"""`python -m sentifuse store`: what the feature store holds; `store prune`: make room in it."""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from sentifuse.errors import UserError

if TYPE_CHECKING:
    from sentifuse.features.store.contents import Contents

FEATURES = Path("data/features")
RECORD = FEATURES / "encoding.json"

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declares the two actions and their options."""
    parser.set_defaults(action="list", json=False)
    actions = parser.add_subparsers(dest="action")
    listed = actions.add_parser("list", help="what there is (the default)")
    listed.add_argument("--json", action="store_true", help="print one JSON object")
    prune = actions.add_parser(
        "prune",
        help="remove half-written and damaged files, and the spaces that the options choose",
    )
    add = prune.add_argument
    add("--unused-for", type=float, metavar="DAYS", help="spaces that no run has used for so long")
    add("--space", nargs="+", default=[], metavar="NAME", help="the spaces with these names")
    add(
        "--keep-current",
        action="store_true",
        help="not those that data/features comes from; alone: all but those",
    )
    add("--verify", action="store_true", help="read every shard in whole to find damaged ones")
    add("--yes", action="store_true", help="do it; else it is only said what would be done")


def run(arguments: argparse.Namespace) -> None:
    """Calls the action.

    Raises:
        UserError: an option that does not fit the store, or a run that uses it.
    """
    # `dvc exp run` and the queue share the store of the main repository, as stages do.
    from sentifuse.features.store.space import default_root

    root = default_root()
    if arguments.action == "prune":
        _prune(root, arguments)
    else:
        _list(root, arguments)


def _list(root: Path, arguments: argparse.Namespace) -> None:
    from sentifuse.features.store import contents

    spaces = contents.read(root)
    try:
        current = _current()
    except UserError:
        current = set()  # no features here, or of a version that says less
    if arguments.json:
        print(as_json(root, spaces, current))
    else:
        sys.stdout.write(as_text(root, spaces, current))


def _prune(root: Path, arguments: argparse.Namespace) -> None:
    from sentifuse.features.store import contents

    if arguments.unused_for is not None and not arguments.unused_for >= 0:
        raise UserError(
            f"--unused-for {arguments.unused_for}: expected a number of days, 0 or more"
        )
    spaces = contents.read(root, arguments.verify)
    going = contents.chosen(
        spaces,
        unused_days=arguments.unused_for,
        names=arguments.space,
        current=_current() if arguments.keep_current else None,
    )
    garbage = [path for space in spaces if space not in going for path in space.garbage]
    freed = sum(space.size for space in going) + sum(path.stat().st_size for path in garbage)
    if not going and not garbage:
        print("nothing to remove")
        return
    for space in going:
        print(f"{space.name}: {_amounts(space)}, last used {space.last_used()}")
    for path in garbage:
        print(f"{path}: half-written or damaged")
    if not arguments.yes:
        print(f"this would free {_shown(freed)}: add --yes to do it")
        return
    contents.remove(root, going, garbage)
    print(f"freed {_shown(freed)}")


def as_text(root: Path, spaces: Sequence["Contents"], current: set[str]) -> str:
    """The list to read; a star marks what the features of this folder come from."""
    if not spaces:
        return f"{root}: nothing is stored yet\n"
    lines = []
    for space in spaces:
        star = "*" if space.name in current else " "
        lines.append(f"{star} {space.name}: {_amounts(space)}, last used {space.last_used()}")
        if space.record is not None:
            at = f" at {space.record.revision}" if space.record.revision else ""
            lines.append(f"    {space.record.modality}s, {space.record.backbone}{at}")
        lines.append(f"    {space.purpose()}")
    total = _shown(sum(space.size for space in spaces))
    lines.append(
        f"{root}: {_counted(len(spaces), 'space')}, {total}; * is what {FEATURES} comes from"
    )
    return "\n".join(lines) + "\n"


def as_json(root: Path, spaces: Sequence["Contents"], current: set[str]) -> str:
    """The same as one JSON object, for programs."""
    document = {
        "root": str(root),
        "spaces": [
            {
                "name": space.name,
                "record": None if space.record is None else asdict(space.record),
                "shards": space.shards,
                "rows": space.rows,
                "bytes": space.size,
                "last_used": space.used,
                "current": space.name in current,
                "garbage": [str(path) for path in space.garbage],
            }
            for space in spaces
        ],
    }
    return json.dumps(document, indent=2)


def _current() -> set[str]:
    """The names of the spaces that the features of this folder come from.

    Raises:
        UserError: there are none here that say so.
    """
    # Before torch is imported, which takes seconds.
    if not RECORD.exists():
        raise UserError(f"{RECORD}: no such record: run `dvc repro preprocess`")
    from sentifuse.features import encoding, encoding_record
    from sentifuse.features.store import space_names

    record = encoding_record.read(FEATURES)
    fingerprints: tuple[tuple[encoding.Modality, str], ...] = (
        ("image", record.image_fingerprint),
        ("text", record.text_fingerprint),
    )
    return {
        space_names.name_of(
            modality,
            space_names.space_parts(modality, fingerprint, record.setting, record.libraries)
            | {"version": record.version},
        )
        for modality, fingerprint in fingerprints
    }


def _amounts(space: "Contents") -> str:
    rows, shards = _counted(space.rows, "row"), _counted(space.shards, "shard")
    return f"{rows} in {shards}, {_shown(space.size)}"


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _shown(size: float) -> str:
    power = 0
    while size >= 1024 and power < len(_UNITS) - 1:
        size, power = size / 1024, power + 1
    return f"{size:.0f} B" if power == 0 else f"{size:.1f} {_UNITS[power]}"
