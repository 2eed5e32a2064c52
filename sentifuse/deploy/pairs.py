"""Pairs of an image and a text, as callers have them -> what a model reads of them."""

import io
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sentifuse.data import images
from sentifuse.data.text import TextSpec, clean
from sentifuse.errors import UserError
from sentifuse.features.contents import Source

if TYPE_CHECKING:  # its module imports pydantic
    from sentifuse.config.backbone import Modality

# A path, the bytes of a file, an open file, a picture of Pillow, or an array as `images.from_array` takes.
ImageLike = str | Path | bytes | BinaryIO | Image.Image | NDArray[Any]


@dataclass(frozen=True)
class Pair:
    """What to predict; one of the two may be missing.

    Random views are drawn by a hash of the image's bytes, so a file and the same picture without its file
    have other views. A text of which cleaning leaves nothing is still a text, as it was in training.
    """

    image: ImageLike | None = None
    text: str | None = None


@dataclass(frozen=True)
class PairReader:
    """Turns pairs into what a model reads of them.

    Attributes:
        modalities: that the model reads, of `image` and `text`.
        texts: how each of its text encoders wants texts.
        max_pixels: images of more are refused.
        reads_images: whether the model reads the text in images.
    """

    modalities: Collection[str]
    texts: Sequence[TextSpec]
    max_pixels: int
    reads_images: bool

    def read(self, pair: Pair) -> "dict[Modality, Source]":
        """Modality -> content, of those that the pair has and the model reads.

        Raises:
            UserError: the image cannot be read, or there is nothing that the model reads.
        """
        content: dict[Modality, Source] = {}
        # A model of texts alone may read the text in the image.
        reads_text = self.reads_images and pair.text is not None
        if pair.image is not None and ("image" in self.modalities or reads_text):
            content["image"] = self._image(pair.image)
        if pair.text is not None and "text" in self.modalities:
            # A lone surrogate is not a character: it becomes a question mark.
            content["text"] = Source(pair.text[:20], pair.text.encode("utf-8", "replace"))
        # Where the text is all there is, an empty one says nothing.
        if not content or (list(content) == ["text"] and not self._says(pair.text or "")):
            reads = " and ".join(sorted(self.modalities))
            raise UserError(
                f"nothing to predict: the model reads {reads}, and there is none; a text of URLs and "
                "@mentions only is empty after cleaning"
            )
        return content

    def _says(self, text: str) -> bool:
        """Whether cleaning leaves something of a text for one of the encoders."""
        return any(clean(text, spec) for spec in self.texts)

    def _image(self, image: ImageLike) -> Source:
        name = str(image) if isinstance(image, str | os.PathLike) else "image"
        try:
            raw = _bytes(image)
            images.open_image(raw, self.max_pixels).close()
        except images.ImageError as error:
            raise UserError(f"{name}: not an image that can be read ({error})") from None
        except OSError as error:
            raise UserError(f"{name}: {error.strerror or error}") from None
        return Source(name, raw)


def _bytes(image: ImageLike) -> bytes:
    """The bytes of a file; a picture or an array becomes a PNG file with the same pixels."""
    if isinstance(image, bytes | bytearray | memoryview):
        return bytes(image)
    if isinstance(image, str | os.PathLike):
        return Path(image).read_bytes()
    if isinstance(image, Image.Image):
        out = io.BytesIO()
        images.decode(image).save(out, "PNG", compress_level=1)
        return out.getvalue()
    if isinstance(image, np.ndarray) or hasattr(image, "__array__"):
        return _bytes(images.from_array(image))
    if hasattr(image, "read"):
        if image.seekable():
            image.seek(0)  # a file that was just written stands at its end
        return bytes(image.read())
    kind = type(image).__name__
    raise images.ImageError(
        "not an image", f"{kind}: expected a path, bytes, a binary file, a PIL image or an array"
    )
