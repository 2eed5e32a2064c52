"""Labels described in words and embedded: what a zero-shot baseline compares images with."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import safetensors.numpy
import torch

from sentifuse.encoders.interface import Backbone, TextEncoder
from sentifuse.features.encoding import EncoderRecord
from sentifuse.features.schema import PROMPTS, Array
from sentifuse.runtime.files import write_bytes

# Label -> texts that describe it, in the order of the logits.
Prompts = Mapping[str, Sequence[str]]


def write(
    folder: Path, backbone: Backbone, encoders: Sequence[EncoderRecord], prompts: Prompts
) -> None:
    """Embeds `prompts` and writes them, if two encoders are halves of one model with a joint space.

    Args:
        folder: `data/features`.
        backbone: the encoders in float32.
        encoders: how they are used.
        prompts: of C labels; empty for none.
    """
    keys = joint(backbone, encoders) if prompts else None
    if keys is not None:
        image, text = keys
        embeddings = embed(cast(TextEncoder, backbone[text]), prompts)
        # Under one key: safetensors writes several in any order.
        raw = safetensors.numpy.save({"prompts": embeddings}, {"keys": json.dumps([image, text])})
        write_bytes(folder / PROMPTS, raw)


def joint(backbone: Backbone, encoders: Sequence[EncoderRecord]) -> tuple[str, str] | None:
    """The keys of the first image and text encoder that are halves of one model with a joint space."""
    for image in encoders:
        for text in encoders:
            halves = (image.modality, text.modality) == (
                "image",
                "text",
            ) and image.name == text.name
            if halves and backbone[image.key].joint and backbone[text.key].joint:
                return image.key, text.key
    return None


def embed(encoder: TextEncoder, prompts: Prompts) -> Array:
    """Embeds the prompts and averages those of a label (Radford et al. 2021, section 3.1.4).

    Args:
        encoder: of a joint space, in float32.
        prompts: of C labels, at least one text each.

    Returns:
        (C, D) float32, each of length 1.
    """
    rows = [_mean(encoder, list(texts)) for texts in prompts.values()]
    out: Array = torch.stack(rows).cpu().numpy()
    return out


def _mean(encoder: TextEncoder, texts: list[str]) -> torch.Tensor:
    # One at a time: so no batch decides on the last digits.
    ids = [torch.tensor([row], device=encoder.device) for row in encoder.tokenize(texts)]
    each = torch.cat([encoder.encode(row, 0, tokens=False).embedding for row in ids])  # (texts, D)
    mean = torch.nn.functional.normalize(each, dim=1).mean(dim=0)
    return torch.nn.functional.normalize(mean, dim=0)
