"""Encodes one shard of samples: it reads files and gives rows for the store. Every engine calls this.

A row must not depend on the rows that happen to share its batch. The kernel of a matrix product depends on
the shape of the batch, so all batches have one shape: the last one is filled up with copies of its last
sample, and a text batch holds texts of one length only, without padding.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from sentifuse.config.backbone import Modality
from sentifuse.data import images, locations, text
from sentifuse.data.images import Box, ImageSpec, ViewSpec
from sentifuse.data.text import TextSpec
from sentifuse.encoders.interface import AnyEncoder, ImageEncoder, TextEncoder
from sentifuse.errors import UserError
from sentifuse.features.contents import decoding
from sentifuse.features.store.space import EncodedRow
from sentifuse.runtime import finite

T = TypeVar("T")
# Part of every space's name: raise one when decoding, cleaning, encoding or batching changes what comes out.
# 2 and 4: all transformers run through `encoders.transformer`; emoji may become words.
VERSIONS: dict[Modality, int] = {"image": 2, "text": 4}


@dataclass(frozen=True)
class Setting:
    """What decides on a row, whichever encoder it is of.

    Attributes:
        hidden_dtype: `float16` or `float32`, of hidden states and tokens. Embeddings are float32.
        image_batch: images per batch.
        text_batch: texts per batch.
        views: how random views are drawn.
        device: `cpu` or `cuda`; the last digits depend on it.
        numerics: `portable` or `native`: with the latter they depend on the processor, too.
    """

    hidden_dtype: str
    image_batch: int
    text_batch: int
    views: ViewSpec
    device: str
    numerics: str


@dataclass(frozen=True)
class EncoderRecord:
    """One encoder, and what of its output is kept.

    Attributes:
        key: as of `registry.keys`.
        modality: what it reads.
        name: as in `backbone.image` or `backbone.text`.
        version: of `VERSIONS`.
        fingerprint: SHA-256 of the encoder.
        spec: how it wants its images or texts.
        max_tokens: where a text is cut; None of images.
        split: how many of its last layers are to be finetuned; their input is kept.
        tokens: whether the states after the last layer are kept (of the plain view, for images).
        precision: `fp32`, `bf16` or `fp16`, that it encodes in.
        ocr: SHA-256 of the reader of text in pictures whose texts it encodes (`reading`); None if it encodes
            what the samples have.
    """

    key: str
    modality: Modality
    name: str
    version: int
    fingerprint: str
    spec: ImageSpec | TextSpec
    max_tokens: int | None
    split: int
    tokens: bool
    precision: str
    ocr: str | None = None

    @property
    def task(self) -> str:
        """What it does, for progress bars."""
        what = "text in images" if self.ocr else f"{self.modality}s"
        return f"encode {what}: {self.name}"


@dataclass(frozen=True)
class Item:
    """One input.

    Attributes:
        key: in the store, and the seed of a random view.
        path: the location of its bytes (`locations`).
        view: which view of it (0: the plain one).
        text: what is to be encoded, where it was read in a picture; `path` is that of the picture.
        covered: the parts of the picture that are painted over. The key is then that of the whole one, a
            space, and whatever tells them apart: the view is drawn alike.
    """

    key: str
    path: str
    view: int
    text: str | None = None
    covered: tuple[Box, ...] = ()

    @property
    def seed(self) -> str:
        """What a random view is drawn by."""
        return self.key.partition(" ")[0]


def from_disk(item: Item) -> bytes:
    """The bytes of an item: its text, or what lies at its location."""
    return locations.read(item.path) if item.text is None else item.text.encode()


def encode_shard(
    encoder: AnyEncoder,
    record: EncoderRecord,
    setting: Setting,
    items: Sequence[Item],
    read: Callable[[Item], bytes] = from_disk,
) -> dict[str, EncodedRow]:
    """Reads and encodes `items`.

    Args:
        encoder: the encoder.
        record: what of its output is kept.
        setting: how it is applied.
        items: images or texts, one per key.
        read: gives the bytes of an item.

    Returns:
        Key -> `embedding` (1, D) float32; `tokens` and `hidden` (T or P, H) where the record has
        them. An embedding has the leading 1 so that rows can be concatenated.

    Raises:
        UserError: a file cannot be decoded, an embedding is not a finite number, or a hidden state does
            not fit float16.
    """
    if record.modality == "image":
        size = setting.image_batch
        batches = _images(cast(ImageEncoder, encoder).spec, setting, items, read)
    else:
        size = setting.text_batch
        batches = _texts(cast(TextEncoder, encoder), size, items, read)
    rows: dict[str, EncodedRow] = {}
    for own, inputs in batches:
        filled = _fill(inputs, size).to(encoder.device)
        encoded = encoder.encode(filled, record.split, record.tokens)
        embeddings = encoded.embedding[: len(own)].cpu().numpy()
        states = {"tokens": encoded.tokens, "hidden": encoded.hidden}
        kept = {name: value.cpu().numpy() for name, value in states.items() if value is not None}
        what = f"{record.modality} embeddings of {record.name!r}"
        finite.check(embeddings, [item.path for item in own], what, _remedy(record))
        rows |= _rows(own, embeddings, kept, record, setting)
    return rows


def _images(
    spec: ImageSpec, setting: Setting, items: Sequence[Item], read: Callable[[Item], bytes]
) -> Iterator[tuple[Sequence[Item], Tensor]]:
    """Up to B items at a time, and their pixels as the encoder takes them, (B, 3, S, S)."""
    last: tuple[tuple[str, str, tuple[Box, ...]], Image.Image] | None = None

    def view(item: Item) -> images.Pixels:
        # The views of one content stand side by side: it is decoded once for all of them.
        nonlocal last
        content = item.path, item.key.partition(".")[0], item.covered
        if last is None or last[0] != content:
            last = content, decode(read, item)
        if item.view == 0:
            return images.centre(last[1], spec)
        return images.random_view(last[1], spec, setting.views, seed=item.seed)

    for batch in _chunks(items, setting.image_batch):
        pixels = torch.from_numpy(np.stack([view(item) for item in batch]))
        yield batch, normalise(pixels, spec)


def _texts(
    encoder: TextEncoder, size: int, items: Sequence[Item], read: Callable[[Item], bytes]
) -> Iterator[tuple[Sequence[Item], Tensor]]:
    """Up to B items at a time, with as many tokens each, and these, (B, T)."""
    texts = [text.decode(read(item)) for item in items]
    by_length: dict[int, list[tuple[Item, list[int]]]] = defaultdict(list)
    for item, ids in zip(items, encoder.tokenize(texts), strict=True):
        by_length[len(ids)].append((item, ids))
    for length in sorted(by_length):
        for batch in _chunks(by_length[length], size):
            yield [item for item, _ in batch], torch.tensor([ids for _, ids in batch])


def _rows(
    items: Sequence[Item],
    embeddings: NDArray[Any],
    states: Mapping[str, NDArray[Any]],
    record: EncoderRecord,
    setting: Setting,
) -> dict[str, EncodedRow]:
    rows: dict[str, EncodedRow] = {}
    for index, item in enumerate(items):
        rows[item.key] = {"embedding": embeddings[index : index + 1]}
        for name, values in states.items():
            # Random views serve training's embeddings and hidden states; attention looks at the plain one.
            unused = name == "tokens" and item.view > 0
            own = values[index, :0] if unused else values[index]
            rows[item.key][name] = _narrow(own, item, record, setting.hidden_dtype)
    return rows


def _narrow(exact: NDArray[Any], item: Item, record: EncoderRecord, dtype: str) -> NDArray[Any]:
    with np.errstate(over="ignore"):  # the error below says it in words
        narrow: NDArray[Any] = exact.astype(dtype)
    if not np.isfinite(narrow).all():
        finite.check(exact[None], [item.path], "hidden states", _remedy(record))
        raise UserError(
            f"{item.path}: hidden states of {record.name!r} do not fit {dtype}; "
            "set backbone.hidden_dtype=float32"
        )
    return narrow


def _remedy(record: EncoderRecord) -> str:
    """What helps where an encoder gives numbers that are not finite."""
    helps = {
        "fp16": "set it to bf16 or fp32",
        "bf16": "set it to fp32",
        "fp32": "the weights hold such numbers: fetch the model again, or set another "
        f"backbone.{record.modality}",
    }
    return f"backbone.precision is {record.precision}: {helps[record.precision]}"


def normalise(pixels: Tensor, spec: ImageSpec) -> Tensor:
    """(B, S, S, 3) uint8 -> (B, 3, S, S) float32 with the encoder's mean and std."""
    mean = 255 * torch.tensor(spec.mean)
    std = 255 * torch.tensor(spec.std)
    return ((pixels.float() - mean) / std).permute(0, 3, 1, 2).contiguous()


def decode(read: Callable[[Item], bytes], item: Item) -> Image.Image:
    """The picture of an item, in RGB.

    Raises:
        UserError: it cannot be decoded.
    """
    with decoding(item.path):
        return images.cover(images.read(read(item)), item.covered)


def _chunks(items: Sequence[T], size: int) -> list[Sequence[T]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _fill(batch: Tensor, size: int) -> Tensor:
    missing = size - len(batch)
    return torch.cat([batch, batch[-1:].expand(missing, *batch.shape[1:])]) if missing else batch
