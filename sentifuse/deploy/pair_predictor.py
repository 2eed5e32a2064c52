"""Predicts pairs and explains predictions, whatever computes them: a bundle in torch or an export.

Nothing here imports torch: it is what a predictor of exports is made of.
"""

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from sentifuse.data import words
from sentifuse.deploy import occlusion
from sentifuse.deploy.answers import Explanation, Prediction, Word
from sentifuse.deploy.occlusion import Hidden
from sentifuse.deploy.pairs import ImageLike, Pair, PairReader
from sentifuse.errors import UserError
from sentifuse.features.contents import Source
from sentifuse.metrics.shapley import Attribution

if TYPE_CHECKING:  # its module imports pydantic
    from sentifuse.config.backbone import Modality

PAIRS_A_BATCH = 32


class PairPredictor(ABC):
    """What every predictor has; `_answer` is what they differ in."""

    def __init__(self, labels: Sequence[str], reader: PairReader) -> None:
        """Takes the class names in the order of training, and what reads pairs for the model."""
        self.labels, self._reader = labels, reader

    @abstractmethod
    def _answer(
        self, samples: "Sequence[Mapping[Modality, Source]]", used: "tuple[Modality, ...]"
    ) -> Attribution:
        """What the model says of samples that all have the modalities `used`."""

    def use_threads(self, count: int) -> None:  # noqa: B027 (most have nothing to do)
        """Lets what the calling thread predicts from now on be computed by `count` threads.

        An export's graphs keep those that they were opened with.
        """

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
                self._reader.read(pair)
                yield None
            except UserError as error:
                yield error

    def explain(self, image: ImageLike | None = None, text: str | None = None) -> Explanation:
        """Predicts one pair, and says what each word and each part of the picture adds.

        It takes as long as the predictions of a pair for each word and each of the 16 parts.

        Raises:
            UserError: as of `predict`.
        """
        content = self._reader.read(Pair(image, text))
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
        return self._occluded(self._reader.read(pair), hidden)

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
        return self._predictions([self._reader.read(pair) for pair in pairs])

    def _predictions(self, contents: "Sequence[Mapping[Modality, Source]]") -> list[Prediction]:
        groups = defaultdict(list)
        for place, content in enumerate(contents):
            groups[tuple(content)].append(place)
        found: dict[int, Prediction] = {}
        for used, places in groups.items():
            answers = self._answer([contents[place] for place in places], used)
            found |= {place: self._prediction(answers, n, used) for n, place in enumerate(places)}
        return [found[place] for place in range(len(contents))]

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
