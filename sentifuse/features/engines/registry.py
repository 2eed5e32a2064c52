"""The engines by name: who runs the encoding."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from sentifuse.features.encoding import Item, Modality, Setting
from sentifuse.features.store.space import Space
from sentifuse.runtime.numerics import Numerics
from sentifuse.runtime.precision import Precision


class Encode(Protocol):
    """Encodes those of `items`, gone through twice, that `space` lacks, and appends them shard by shard."""

    def __call__(
        self,
        name: str,
        revision: str | None,
        setting: Setting,
        modality: Modality,
        items: Iterable[Item],
        space: Space,
    ) -> None: ...


@dataclass(frozen=True)
class Engine:
    """Who encodes.

    Attributes:
        place: `backbone.precision`, `backbone.name` and `numerics` -> the device, `cpu` or `cuda`, and the
            precision, `fp32`, `bf16` or `fp16`, that it encodes in.
        encode: what encodes.
    """

    place: Callable[[Precision, str, Numerics], tuple[str, str]]
    encode: Encode


@contextmanager
def _local(address: str | None) -> Iterator[Engine]:
    from sentifuse.features.engines import local

    yield Engine(local.place, local.encode)


@contextmanager
def _ray(address: str | None) -> Iterator[Engine]:
    from functools import partial

    from sentifuse.features.engines import ray
    from sentifuse.features.engines.cluster import Cluster

    with Cluster(address) as cluster:
        yield Engine(partial(ray.place, cluster), partial(ray.encode, cluster))


# A name of `backbone.engine` -> what opens it, and at the end closes what it started. The address is
# `ray.address`, which only Ray reads. Whoever encodes, the rows of a key are the same.
ENGINES: dict[str, Callable[[str | None], AbstractContextManager[Engine]]] = {
    "local": _local,
    "ray": _ray,
}
