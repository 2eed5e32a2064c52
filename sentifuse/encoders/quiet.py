"""Loading without bars and retries on stderr, noise beside the one line that says what is wrong."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Within the block transformers and the hub tell errors only; then they tell what they told before."""
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
