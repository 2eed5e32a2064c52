"""Predicts pairs of an image and a text with a bundle.

    from sentifuse.predictor import Predictor
    predictor = Predictor.load("models/bundle")
    print(predictor.predict(image="a.jpg", text="what a day"))

Pairs go through the same functions as in `preprocess` and `infer`, and random views are drawn alike, so
that the figures are the same.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from sentifuse.config.backbone import Modality
from sentifuse.data import images
from sentifuse.data.text import TextSpec
from sentifuse.deploy import loading
from sentifuse.deploy.loading import Bundle
from sentifuse.deploy.pair_predictor import PairPredictor
from sentifuse.deploy.pairs import PairReader
from sentifuse.encoders.interface import Backbone
from sentifuse.encoders.ocr import Reader
from sentifuse.evaluation import attribution
from sentifuse.features import online
from sentifuse.features.batches import Dataset
from sentifuse.features.contents import Source
from sentifuse.features.schema import Meta
from sentifuse.metrics.shapley import Attribution
from sentifuse.models.classifier import INPUT_MODES


class Predictor(PairPredictor):
    """A model and its backbone, ready to predict."""

    def __init__(
        self, loaded: Bundle, backbone: Backbone, max_pixels: int, reader: Reader | None = None
    ) -> None:
        self._bundle, self._backbone, self._ocr = loaded, backbone, reader
        self._model = loaded.model.double()
        config = self._model.config
        specs = [each.spec for each in loaded.encoding.encoders]
        super().__init__(
            config.labels,
            PairReader(
                {"image", "text"} - INPUT_MODES[config.input_mode],
                [spec for spec in specs if isinstance(spec, TextSpec)],
                max_pixels,
                reads_images=reader is not None,
            ),
        )

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

    def use_threads(self, count: int) -> None:
        """As of `PairPredictor`: torch keeps the number for each thread that calls it."""
        torch.set_num_threads(count)

    def _answer(
        self, samples: Sequence[Mapping[Modality, Source]], used: tuple[Modality, ...]
    ) -> Attribution:
        config, record = self._model.config, self._bundle.encoding
        views = record.views if self._bundle.predict_views == "mean" else 1
        meta = Meta(views, tuple(config.encoders))
        features = online.encode(self._backbone, record, meta, samples, self._ocr)
        count = len(samples)
        return attribution.attribute(
            self._model,
            Dataset(features, np.arange(count), torch.full((count,), -1), features.guids),
            self._bundle.predict_views,
            self._bundle.temperature,
            absent={"image", "text"}.difference(used),
        )
