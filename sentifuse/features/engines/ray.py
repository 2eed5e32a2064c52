"""Encodes on a Ray cluster, one task per shard.

The items are cut into shards as `local` cuts them, and every node writes its shards into the store itself:
so the same files come out, and only names travel. Where the cluster has GPUs, it encodes on them.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from sentifuse.encoders import registry
from sentifuse.errors import UserError
from sentifuse.features import encoding_record
from sentifuse.features.encoding import Item, Modality, encode_shard
from sentifuse.features.encoding_record import EncodingRecord
from sentifuse.features.engines import local
from sentifuse.features.engines.cluster import Cluster
from sentifuse.features.store.space import Space
from sentifuse.runtime import devices, worker
from sentifuse.runtime.numerics import Numerics
from sentifuse.runtime.precision import Precision
from sentifuse.runtime.progress import progress


def place(cluster: Cluster, wanted: Precision, name: str, numerics: Numerics) -> tuple[str, str]:
    """The device of the cluster's nodes, and what a precision means on it; see `local.place`."""
    if cluster.here:
        return local.place(wanted, name, numerics)
    asked = {"wanted": wanted, "name": name, "numerics": numerics}
    [(_, answer)] = cluster.run(Placer, asked, [""])
    device, chosen = json.loads(answer)
    return device, chosen


class Placer:
    """Asks a node for its device."""

    def __init__(self, wanted: Precision, name: str, numerics: Numerics) -> None:
        self._wanted, self._name, self._numerics = wanted, name, numerics

    def __call__(self, task: str) -> str:
        """Device and precision as a JSON list."""
        return json.dumps(local.place(self._wanted, self._name, self._numerics))


def encode(
    cluster: Cluster,
    record: EncodingRecord,
    modality: Modality,
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
    shards = local.shards(missing, modality, count, cluster.cores())
    tasks = (json.dumps([[item.key, item.path, item.view] for item in shard]) for shard in shards)
    arguments = {"record": record, "modality": modality, "folder": space.folder}
    with progress(f"encode {modality}s", count, f"{modality}s") as shown:
        for _, written in cluster.run(EncodingActor, arguments, tasks):
            name, rows = json.loads(written)
            if not (space.folder / name).exists():
                raise UserError(
                    f"{space.folder / name}: a node of the cluster has written it, and it is not here: the "
                    "store must be on a file system that all nodes mount (docs/scale.md)"
                )
            shown.advance(rows)


class EncodingActor:
    """Encodes in a process of the cluster."""

    def __init__(self, record: EncodingRecord, modality: Modality, folder: Path) -> None:
        """Loads the backbone.

        Args:
            record: how rows are encoded, and by which backbone.
            modality: what the items are.
            folder: of the space.

        Raises:
            UserError: this node would encode otherwise: with other libraries, weights or code.
        """
        worker.start()
        name, revision, setting = record.backbone, record.revision, record.setting
        self._setting, self._modality = setting, modality
        self._space = Space(folder.parent, folder.name)
        # Ray lets a process see only the GPU that it was given.
        device = "cuda:0" if setting.device == "cuda" else "cpu"
        devices.prepare(device)
        self._backbone = registry.load(name, revision, setting.precision, device)
        here = encoding_record.of(self._backbone, name, revision, setting, record.views)
        if here.space(modality).name != folder.name:
            raise UserError(
                f"a node of the cluster would encode otherwise than this machine: {here.libraries} there, "
                f"{record.libraries} here, backbone {self._backbone.fingerprint} there: install the same "
                f"requirements.txt on every node, and let all read {name!r} from one place"
            )

    def __call__(self, task: str) -> str:
        """Encodes and writes one shard; gives the name of its file and how many rows it has."""
        items = [Item(key, path, view) for key, path, view in json.loads(task)]
        rows = encode_shard(self._backbone, self._setting, self._modality, items)
        return json.dumps([self._space.append(rows).name, len(rows)])
