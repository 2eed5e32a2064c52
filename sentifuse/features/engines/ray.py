"""Encodes on a Ray cluster, one task per shard.

The items are cut into shards as `local` cuts them, and every node writes its shards into the store itself:
so the same files come out, and only names travel. Where the cluster has GPUs, it encodes on them.
"""

import json
from collections.abc import Iterable
from dataclasses import astuple
from pathlib import Path

from sentifuse.config.backbone import Precision
from sentifuse.errors import UserError
from sentifuse.features import encoding_record
from sentifuse.features.encoding import VERSIONS, Item, Setting
from sentifuse.features.engines import local
from sentifuse.features.engines.cluster import Cluster
from sentifuse.features.reading import AnyRecord, ReaderRecord
from sentifuse.features.store.space import Space
from sentifuse.runtime import devices, worker
from sentifuse.runtime.devices import Device
from sentifuse.runtime.numerics import Numerics
from sentifuse.runtime.progress import progress


def place(
    cluster: Cluster, wanted: Precision, numerics: Numerics, device: Device
) -> tuple[str, str]:
    """The device of the cluster's nodes, and what a precision means on it; see `local.place`."""
    if cluster.here:
        return local.place(wanted, numerics, device)
    asked = {"wanted": wanted, "numerics": numerics, "device": device}
    [(_, answer)] = cluster.run(Placer, asked, [""])
    found, chosen = json.loads(answer)
    return found, chosen


class Placer:
    """Asks a node for its device."""

    def __init__(self, wanted: Precision, numerics: Numerics, device: Device) -> None:
        self._asked = wanted, numerics, device

    def __call__(self, task: str) -> str:
        """Device and precision as a JSON list."""
        return json.dumps(local.place(*self._asked))


def encode(
    cluster: Cluster,
    record: AnyRecord,
    setting: Setting,
    items: Iterable[Item],
    space: Space,
) -> None:
    """Encodes as `local.encode` does, with the processes of `cluster`; every node sees the space's folder.

    Raises:
        UserError: no cluster, a file that cannot be encoded or that a node does not see, other libraries
            or weights on a node, or a shard that kills every worker.
    """
    count, missing = local.lacking(items, space)
    if not count:
        return
    shards = local.shards(missing, record.modality, count, cluster.cores())
    tasks = (json.dumps([astuple(item) for item in shard]) for shard in shards)
    arguments = {
        "record": record,
        "setting": setting,
        "folder": space.folder,
        "libraries": _versions(record),
    }
    with progress(record.task, count, f"{record.modality}s") as shown:
        for _, written in cluster.run(EncodingActor, arguments, tasks):
            name, rows = json.loads(written)
            if not (space.folder / name).exists():
                raise UserError(
                    f"{space.folder / name}: a node of the cluster has written it, and it is not here: the "
                    "store must be on a file system that all nodes mount (docs/scale.md)"
                )
            shown.advance(rows)


def _versions(record: AnyRecord) -> dict[str, str]:
    return encoding_record.versions(isinstance(record, ReaderRecord))


class EncodingActor:
    """Encodes in a process of the cluster."""

    def __init__(
        self, record: AnyRecord, setting: Setting, folder: Path, libraries: dict[str, str]
    ) -> None:
        """Loads the encoder or the reader.

        Args:
            record: the encoder, and what of its output is kept; or what reads the text in pictures.
            setting: how it is applied.
            folder: of the space.
            libraries: as of `encoding_record.versions`, of the machine that this one works for.

        Raises:
            UserError: this node would encode otherwise: with other libraries, weights or code.
        """
        worker.start()
        self._space = Space(folder.parent, folder.name)
        # Ray lets a process see only the GPU that it was given.
        device = "cuda:0" if setting.device == "cuda" else "cpu"
        devices.prepare(device)
        self._work, print_here = local.load(record, setting, device)
        here = _versions(record)
        # The fingerprint of a reader has the version of its code.
        same_code = isinstance(record, ReaderRecord) or record.version == VERSIONS[record.modality]
        if here != libraries or print_here != record.fingerprint or not same_code:
            raise UserError(
                f"a node of the cluster would encode otherwise than this machine: {here} there, {libraries} "
                f"here, encoder {print_here} there, {record.fingerprint} here: install the same "
                f"requirements.txt on every node, and let all read {record.name!r} from one place"
            )

    def __call__(self, task: str) -> str:
        """Encodes and writes one shard; gives the name of its file and how many rows it has."""
        rows = self._work([Item(*values) for values in json.loads(task)])
        return json.dumps([self._space.append(rows).name, len(rows)])
