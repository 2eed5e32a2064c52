"""The names of the store's spaces: hashes of all that a row depends on, besides its input."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict

import torch

from sentifuse.encoders.interface import Backbone
from sentifuse.features import encoding
from sentifuse.features.encoding import Modality, Setting


def space_parts(
    modality: Modality, fingerprint: str, setting: Setting, libraries: Mapping[str, str]
) -> dict[str, object]:
    """All that a row of one modality depends on, besides its input.

    Args:
        modality: which.
        fingerprint: of its encoder.
        setting: what a row holds.
        libraries: as of `versions`.
    """
    parts: dict[str, object] = {
        "version": encoding.VERSION,
        "torch": libraries["torch"],
        "transformers": libraries["transformers"],
        "tokens": setting.tokens,
        "hidden_dtype": setting.hidden_dtype,
        "encoder": fingerprint,
    }
    if setting.precision != "fp32":
        parts |= {"precision": setting.precision, "forward": encoding.LOW_PRECISION_VERSION}
    elif setting.device == "cpu":
        parts |= {"products": "oneDNN"}  # by MKL, as they once were, the last digits differ
    # Named only where they differ from what was the only way once: rows of then stay valid.
    if setting.device != "cpu":
        parts |= {"device": setting.device}
    if setting.numerics != "native":
        parts |= {"numerics": setting.numerics}
    if modality == "image":
        parts |= {"split": setting.image_split, "batch": setting.image_batch}
        parts |= {"pillow": libraries["pillow"], "views": asdict(setting.views)}
    else:
        parts |= {"split": setting.text_split, "batch": setting.text_batch}
        parts |= {"text_version": encoding.TEXT_VERSION}
    return parts


def space_name(modality: Modality, backbone: Backbone, setting: Setting) -> str:
    """Names the store's space for one modality: different whenever a row could differ."""
    encoder = backbone.image if modality == "image" else backbone.text
    return name_of(modality, space_parts(modality, encoder.fingerprint, setting, versions()))


def name_of(modality: Modality, parts: Mapping[str, object]) -> str:
    """The name of the space of rows that depend on `parts`."""
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{modality}-{digest[:20]}"


def versions() -> dict[str, str]:
    """The versions of the libraries that a row's bits depend on."""
    import PIL
    import transformers

    return {
        "torch": str(torch.__version__),
        "transformers": transformers.__version__,
        "pillow": PIL.__version__,
    }
