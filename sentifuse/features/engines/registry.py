"""The engines by name: who runs the encoding."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from sentifuse.config.backbone import Precision
from sentifuse.features.encoding import Item, Setting
from sentifuse.features.reading import AnyRecord
from sentifuse.features.store.space import Space
from sentifuse.runtime.devices import Device
from sentifuse.runtime.numerics import Numerics


class Encode(Protocol):
    """Encodes those of `items` that `space` lacks, and appends them shard by shard."""

    def __call__(
        self, record: AnyRecord, setting: Setting, items: Iterable[Item], space: Space
    ) -> None:
        """Encodes; see `local.encode`."""


@dataclass(frozen=True)
class Engine:
    """Who encodes. Whichever it is, the rows of a key are the same.

    Attributes:
        place: `backbone.precision`, `numerics` and `device` -> where it encodes, `cpu` or `cuda`, and the
            precision, `fp32`, `bf16` or `fp16`, that encoders which have a choice encode in there.
        encode: what encodes.
    """

    place: Callable[[Precision, Numerics, Device], tuple[str, str]]
    encode: Encode


@contextmanager
def opened(name: str, address: str | None) -> Iterator[Engine]:
    """The engine `name`, `local` or `ray`; at the end of the block, what it started is closed.

    Args:
        name: as in `backbone.engine`.
        address: `ray.address`, of which only Ray makes use.
    """
    if name == "local":
        from sentifuse.features.engines import local

        yield Engine(local.place, local.encode)
    else:
        from sentifuse.features.engines import ray
        from sentifuse.features.engines.cluster import Cluster

        with Cluster(address) as cluster:
            yield Engine(partial(ray.place, cluster), partial(ray.encode, cluster))
