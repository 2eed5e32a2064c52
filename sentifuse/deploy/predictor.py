"""Predicts pairs of an image and a text with a bundle.

    from sentifuse.predictor import Predictor
    predictor = Predictor.load("models/bundle")
    print(predictor.predict(image="a.jpg", text="what a day"))

Pairs go through the same functions as in `preprocess` and `infer`, and random views are drawn alike, so
that the figures are the same.
"""

import io
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from sentifuse.config.backbone import Modality
from sentifuse.data import images
from sentifuse.data.text import TextSpec, clean
from sentifuse.deploy import loading
from sentifuse.deploy.loading import Bundle
from sentifuse.encoders.interface import Backbone
from sentifuse.encoders.ocr import Reader
from sentifuse.errors import UserError
from sentifuse.evaluation import attribution
from sentifuse.evaluation.attribution import Attribution
from sentifuse.features import online
from sentifuse.features.batches import Dataset
from sentifuse.features.online import Source
from sentifuse.features.schema import Meta
from sentifuse.models.classifier import INPUT_MODES

PAIRS_A_BATCH = 32

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
class Prediction:
    """What the model says of a pair; `base` and the two contributions sum to `confidence`."""

    label: Annotated[str, Field(description="the class with the highest probability")]
    probabilities: Annotated[
        dict[str, float], Field(description="label -> probability; they sum to 1")
    ]
    confidence: Annotated[float, Field(description="the probability of `label`")]
    text_contribution: Annotated[
        float, Field(description="what the text adds to `confidence`, -1..1; 0 without one")
    ]
    image_contribution: Annotated[
        float, Field(description="what the image adds to `confidence`, -1..1; 0 without one")
    ]
    base: Annotated[float, Field(description="the probability of `label` without seeing anything")]
    used: Annotated[
        tuple[str, ...],
        Field(description="the modalities that the model read, of `image` and `text`"),
    ]


class Predictor:
    """A model and its backbone, ready to predict."""

    def __init__(
        self, loaded: Bundle, backbone: Backbone, max_pixels: int, reader: Reader | None = None
    ) -> None:
        self._bundle, self._backbone, self._max_pixels = loaded, backbone, max_pixels
        self._reader = reader
        self._model = loaded.model.double()
        self._unread = INPUT_MODES[self._model.config.input_mode]

    @staticmethod
    def load(
        folder: str | Path,
        backbone: str | Mapping[str, str] | None = None,
        max_pixels: int = images.MAX_PIXELS,
    ) -> "Predictor":
        """Loads a bundle and its backbone.

        Args:
            folder: of the bundle.
            backbone: a hub id or a folder, where encoders are not where they were in training: one for all
                that do not come with pip, or one each by the key of the encoder.
            max_pixels: images of more are refused.

        Raises:
            UserError: the bundle is damaged, or the backbone that it was trained on is not here.
        """
        folder = Path(folder)
        loaded = loading.load(folder)
        found = loading.load_backbone(folder, loaded.encoding, backbone)
        reader = loading.load_reader(folder, loaded.encoding)
        return Predictor(loaded, found, max_pixels, reader)

    @property
    def labels(self) -> Sequence[str]:
        """The class names in the order of training."""
        return self._model.config.labels

    def predict(self, image: ImageLike | None = None, text: str | None = None) -> Prediction:
        """Predicts one pair; one of the two may be missing.

        Raises:
            UserError: the image cannot be read, or there is nothing that the model reads.
        """
        [prediction] = self._batch([Pair(image, text)])
        return prediction

    def predict_many(self, pairs: Iterable[Pair]) -> Iterator[Prediction]:
        """Predicts pairs in their order, a batch in memory at a time; raises as `predict` does."""
        for found in self.try_many(pairs):
            if isinstance(found, UserError):
                raise found
            yield found

    def try_many(self, pairs: Iterable[Pair]) -> Iterator[Prediction | UserError]:
        """As `predict_many`, but a pair that cannot be predicted gives its error."""
        rest = iter(pairs)
        while batch := list(islice(rest, PAIRS_A_BATCH)):
            try:
                yield from self._batch(batch)
            except UserError:
                # A prediction does not depend on its batch, so each pair alone gives the same.
                yield from map(self._try, batch)

    def check_many(self, pairs: Iterable[Pair]) -> Iterator[UserError | None]:
        """The error of each pair, or None, as far as it shows without decoding the image."""
        for pair in pairs:
            try:
                self._content(pair)
                yield None
            except UserError as error:
                yield error

    def _try(self, pair: Pair) -> Prediction | UserError:
        try:
            return self._batch([pair])[0]
        except UserError as error:
            return error

    def _batch(self, pairs: Sequence[Pair]) -> list[Prediction]:
        contents = [self._content(pair) for pair in pairs]
        groups = defaultdict(list)
        for place, content in enumerate(contents):
            groups[tuple(content)].append(place)
        found: dict[int, Prediction] = {}
        for used, places in groups.items():
            answers = self._answer([contents[place] for place in places], used)
            found |= dict(zip(places, answers, strict=True))
        return [found[place] for place in range(len(pairs))]

    def _answer(
        self, samples: Sequence[Mapping[Modality, Source]], used: tuple[Modality, ...]
    ) -> list[Prediction]:
        """Predicts samples that all have the modalities `used`."""
        config, record = self._model.config, self._bundle.encoding
        views = record.views if self._bundle.predict_views == "mean" else 1
        meta = Meta(views, tuple(config.encoders))
        features = online.encode(self._backbone, record, meta, samples, self._reader)
        count = len(samples)
        found = attribution.attribute(
            self._model,
            Dataset(features, np.arange(count), torch.full((count,), -1), features.guids),
            self._bundle.predict_views,
            self._bundle.temperature,
            absent={"image", "text"}.difference(used),
        )
        return [self._prediction(found, row, used) for row in range(count)]

    def _content(self, pair: Pair) -> dict[Modality, Source]:
        """Modality -> content, of those that the pair has and the model reads."""
        content: dict[Modality, Source] = {}
        # A model of texts alone may read the text in the image.
        reads_text = self._reader is not None and pair.text is not None
        if pair.image is not None and ("image" not in self._unread or reads_text):
            content["image"] = self._image(pair.image)
        if pair.text is not None and "text" not in self._unread:
            # A lone surrogate is not a character: it becomes a question mark.
            content["text"] = Source(pair.text[:20], pair.text.encode("utf-8", "replace"))
        # Where the text is all there is, an empty one says nothing.
        if not content or (list(content) == ["text"] and not self._says(pair.text or "")):
            reads = " and ".join(sorted({"image", "text"} - self._unread))
            raise UserError(
                f"nothing to predict: the model reads {reads}, and there is none; a text of URLs and "
                "@mentions only is empty after cleaning"
            )
        return content

    def _says(self, text: str) -> bool:
        """Whether cleaning leaves something of a text for one of the encoders."""
        specs = [each.spec for each in self._bundle.encoding.encoders]
        return any(clean(text, spec) for spec in specs if isinstance(spec, TextSpec))

    def _image(self, image: ImageLike) -> Source:
        name = str(image) if isinstance(image, str | os.PathLike) else "image"
        try:
            raw = _bytes(image)
            images.open_image(raw, self._max_pixels).close()
        except images.ImageError as error:
            raise UserError(f"{name}: not an image that can be read ({error})") from None
        except OSError as error:
            raise UserError(f"{name}: {error.strerror or error}") from None
        return Source(name, raw)

    def _prediction(self, found: Attribution, row: int, used: tuple[str, ...]) -> Prediction:
        probabilities = found.probabilities[row]
        best = int(probabilities.argmax())
        return Prediction(
            label=self.labels[best],
            probabilities=dict(zip(self.labels, probabilities.tolist(), strict=True)),
            confidence=float(probabilities[best]),
            text_contribution=float(found.text[row, best]),
            image_contribution=float(found.image[row, best]),
            base=float(found.base[row, best]),
            used=used,
        )


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
