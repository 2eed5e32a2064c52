"""The backbones by name."""

from collections.abc import Callable

from sentifuse.backbones import bundled, clip
from sentifuse.backbones.interface import Backbone

# A name of `backbone.name` -> a function that loads that pair of encoders. Any other name is a hub
# id or a folder of a CLIP model.
BACKBONES: dict[str, Callable[[], Backbone]] = {
    "bundled": bundled.load,
}


def load(name: str, revision: str | None) -> Backbone:
    """Loads the backbone `name`.

    Raises:
        UserError: there are no such files here and the hub was not reached; it says how to get them.
    """
    if name in BACKBONES:
        return BACKBONES[name]()
    return clip.load(name, revision)
