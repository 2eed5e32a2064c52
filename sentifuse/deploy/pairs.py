"""Pairs of an image and a text -> predictions, whatever computes them: a bundle in torch or an export.

Nothing here imports torch: it is what a predictor of exports is made of.
"""

import io
import os
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sentifuse.data import images, words
from sentifuse.data.text import TextSpec, clean
from sentifuse.deploy import occlusion
from sentifuse.deploy.occlusion import Hidden
from sentifuse.errors import UserError
from sentifuse.features.contents import Source
from sentifuse.metrics.shapley import Attribution

if TYPE_CHECKING:  # its module imports pydantic
    from sentifuse.config.backbone import Modality

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
    """What the model says of a pair; `base` and the two contributions sum to `confidence`.

    The descriptions stand in `/openapi.json`.
    """

    label: str = field(metadata={"description": "the class with the highest probability"})
    probabilities: dict[str, float] = field(
        metadata={"description": "label -> probability; they sum to 1"}
    )
    confidence: float = field(metadata={"description": "the probability of `label`"})
    text_contribution: float = field(
        metadata={"description": "what the text adds to `confidence`, -1..1; 0 without one"}
    )
    image_contribution: float = field(
        metadata={"description": "what the image adds to `confidence`, -1..1; 0 without one"}
    )
    base: float = field(
        metadata={"description": "the probability of `label` without seeing anything"}
    )
    used: tuple[str, ...] = field(
        metadata={"description": "the modalities that the model read, of `image` and `text`"}
    )


@dataclass(frozen=True)
class Word:
    """A word, its place in the text (as of a slice), and what it adds to the confidence, -1..1."""

    text: str
    start: int
    end: int
    contribution: float


@dataclass(frozen=True)
class Explanation:
    """Which words and which parts of the picture moved the confidence of a prediction.

    What a part adds is the confidence less what the class that was predicted still has once the part is
    hidden: it is positive where the part speaks for that class. The figures need not sum to anything.

    Attributes:
        prediction: of the whole pair.
        text: as it was given; empty if the model read none.
        words: of the text, in their order; links and mentions are among them.
        grid: what the cells of the picture add, -1..1: rows from the top, each from the left; empty if the
            model read no picture.
    """

    prediction: Prediction
    text: str
    words: tuple[Word, ...]
    grid: tuple[tuple[float, ...], ...]


class PairPredictor(ABC):
    """What every predictor has; `_answer` is what they differ in."""

    def __init__(
        self,
        labels: Sequence[str],
        reads: Collection[str],
        texts: Sequence[TextSpec],
        max_pixels: int,
        reads_images: bool,
    ) -> None:
        """Takes what decides on the contents of a pair.

        Args:
            labels: class names in the order of training.
            reads: the modalities that the model reads, of `image` and `text`.
            texts: how each of its text encoders wants texts.
            max_pixels: images of more are refused.
            reads_images: whether it reads the text in images.
        """
        self.labels, self._reads, self._specs = labels, reads, texts
        self._max_pixels, self._reads_images = max_pixels, reads_images

    @abstractmethod
    def _answer(
        self, samples: "Sequence[Mapping[Modality, Source]]", used: "tuple[Modality, ...]"
    ) -> Attribution:
        """What the model says of samples that all have the modalities `used`."""

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

    def explain(self, image: ImageLike | None = None, text: str | None = None) -> Explanation:
        """Predicts one pair, and says what each word and each part of the picture adds.

        It takes as long as the predictions of a pair for each word and each of the 16 parts.

        Raises:
            UserError: as of `predict`.
        """
        content = self._content(Pair(image, text))
        written = occlusion.text_of(content["text"]) if "text" in content else ""
        spans = words.spans(written, occlusion.MOST_WORDS)
        boxes = occlusion.cells() if "image" in content else []
        hidden = [Hidden(spans=(span,)) for span in spans] + [Hidden(boxes=(box,)) for box in boxes]
        whole, *partly = self._occluded(content, [Hidden(), *hidden])
        added = [whole.confidence - each.probabilities[whole.label] for each in partly]
        return Explanation(
            whole,
            written,
            tuple(
                Word(written[start:end], start, end, value)
                for (start, end), value in zip(spans, added, strict=False)
            ),
            tuple(
                tuple(added[place : place + occlusion.GRID])
                for place in range(len(spans), len(added), occlusion.GRID)
            ),
        )

    def predict_occluded(self, pair: Pair, hidden: Iterable[Hidden]) -> Iterator[Prediction]:
        """Predicts a pair anew for each of `hidden`, without what is hidden; raises as `predict` does."""
        return self._occluded(self._content(pair), hidden)

    def _occluded(
        self, content: "Mapping[Modality, Source]", hidden: Iterable[Hidden]
    ) -> Iterator[Prediction]:
        rest = iter(hidden)
        while batch := list(islice(rest, PAIRS_A_BATCH)):
            yield from self._predictions([occlusion.hide(content, each) for each in batch])

    def _try(self, pair: Pair) -> Prediction | UserError:
        try:
            return self._batch([pair])[0]
        except UserError as error:
            return error

    def _batch(self, pairs: Sequence[Pair]) -> list[Prediction]:
        return self._predictions([self._content(pair) for pair in pairs])

    def _predictions(self, contents: "Sequence[Mapping[Modality, Source]]") -> list[Prediction]:
        groups = defaultdict(list)
        for place, content in enumerate(contents):
            groups[tuple(content)].append(place)
        found: dict[int, Prediction] = {}
        for used, places in groups.items():
            answers = self._answer([contents[place] for place in places], used)
            found |= {place: self._prediction(answers, n, used) for n, place in enumerate(places)}
        return [found[place] for place in range(len(contents))]

    def _content(self, pair: Pair) -> "dict[Modality, Source]":
        """Modality -> content, of those that the pair has and the model reads."""
        content: dict[Modality, Source] = {}
        # A model of texts alone may read the text in the image.
        reads_text = self._reads_images and pair.text is not None
        if pair.image is not None and ("image" in self._reads or reads_text):
            content["image"] = self._image(pair.image)
        if pair.text is not None and "text" in self._reads:
            # A lone surrogate is not a character: it becomes a question mark.
            content["text"] = Source(pair.text[:20], pair.text.encode("utf-8", "replace"))
        # Where the text is all there is, an empty one says nothing.
        if not content or (list(content) == ["text"] and not self._says(pair.text or "")):
            reads = " and ".join(sorted(self._reads))
            raise UserError(
                f"nothing to predict: the model reads {reads}, and there is none; a text of URLs and "
                "@mentions only is empty after cleaning"
            )
        return content

    def _says(self, text: str) -> bool:
        """Whether cleaning leaves something of a text for one of the encoders."""
        return any(clean(text, spec) for spec in self._specs)

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
