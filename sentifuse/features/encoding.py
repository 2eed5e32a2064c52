"""Encodes one shard of samples: files in, rows for the store out. Every engine runs this function.

A row must not depend on the rows that it happens to share a batch with. Matrix products choose their
kernel by the shape of the batch, so every batch has one shape: the last one is filled up with copies of
its last sample, and a text batch holds texts of one length only, without padding.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sentifuse.data import images, text
from sentifuse.data.images import ImageSpec, ViewSpec
from sentifuse.encoders.interface import Backbone, Encoded, ImageEncoder, TextEncoder
from sentifuse.errors import UserError
from sentifuse.features.store.space import EncodedRow
from sentifuse.runtime import finite

T = TypeVar("T")
Modality = Literal["image", "text"]

# Part of every space's name: raise it when cleaning, decoding or batching changes what comes out.
VERSION = 1
# The same for rows in bf16 and fp16 alone: of `encoders.low_precision`. 2: transformers' own modules.
LOW_PRECISION_VERSION = 2
# The same for texts alone, which are encoded anew in a minute. 2: UTF-16 is decoded. 3: Windows-1252
# and Big5 are told from GBK, entities are decoded, links end before Chinese.
TEXT_VERSION = 3


@dataclass(frozen=True)
class Setting:
    """All that decides what a row holds, besides its input.

    Attributes:
        image_split: how many of the last vision layers are to be finetuned; their input is kept.
        text_split: the same for the text encoder.
        tokens: whether the states after the last layer are kept (of the plain view, for images).
        hidden_dtype: `float16` or `float32`, of hidden states and tokens. Embeddings are float32.
        image_batch: images a batch.
        text_batch: texts a batch.
        views: how random views are drawn.
        precision: `fp32`, `bf16` or `fp16`, of the encoders' products.
        device: `cpu` or `cuda`; the last digits depend on it.
        numerics: `portable` or `native`: they depend on the processor's instructions, too.
    """

    image_split: int
    text_split: int
    tokens: bool
    hidden_dtype: str
    image_batch: int
    text_batch: int
    views: ViewSpec
    # What was encoded before there was a choice has these.
    precision: str = "fp32"
    device: str = "cpu"
    numerics: str = "native"


@dataclass(frozen=True)
class Item:
    """One input: its key in the store, its file, and which view of it (0: the plain one)."""

    key: str
    path: str
    view: int


def item_key(content: str, view: int) -> str:
    """The store key of view `view` of a file with the content hash `content`."""
    return content if view == 0 else f"{content}.{view}"


def _from_disk(item: Item) -> bytes:
    return Path(item.path).read_bytes()


def encode_shard(
    backbone: Backbone,
    setting: Setting,
    modality: Modality,
    items: Sequence[Item],
    read: Callable[[Item], bytes] = _from_disk,
) -> dict[str, EncodedRow]:
    """Reads and encodes `items`.

    Args:
        backbone: the encoders.
        setting: what a row holds.
        modality: what the items are.
        items: one per key.
        read: gives the bytes of an item.

    Returns:
        Key -> `embedding` (1, D) float32; `tokens` and `hidden` (T or P, H) where the setting has
        them. An embedding has the leading 1 so that rows can be concatenated.

    Raises:
        UserError: a file cannot be decoded, an embedding is not a finite number, or a hidden state does
            not fit float16.
    """
    if modality == "image":
        return _encode_images(backbone, setting, items, read)
    return _encode_texts(backbone, setting, items, read)


def _encode_images(
    backbone: Backbone, setting: Setting, items: Sequence[Item], read: Callable[[Item], bytes]
) -> dict[str, EncodedRow]:
    encoder = backbone.image
    rows: dict[str, EncodedRow] = {}
    last: tuple[tuple[str, str], Image.Image] | None = None

    def decoded(item: Item) -> Image.Image:
        # Views of one content stand side by side: it is decoded once for all of them.
        nonlocal last
        content = item.path, item.key.partition(".")[0]
        if last is None or last[0] != content:
            last = content, _decode(read, item)
        return last[1]

    for batch in _chunks(items, setting.image_batch):
        pixels = np.stack([_view(decoded(item), item, encoder.spec, setting) for item in batch])
        filled = _fill(torch.from_numpy(pixels), setting.image_batch)
        prepared = normalise(filled, encoder.spec)
        encoded = _encode(encoder, prepared, setting.image_split, setting.tokens)
        _check(encoded, batch, f"image embeddings of {backbone.name!r}", setting)
        rows |= _rows(batch, encoded, setting)
    return rows


def _encode_texts(
    backbone: Backbone, setting: Setting, items: Sequence[Item], read: Callable[[Item], bytes]
) -> dict[str, EncodedRow]:
    encoder = backbone.text
    texts = [text.clean(text.decode(read(item))) for item in items]
    by_length: dict[int, list[tuple[Item, list[int]]]] = defaultdict(list)
    for item, ids in zip(items, encoder.tokenize(texts), strict=True):
        by_length[len(ids)].append((item, ids))
    rows: dict[str, EncodedRow] = {}
    for length in sorted(by_length):
        for batch in _chunks(by_length[length], setting.text_batch):
            rectangle = torch.tensor([ids for _, ids in batch])  # (B, T)
            filled = _fill(rectangle, setting.text_batch)
            encoded = _encode(encoder, filled, setting.text_split, setting.tokens)
            own = [item for item, _ in batch]
            _check(encoded, own, f"text embeddings of {backbone.name!r}", setting)
            rows |= _rows(own, encoded, setting)
    return rows


def _encode(
    encoder: ImageEncoder | TextEncoder, batch: Tensor, split: int, tokens: bool
) -> Encoded:
    """Encodes where the encoder is: the same path on the processor, where moving does nothing, and a GPU."""
    encoded = encoder.encode(batch.to(encoder.device), split, tokens)
    return Encoded(
        embedding=encoded.embedding.cpu(),
        tokens=None if encoded.tokens is None else encoded.tokens.cpu(),
        hidden=None if encoded.hidden is None else encoded.hidden.cpu(),
    )


def _check(encoded: Encoded, items: Sequence[Item], what: str, setting: Setting) -> None:
    """Checks the embeddings of `items`, before the copies that fill up their batch.

    States are checked row by row in `_narrow`, which looks at them in any case.
    """
    finite.check(
        encoded.embedding[: len(items)].numpy(),
        [item.path for item in items],
        what,
        _remedy(setting),
    )


def _remedy(setting: Setting) -> str:
    """What helps where an encoder gives what is not a number."""
    helps = {
        "fp16": "set it to bf16 or fp32",
        "bf16": "set it to fp32",
        "fp32": "the weights hold such numbers: fetch the model again, or set another backbone.name",
    }
    return f"backbone.precision is {setting.precision}: {helps[setting.precision]}"


def normalise(pixels: Tensor, spec: ImageSpec) -> Tensor:
    """(B, S, S, 3) uint8 -> (B, 3, S, S) float32 with the encoder's mean and std."""
    mean = 255 * torch.tensor(spec.mean)
    std = 255 * torch.tensor(spec.std)
    return ((pixels.float() - mean) / std).permute(0, 3, 1, 2).contiguous()


def _decode(read: Callable[[Item], bytes], item: Item) -> Image.Image:
    try:
        return images.read(read(item))
    except OSError as error:
        raise UserError(f"{item.path}: not an image that can be decoded ({error})") from None


def _view(image: Image.Image, item: Item, spec: ImageSpec, setting: Setting) -> images.Pixels:
    if item.view == 0:
        return images.centre(image, spec)
    return images.random_view(image, spec, setting.views, seed=item.key)


def _rows(items: Sequence[Item], encoded: Encoded, setting: Setting) -> dict[str, EncodedRow]:
    rows: dict[str, EncodedRow] = {}
    for index, item in enumerate(items):
        row: EncodedRow = {"embedding": encoded.embedding[index : index + 1].numpy()}
        # Random views serve training's embeddings and hidden states; attention looks at the plain one.
        if encoded.tokens is not None:
            tokens = encoded.tokens[index] if item.view == 0 else encoded.tokens[index, :0]
            row["tokens"] = _narrow(tokens, item, setting)
        if encoded.hidden is not None:
            row["hidden"] = _narrow(encoded.hidden[index], item, setting)
        rows[item.key] = row
    return rows


def _narrow(states: Tensor, item: Item, setting: Setting) -> np.ndarray:
    with np.errstate(over="ignore"):  # said below, in words
        narrow: np.ndarray = states.numpy().astype(setting.hidden_dtype)
    if not np.isfinite(narrow).all():
        finite.check(states.numpy()[None], [item.path], "hidden states", _remedy(setting))
        raise UserError(
            f"{item.path}: hidden states do not fit {setting.hidden_dtype}; "
            "set backbone.hidden_dtype=float32"
        )
    return narrow


def _chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _fill(batch: Tensor, size: int) -> Tensor:
    missing = size - len(batch)
    return torch.cat([batch, batch[-1:].expand(missing, *batch.shape[1:])]) if missing else batch
