"""Predicts pairs of an image and a text with an export.

    from sentifuse.exported import Predictor
    predictor = Predictor.load("models/export")
    print(predictor.predict(image="a.jpg", text="what a day"))

Images and texts go through the same functions as with a bundle, and random views are drawn alike.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from sentifuse.data import images, text
from sentifuse.data.emoji_names import Emoji
from sentifuse.data.images import ImageSpec
from sentifuse.data.text import TextSpec
from sentifuse.deploy.exported.files import (
    DECISION,
    EMOJI,
    ExportedEncoder,
    Manifest,
    output,
    read_file,
    read_manifest,
)
from sentifuse.deploy.exported.graphs import Array, Runs, Session, Tokenizer, padded, read_emoji
from sentifuse.deploy.pair_predictor import PairPredictor
from sentifuse.deploy.pairs import PairReader
from sentifuse.encoders import ocr
from sentifuse.encoders.ocr import Reader
from sentifuse.errors import UserError
from sentifuse.features.contents import Source, decoding, item_key
from sentifuse.metrics import shapley
from sentifuse.metrics.shapley import Attribution
from sentifuse.runtime.files import sha256
from sentifuse.runtime.threads import cores

if TYPE_CHECKING:  # its module imports pydantic
    from sentifuse.config.backbone import Modality

# Of one run: the states of more do not fit the processor's cache. In 8 bits each image and each text has its
# own run: activations may be scaled by the largest of a run, and an answer must not depend on its batch.
_IMAGES_A_RUN, _TEXTS_A_RUN = 8, 32


class ExportedPredictor(PairPredictor):
    """The graphs of an export, ready to predict.

    Attributes:
        sessions: the graph of each file.
    """

    sessions: Mapping[str, Runs]

    def __init__(
        self,
        manifest: Manifest,
        sessions: Mapping[str, Runs],
        tokenizers: Mapping[str, Tokenizer],
        reader: Reader | None,
        max_pixels: int,
    ) -> None:
        """Takes the parts: sessions by file, tokenizers by the key of the encoder."""
        specs = [each.spec for each in manifest.encoders]
        super().__init__(
            manifest.labels,
            PairReader(
                manifest.reads,
                [spec for spec in specs if isinstance(spec, TextSpec)],
                max_pixels,
                reads_images=reader is not None,
            ),
        )
        self._manifest, self._tokenizers = manifest, tokenizers
        self.sessions = sessions
        self._ocr = reader

    @staticmethod
    def load(
        folder: str | Path, max_pixels: int = images.MAX_PIXELS, threads: int | None = None
    ) -> "ExportedPredictor":
        """Loads an export.

        Args:
            folder: that `python -m sentifuse export` wrote.
            max_pixels: images of more are refused.
            threads: of each graph; None for one per core.

        Raises:
            UserError: a file is missing or damaged, or a library that it needs is not installed.
        """
        folder = Path(folder)
        manifest, document = read_manifest(folder)

        def file(name: str) -> bytes:
            return read_file(folder, name, document["files"])

        names = [DECISION, *(each.graph for each in manifest.encoders)]
        sessions = {name: Session(file(name), threads or cores()) for name in names}
        has_emoji = EMOJI in document["files"]
        emoji, unknown = read_emoji(file(EMOJI)) if has_emoji else (Emoji.of({}), {})
        tokenizers = {
            each.key: Tokenizer(
                file(each.tokenizer), each.spec, each.end, unknown.get(each.key, ()), emoji
            )
            for each in manifest.encoders
            if isinstance(each.spec, TextSpec)
        }
        return ExportedPredictor(
            manifest, sessions, tokenizers, _reader(folder, manifest), max_pixels
        )

    def _answer(
        self, samples: "Sequence[Mapping[Modality, Source]]", used: "tuple[Modality, ...]"
    ) -> Attribution:
        inputs: dict[str, Array] = {}
        for encoder in self._manifest.encoders:
            if encoder.modality not in used:
                inputs |= _absent(encoder, len(samples))
            elif encoder.ocr is not None:
                inputs |= self._in_images(encoder, samples)
            else:
                of_modality = self._images if encoder.modality == "image" else self._texts
                sources = [sample[encoder.modality] for sample in samples]
                inputs |= _each_once(sources, partial(of_modality, encoder))
        logits = self.sessions[DECISION].run(inputs)["logits"]  # (4, B, C)
        if not np.isfinite(logits).all():
            raise UserError(
                "the export's logits are not finite numbers: an input does not fit float16"
            )
        places = {frozenset(each): place for place, each in enumerate(shapley.COALITIONS)}
        wanted = shapley.coalitions({"image", "text"}.difference(used))
        rows = [places[frozenset(each)] for each in wanted]
        return shapley.contributions(logits[rows], self._manifest.temperature)

    def _images(self, encoder: ExportedEncoder, sources: Sequence[Source]) -> dict[str, Array]:
        """What the decision reads of B images: embeddings (B, V, D), tokens (B, P, H) of the plain view."""
        views = self._manifest.views
        pixels = [view for source in sources for view in self._views(encoder, source)]
        session = self.sessions[encoder.graph]
        most = views if encoder.precision == "int8" else _IMAGES_A_RUN
        runs = [
            session.run({"pixels": np.stack(pixels[start : start + most])})
            for start in range(0, len(pixels), most)
        ]
        found = {name: np.concatenate([run[name] for run in runs]) for name in runs[0]}
        return {
            name: each[::views]
            if name.endswith("tokens")
            else each.reshape(len(sources), views, -1)
            for name, each in found.items()
        }

    def _views(self, encoder: ExportedEncoder, source: Source) -> list[images.Pixels]:
        spec, drawn = encoder.spec, self._manifest.drawn
        assert isinstance(spec, ImageSpec)
        picture = _picture(source)
        found = [images.centre(picture, spec)]
        content = sha256(source.raw)
        for view in range(1, self._manifest.views):
            found.append(images.random_view(picture, spec, drawn, seed=item_key(content, view)))
        return found

    def _texts(self, encoder: ExportedEncoder, sources: Sequence[Source]) -> dict[str, Array]:
        """What the decision reads of B texts: embeddings (B, 1, D), and tokens (B, T, H) with their mask.

        Texts of one length share a run, so that nothing is padded.
        """
        texts = [text.decode(source.raw) for source in sources]
        by_length: dict[int, list[int]] = defaultdict(list)
        ids = self._tokenizers[encoder.key](texts)
        for place, each in enumerate(ids):
            by_length[len(each)].append(place)
        rows: dict[str, dict[int, Array]] = defaultdict(dict)
        most = 1 if encoder.precision == "int8" else _TEXTS_A_RUN
        for places in by_length.values():
            for start in range(0, len(places), most):
                own = places[start : start + most]
                given = np.array([ids[place] for place in own])
                for name, value in self.sessions[encoder.graph].run({"ids": given}).items():
                    rows[name] |= dict(zip(own, value, strict=True))
        found: dict[str, Array] = {}
        for name, by_place in rows.items():
            ordered = [by_place[place] for place in range(len(sources))]
            if name.endswith("tokens"):
                found[name], found[f"{encoder.key}.mask"] = padded(ordered)
            else:
                found[name] = np.stack(ordered)[:, None]
        return found

    def _in_images(
        self, encoder: ExportedEncoder, samples: "Sequence[Mapping[Modality, Source]]"
    ) -> dict[str, Array]:
        """As `_texts` of the texts in images; one without text is zeros."""
        assert self._ocr is not None
        found = _absent(encoder, len(samples))
        read = {
            place: self._ocr.read(_picture(sample["image"]))
            for place, sample in enumerate(samples)
            if "image" in sample
        }
        places = [place for place, words in read.items() if words]
        if places:
            sources = [Source("", read[place].encode()) for place in places]
            for name, value in self._texts(encoder, sources).items():
                found[name][places] = value
        return found


def _each_once(
    sources: Sequence[Source], encode: Callable[[Sequence[Source]], dict[str, Array]]
) -> dict[str, Array]:
    """What `encode` gives, but contents that are the same are encoded once."""
    rows = {source: row for row, source in enumerate(dict.fromkeys(sources))}
    chosen = [rows[source] for source in sources]
    return {name: value[chosen] for name, value in encode(list(rows)).items()}


def _absent(encoder: ExportedEncoder, count: int) -> dict[str, Array]:
    """Zeros for inputs that are not there: the model does not read them."""
    found: dict[str, Array] = {}
    for number in range(encoder.outputs):
        name = output(encoder.key, number, "embedding")
        found[name] = np.zeros((count, 1, encoder.dim), np.float32)
        if encoder.tokens:
            name = output(encoder.key, number, "tokens")
            found[name] = np.zeros((count, 1, encoder.token_dim), np.float32)
    if encoder.tokens and encoder.modality == "text":
        found[f"{encoder.key}.mask"] = np.ones((count, 1), np.bool_)
    return found


def _picture(source: Source) -> Image.Image:
    with decoding(source.name):
        return images.cover(images.read(source.raw), source.covered)


def _reader(folder: Path, manifest: Manifest) -> Reader | None:
    """What reads the text in images, if the model asks for it."""
    expected = next((each.ocr for each in manifest.encoders if each.ocr is not None), None)
    return None if expected is None else ocr.load_same(folder, expected)
