"""The backbones by name."""

from collections.abc import Iterator
from contextlib import contextmanager

from sentifuse.encoders import bundled, clip
from sentifuse.encoders.interface import Backbone
from sentifuse.runtime.precision import BUNDLED


def load(name: str, revision: str | None, precision: str = "fp32", device: str = "cpu") -> Backbone:
    """Loads the backbone `name`.

    Args:
        name: `bundled`, a hub id, or a folder of a CLIP model.
        revision: of the hub repository.
        precision: `fp32`, `bf16` or `fp16`, that it encodes in; `bundled` has `fp32` only.
        device: where it encodes: `cpu`, `cuda:0`, ...

    Raises:
        UserError: there are no such files here and the hub was not reached; it says how to get them.
    """
    with _quiet():
        if name == BUNDLED:
            return bundled.load(device)
        return clip.load(name, revision, precision, device)


@contextmanager
def _quiet() -> Iterator[None]:
    """Within the block transformers and the hub print errors only, and no progress bars.

    Their retries and bars on stderr would hide the one line that says what is wrong.
    """
    from huggingface_hub.utils import logging as hub_logging
    from transformers.utils import logging

    before = logging.get_verbosity(), hub_logging.get_verbosity()
    bars = logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    hub_logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before[0])
        hub_logging.set_verbosity(before[1])
        if bars:
            logging.enable_progress_bar()
