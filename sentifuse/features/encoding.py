"""Encodes one shard of samples: it reads files and gives rows for the store. Every engine calls this.

A row must not depend on the rows that happen to share its batch. The kernel of a matrix product depends on
the shape of the batch, so all batches have one shape: the last one is filled up with copies of its last
sample, and a text batch holds texts of one length only, without padding.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sentifuse.data import images, text
from sentifuse.data.images import ImageSpec, ViewSpec
from sentifuse.encoders.interface import Backbone
from sentifuse.errors import UserError
from sentifuse.features.store.space import EncodedRow
from sentifuse.runtime import finite

T = TypeVar("T")
Modality = Literal["image", "text"]

# Part of every space's name: raise it when cleaning, decoding or batching changes what comes out.
VERSION = 1
# The same for rows in bf16 and fp16 only, of `encoders.low_precision`. 2: transformers' own modules.
LOW_PRECISION_VERSION = 2
# The same for texts only, which are encoded again in a minute. 2: UTF-16 is decoded. 3: Windows-1252
# and Big5 are told from GBK, entities are decoded, links end before Chinese.
TEXT_VERSION = 3


@dataclass(frozen=True)
class Setting:
    """All that decides what a row holds, besides its input and the encoders.

    Attributes:
        image_split: how many of the image encoder's last layers are to be finetuned; their input is kept.
        text_split: the same for the text encoder.
        tokens: whether the states after the last layer are kept (of the plain view, for images).
        hidden_dtype: `float16` or `float32`, of hidden states and tokens. Embeddings are float32.
        image_batch: images per batch.
        text_batch: texts per batch.
        views: how random views are drawn.
        precision: `fp32`, `bf16` or `fp16`, of the encoders' products.
        device: `cpu` or `cuda`; the last digits depend on it.
        numerics: `portable` or `native`: with the latter they depend on the processor, too.
    """

    image_split: int
    text_split: int
    tokens: bool
    hidden_dtype: str
    image_batch: int
    text_batch: int
    views: ViewSpec
    # Records from before there was a choice lack these.
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
    batches = _images if modality == "image" else _texts
    split = setting.image_split if modality == "image" else setting.text_split
    size = setting.image_batch if modality == "image" else setting.text_batch
    encoder = backbone.image if modality == "image" else backbone.text
    rows: dict[str, EncodedRow] = {}
    for own, inputs in batches(backbone, setting, items, read):
        filled = _fill(inputs, size).to(encoder.device)
        encoded = encoder.encode(filled, split, setting.tokens)
        embeddings = encoded.embedding[: len(own)].cpu().numpy()
        states = {"tokens": encoded.tokens, "hidden": encoded.hidden}
        kept = {name: value.cpu().numpy() for name, value in states.items() if value is not None}
        what = f"{modality} embeddings of {backbone.name!r}"
        finite.check(embeddings, [item.path for item in own], what, _remedy(setting))
        rows |= _rows(own, embeddings, kept, setting)
    return rows


def _images(
    backbone: Backbone, setting: Setting, items: Sequence[Item], read: Callable[[Item], bytes]
) -> Iterator[tuple[Sequence[Item], Tensor]]:
    """Up to B items at a time, and their pixels as the encoder takes them, (B, 3, S, S)."""
    spec = backbone.image.spec
    last: tuple[tuple[str, str], Image.Image] | None = None

    def view(item: Item) -> images.Pixels:
        # The views of one content stand side by side: it is decoded once for all of them.
        nonlocal last
        content = item.path, item.key.partition(".")[0]
        if last is None or last[0] != content:
            last = content, _decode(read, item)
        if item.view == 0:
            return images.centre(last[1], spec)
        return images.random_view(last[1], spec, setting.views, seed=item.key)

    for batch in _chunks(items, setting.image_batch):
        pixels = torch.from_numpy(np.stack([view(item) for item in batch]))
        yield batch, normalise(pixels, spec)


def _texts(
    backbone: Backbone, setting: Setting, items: Sequence[Item], read: Callable[[Item], bytes]
) -> Iterator[tuple[Sequence[Item], Tensor]]:
    """Up to B items at a time, with as many tokens each, and these, (B, T)."""
    texts = [text.clean(text.decode(read(item))) for item in items]
    by_length: dict[int, list[tuple[Item, list[int]]]] = defaultdict(list)
    for item, ids in zip(items, backbone.text.tokenize(texts), strict=True):
        by_length[len(ids)].append((item, ids))
    for length in sorted(by_length):
        for batch in _chunks(by_length[length], setting.text_batch):
            yield [item for item, _ in batch], torch.tensor([ids for _, ids in batch])


def _rows(
    items: Sequence[Item],
    embeddings: NDArray[Any],
    states: Mapping[str, NDArray[Any]],
    setting: Setting,
) -> dict[str, EncodedRow]:
    rows: dict[str, EncodedRow] = {}
    for index, item in enumerate(items):
        rows[item.key] = {"embedding": embeddings[index : index + 1]}
        for name, values in states.items():
            # Random views serve training's embeddings and hidden states; attention looks at the plain one.
            unused = name == "tokens" and item.view > 0
            own = values[index, :0] if unused else values[index]
            rows[item.key][name] = _narrow(own, item, setting)
    return rows


def _narrow(exact: NDArray[Any], item: Item, setting: Setting) -> NDArray[Any]:
    with np.errstate(over="ignore"):  # the error below says it in words
        narrow: NDArray[Any] = exact.astype(setting.hidden_dtype)
    if not np.isfinite(narrow).all():
        finite.check(exact[None], [item.path], "hidden states", _remedy(setting))
        raise UserError(
            f"{item.path}: hidden states do not fit {setting.hidden_dtype}; "
            "set backbone.hidden_dtype=float32"
        )
    return narrow


def _remedy(setting: Setting) -> str:
    """What helps where an encoder gives numbers that are not finite."""
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


def _chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _fill(batch: Tensor, size: int) -> Tensor:
    missing = size - len(batch)
    return torch.cat([batch, batch[-1:].expand(missing, *batch.shape[1:])]) if missing else batch
