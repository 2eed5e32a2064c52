"""`python -m sentifuse store`: what the feature store holds; `store prune`: make room in it."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from sentifuse.errors import UserError

if TYPE_CHECKING:
    from sentifuse.features.store.contents import Contents

FEATURES = Path("data/features")

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
    add("--verify", action="store_true", help="read the whole of every shard to find damaged ones")
    add("--yes", action="store_true", help="do it; without it, only say what would be done")


def run(arguments: argparse.Namespace) -> None:
    """Lists or prunes.

    Raises:
        UserError: an option that does not fit the store, or a run that uses it.
    """
    # `dvc exp run` and the queue share the store of the main repository, as stages do.
    from sentifuse.features.store.space import default_root

    if arguments.action == "prune":
        _prune(default_root(), arguments)
    else:
        _list(default_root(), arguments.json)


def _list(root: Path, as_json: bool) -> None:
    from sentifuse.features.store import contents

    spaces = contents.read(root)
    try:
        current = _current()
    except UserError:
        current = set()  # there are no features here, or their record is of an old version
    print(_json(root, spaces, current) if as_json else _text(root, spaces, current))


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
    freed = sum(space.size for space in going) + contents.size(garbage)
    if not going and not garbage:
        print("nothing to remove")
        return
    for space in going:
        print(_summary(space))
    for path in garbage:
        print(f"{path}: half-written or damaged")
    if not arguments.yes:
        print(f"this would free {_bytes(freed)}: add --yes to do it")
        return
    contents.remove(root, going, garbage)
    print(f"freed {_bytes(freed)}")


def _text(root: Path, spaces: Sequence["Contents"], current: set[str]) -> str:
    if not spaces:
        return f"{root}: nothing is stored yet"
    lines = []
    for space in spaces:
        lines.append(f"{'*' if space.name in current else ' '} {_summary(space)}")
        if space.record is not None:
            lines.append(f"    {space.record.modality}s, {space.record.encoder}")
        lines.append(f"    {space.purpose()}")
    total = _bytes(sum(space.size for space in spaces))
    lines.append(
        f"{root}: {_count(len(spaces), 'space')}, {total}; * is what {FEATURES} comes from"
    )
    return "\n".join(lines)


def _json(root: Path, spaces: Sequence["Contents"], current: set[str]) -> str:
    described = [
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
    ]
    return json.dumps({"root": str(root), "spaces": described}, indent=2)


def _current() -> set[str]:
    """The names of the spaces that the features of this folder come from.

    Raises:
        UserError: there is no record of them here.
    """
    # Checked before torch is imported, which takes seconds.
    path = FEATURES / "encoding.json"
    if not path.exists():
        raise UserError(f"{path}: no such file: run `dvc repro preprocess`")
    from sentifuse.features import encoding_record

    return {space.name for space in encoding_record.read(FEATURES).spaces()}


def _summary(space: "Contents") -> str:
    rows, shards = _count(space.rows, "row"), _count(space.shards, "shard")
    return f"{space.name}: {rows} in {shards}, {_bytes(space.size)}, last used {space.last_used()}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _bytes(size: float) -> str:
    power = 0
    while size >= 1024 and power < len(_UNITS) - 1:
        size, power = size / 1024, power + 1
    return f"{size:.0f} B" if power == 0 else f"{size:.1f} {_UNITS[power]}"
