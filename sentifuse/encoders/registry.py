"""The backbones by name."""

from collections.abc import Callable

from sentifuse.encoders import bundled, clip
from sentifuse.encoders.interface import Backbone
from sentifuse.encoders.quiet import quiet

# A name of `backbone.name` -> a function that loads that pair of encoders onto a device, in float32. Any
# other name is a hub id or a folder of a CLIP model, which other precisions suit, too.
BACKBONES: dict[str, Callable[[str], Backbone]] = {
    "bundled": bundled.load,
}


def load(name: str, revision: str | None, precision: str = "fp32", device: str = "cpu") -> Backbone:
    """Loads the backbone `name`.

    Args:
        name: a key of `BACKBONES`, a hub id, or a folder of a CLIP model.
        revision: of the hub repository.
        precision: `fp32`, `bf16` or `fp16`, that it encodes in; of `BACKBONES` there is `fp32` only.
        device: where it encodes: `cpu`, `cuda:0`, ...

    Raises:
        UserError: there are no such files here and the hub was not reached; it says how to get them.
    """
    with quiet():
        if name in BACKBONES:
            return BACKBONES[name](device)
        return clip.load(name, revision, precision, device)
