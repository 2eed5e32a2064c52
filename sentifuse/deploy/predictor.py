"""Predicts pairs of an image and a text with a bundle.

    from sentifuse.predictor import Predictor
    predictor = Predictor.load("models/bundle")
    print(predictor.predict(image="a.jpg", text="what a day"))

Pairs take the way that `preprocess` and `infer` take, through the same functions and with the same random
views, so that the figures are the same.
"""

import io
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from sentifuse.data import images
from sentifuse.data.text import clean
from sentifuse.deploy import bundle
from sentifuse.deploy.bundle import Bundle
from sentifuse.encoders import registry
from sentifuse.encoders.interface import Backbone
from sentifuse.errors import UserError
from sentifuse.evaluation import attribution
from sentifuse.evaluation.attribution import Attribution
from sentifuse.features import encoding, encoding_record, online
from sentifuse.features.batches import Dataset
from sentifuse.features.encoding import Modality
from sentifuse.features.encoding_record import EncodingRecord
from sentifuse.features.online import Source
from sentifuse.features.schema import Features, Meta
from sentifuse.models.classifier import INPUT_MODES
from sentifuse.runtime import devices

PAIRS_A_BATCH = 32

# A file, its content, a file that is open, a picture of Pillow, or an array as of `images.from_array`.
ImageLike = str | Path | bytes | BinaryIO | Image.Image | NDArray[Any]


@dataclass(frozen=True)
class Pair:
    """What to predict; one of the two may be missing.

    Attributes:
        image: see `ImageLike`; or None. Random views are drawn by a hash of the content, so those of a file
            and of the same picture without it differ.
        text: the text itself, or None. A text that cleaning leaves nothing of is one nevertheless: the
            model has seen such in training.
    """

    image: ImageLike | None = None
    text: str | None = None


@dataclass(frozen=True)
class Prediction:
    """What the model says of a pair.

    Attributes:
        label: the class with the highest probability.
        probabilities: label -> probability, with the temperature; they sum to 1.
        confidence: the probability of `label`.
        text_contribution: what the text adds to `confidence`, -1..1; 0 without one.
        image_contribution: the same for the image. The two and `base` sum to `confidence`.
        base: the probability of `label` for a model that sees neither.
        used: the modalities that spoke, of `image` and `text`.
    """

    label: str
    probabilities: Mapping[str, float]
    confidence: float
    text_contribution: float
    image_contribution: float
    base: float
    used: tuple[str, ...]


class Predictor:
    """A model and its backbone, ready to predict."""

    def __init__(self, loaded: Bundle, backbone: Backbone, max_pixels: int) -> None:
        """Takes over what `load` has checked."""
        self._bundle, self._backbone, self._max_pixels = loaded, backbone, max_pixels
        self._model = loaded.model.double()
        self._unread = INPUT_MODES[self._model.config.input_mode]
        # The first call sets the tokenizer's truncation, which no other thread may be using then.
        backbone.text.tokenize(["warm"])

    @staticmethod
    def load(
        folder: str | Path, backbone: str | None = None, max_pixels: int = images.MAX_PIXELS
    ) -> "Predictor":
        """Loads a bundle and its backbone.

        Args:
            folder: the bundle.
            backbone: where the backbone is, if not where it was in training: a hub id or a folder.
            max_pixels: larger images are refused.

        Raises:
            UserError: the bundle is damaged, its backbone is not here, or is not the one that it was
                trained on.
        """
        loaded = bundle.load(Path(folder))
        record = loaded.encoding
        if record.version != encoding.VERSION:
            raise UserError(
                f"{folder}: inputs were encoded by version {record.version}, this is version "
                f"{encoding.VERSION}: use the release that made it, or train again with `dvc repro`"
            )
        name = record.backbone if backbone is None else backbone
        setting = record.setting
        device = setting.device if setting.device == devices.kind() else "cpu"
        try:
            found = registry.load(
                name, record.revision if backbone is None else None, setting.precision, device
            )
        except UserError as error:
            raise UserError(
                f"{folder}: its backbone cannot be loaded; another place is told by `--backbone` "
                f"(Predictor.load(..., backbone=...)): {error}"
            ) from None
        _check_backbone(Path(folder), name, found, record)
        here = encoding_record.versions()
        other = [
            f"{library} {version} (here {here.get(library)})"
            for library, version in record.libraries.items()
            if here.get(library) != version
        ]
        if device != setting.device:
            other.append(f"{setting.device} (here {device})")
        if other:
            warnings.warn(
                f"{folder}: was trained with {', '.join(other)}: the last digits may differ",
                stacklevel=2,
            )
        return Predictor(loaded, found, max_pixels)

    @property
    def labels(self) -> Sequence[str]:
        """The class names in the order of training."""
        return self._model.config.labels

    def predict(self, image: ImageLike | None = None, text: str | None = None) -> Prediction:
        """Predicts one pair; one of the two may be missing.

        Args:
            image: a path, bytes, a binary file, a picture of Pillow or an array (`ImageLike`).
            text: the text itself.

        Raises:
            UserError: the image cannot be read, or there is nothing that the model reads.
        """
        [prediction] = self._batch([Pair(image, text)])
        return prediction

    def predict_many(self, pairs: Iterable[Pair]) -> Iterator[Prediction]:
        """Predicts pairs in their order, a batch in memory at a time.

        Raises:
            UserError: as of `predict`.
        """
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
                # Which one is it? A row does not depend on its batch, so one by one is the same.
                yield from map(self._try, batch)

    def check_many(self, pairs: Iterable[Pair]) -> Iterator[UserError | None]:
        """What is wrong with each pair, as far as it can be seen without decoding the image."""
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
        out: list[Prediction | None] = [None] * len(pairs)
        groups: dict[tuple[Modality, ...], list[int]] = {}
        for place, content in enumerate(contents):
            groups.setdefault(tuple(content), []).append(place)
        for used, places in groups.items():
            features = self._features([contents[place] for place in places])
            rows = np.arange(len(places))
            found = attribution.attribute(
                self._model,
                Dataset(features, rows, torch.full((len(places),), -1), features.guids),
                self._bundle.predict_views,
                self._bundle.temperature,
                absent={"image", "text"}.difference(used),
            )
            for row, place in enumerate(places):
                out[place] = self._prediction(found, row, used)
        return cast(list[Prediction], out)

    def _content(self, pair: Pair) -> dict[Modality, Source]:
        """Modality -> content, of those that the pair has and the model reads."""
        content: dict[Modality, Source] = {}
        if pair.image is not None and "image" not in self._unread:
            content["image"] = self._image(pair.image)
        if pair.text is not None and "text" not in self._unread:
            # A lone surrogate is no character: it becomes a question mark.
            content["text"] = Source(pair.text[:20], pair.text.encode("utf-8", "replace"))
        # Without an image such a text would be all there is, and say nothing.
        if not content or (list(content) == ["text"] and not clean(pair.text or "")):
            reads = " and ".join(sorted({"image", "text"} - self._unread))
            raise UserError(
                f"nothing to predict: the model reads {reads}, and there is none; a text of URLs and "
                "@mentions only is empty after cleaning"
            )
        return content

    def _image(self, image: ImageLike) -> Source:
        name = str(image) if isinstance(image, str | os.PathLike) else "image"
        try:
            raw = _bytes(image)
            images.check(raw, self._max_pixels)
        except images.ImageError as error:
            raise UserError(f"{name}: not an image that can be read ({error})") from None
        except OSError as error:
            raise UserError(f"{name}: {error.strerror or error}") from None
        return Source(name, raw)

    def _features(self, samples: Sequence[Mapping[Modality, Source]]) -> Features:
        config, record = self._model.config, self._bundle.encoding
        views = record.views if self._bundle.predict_views == "mean" else 1
        meta = Meta(
            image_dim=config.image_dim,
            text_dim=config.text_dim,
            image_token_dim=config.image_token_dim,
            text_token_dim=config.text_token_dim,
            views=views,
            image_tail=config.image_tail,
            text_tail=config.text_tail,
            image_fingerprint=record.image_fingerprint,
            text_fingerprint=record.text_fingerprint,
        )
        return online.encode(self._backbone, record, meta, samples)

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
    """The content of a file; of what is none, a PNG file with the same pixels."""
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
            image.seek(0)  # whoever has just written it stands at its end
        return bytes(image.read())
    found = (
        f"{type(image).__name__}: expected a path, bytes, a binary file, a PIL image or an array"
    )
    raise images.ImageError("not an image", found)


def _check_backbone(folder: Path, name: str, found: Backbone, record: EncodingRecord) -> None:
    for modality, here, wanted in (
        ("image", found.image.fingerprint, record.image_fingerprint),
        ("text", found.text.fingerprint, record.text_fingerprint),
    ):
        if here != wanted:
            raise UserError(
                f"{folder}: trained on {record.backbone!r} with the {modality} encoder {wanted}, but "
                f"{name!r} here is {here}: get the one that it was trained on and pass its folder as "
                "`--backbone`, or train again with `dvc repro`"
            )
