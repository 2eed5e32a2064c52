"""The engines by name: who runs the encoding."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from sentifuse.encoding import Item, Modality, Setting
from sentifuse.store import Space


class Encode(Protocol):
    """Encodes those of `items` that `space` lacks, and appends them shard by shard."""

    def __call__(
        self,
        name: str,
        revision: str | None,
        setting: Setting,
        modality: Modality,
        items: Sequence[Item],
        space: Space,
    ) -> None: ...


@contextmanager
def _local(address: str | None) -> Iterator[Encode]:
    from sentifuse.engines import local

    yield local.encode


@contextmanager
def _ray(address: str | None) -> Iterator[Encode]:
    from sentifuse.engines import ray

    with ray.opened(address) as encode:
        yield encode


# A name of `backbone.engine` -> what gives its `encode`, and ends what that started. The address is
# `ray.address`, which only Ray reads. Whoever encodes, the rows of a key are the same.
ENGINES: dict[str, Callable[[str | None], AbstractContextManager[Encode]]] = {
    "local": _local,
    "ray": _ray,
}
