"""Encodes on a Ray cluster (Ray Data), a task a shard.

The items are cut into shards as `local` cuts them, and every node writes its shards into the store itself:
the same files come out, and only names travel. Where the cluster has GPUs, it encodes on them.
"""

import json
from collections.abc import Iterable
from itertools import compress
from pathlib import Path

from sentifuse.encoders import registry
from sentifuse.errors import UserError
from sentifuse.features.encoding import Item, Modality, Setting, encode_shard
from sentifuse.features.engines import local
from sentifuse.features.engines.cluster import Cluster
from sentifuse.features.store.space import Space
from sentifuse.features.store.space_names import space_name, versions
from sentifuse.runtime import devices, scratch, worker
from sentifuse.runtime.numerics import Numerics
from sentifuse.runtime.precision import Precision
from sentifuse.runtime.progress import progress

_DAYS_KEPT = 1.0


def place(cluster: Cluster, wanted: Precision, name: str, numerics: Numerics) -> tuple[str, str]:
    """The device of the cluster's nodes, and what a precision means on it; see `local.place`."""
    if cluster.here:
        return local.place(wanted, name, numerics)
    asked = {"wanted": wanted, "name": name, "numerics": numerics}
    [(_, answer)] = cluster.run(Placer, asked, [""])
    device, chosen = json.loads(answer)
    return device, chosen


class Placer:
    """What asks a node for its device."""

    def __init__(self, wanted: Precision, name: str, numerics: Numerics) -> None:
        self._wanted, self._name, self._numerics = wanted, name, numerics

    def __call__(self, task: str) -> str:
        """Both as a JSON list."""
        return json.dumps(local.place(self._wanted, self._name, self._numerics))


def encode(
    cluster: Cluster,
    name: str,
    revision: str | None,
    setting: Setting,
    modality: Modality,
    items: Iterable[Item],
    space: Space,
) -> None:
    """Encodes those of `items` that `space` lacks, and appends them shard by shard.

    Args:
        cluster: who encodes.
        name: of the backbone, as in `registry.load`.
        revision: of the backbone.
        setting: what a row holds.
        modality: what the items are.
        items: gone through twice.
        space: where the rows go; every node sees its folder.

    Raises:
        UserError: no cluster, a file that cannot be encoded or that a node does not see, other libraries
            or weights on a node, or a shard that kills every worker.
    """
    scratch.prune(".*.part", space.folder, _DAYS_KEPT)
    lacking = space.lacking(item.key for item in items)
    count = int(lacking.sum())
    if not count:
        return
    size = local.shard_size(modality, count, cluster.cores())
    shards = local.shards(compress(items, lacking), size)
    arguments = {
        "name": name,
        "revision": revision,
        "setting": setting,
        "modality": modality,
        "folder": space.folder,
        "libraries": versions(),
    }
    tasks = (json.dumps([[item.key, item.path, item.view] for item in shard]) for shard in shards)
    with progress(f"encode {modality}s", count, f"{modality}s") as shown:
        for _, written in cluster.run(EncodingActor, arguments, tasks):
            name_of_shard, rows = json.loads(written)
            _check_here(space.folder / name_of_shard)
            shown.advance(rows)


class EncodingActor:
    """What encodes in a process of the cluster."""

    def __init__(
        self,
        name: str,
        revision: str | None,
        setting: Setting,
        modality: Modality,
        folder: Path,
        libraries: dict[str, str],
    ) -> None:
        """Loads the backbone.

        Args:
            name: of the backbone.
            revision: of the backbone.
            setting: what a row holds.
            modality: what the items are.
            folder: the space's.
            libraries: `space_names.versions` of the process that asks.

        Raises:
            UserError: this node would encode otherwise: with other libraries, weights or code.
        """
        worker.start()
        self._setting, self._modality = setting, modality
        self._space = Space(folder.parent, folder.name)
        # Of a node's GPUs, Ray lets a process see its own only.
        device = "cuda:0" if setting.device == "cuda" else "cpu"
        devices.prepare(device)
        self._backbone = registry.load(name, revision, setting.precision, device)
        own = space_name(modality, self._backbone, setting)
        if own != folder.name:
            raise UserError(
                f"a node of the cluster would encode otherwise than this machine: {versions()} there, "
                f"{libraries} here, backbone {self._backbone.fingerprint} there: install the same "
                f"requirements.txt on every node, and let all read {name!r} from one place"
            )

    def __call__(self, task: str) -> str:
        """Encodes and writes one shard; gives the name of its file and how many rows it has."""
        items = [Item(key, path, view) for key, path, view in json.loads(task)]
        rows = encode_shard(self._backbone, self._setting, self._modality, items)
        return json.dumps([self._space.append(rows).name, len(rows)])


def _check_here(shard: Path) -> None:
    """Whether what a node wrote is seen from here."""
    if not shard.exists():
        raise UserError(
            f"{shard}: a node of the cluster has written it, and it is not here: the store must be on a "
            "file system that all nodes mount (docs/scale.md)"
        )
