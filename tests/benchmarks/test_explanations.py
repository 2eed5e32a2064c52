"""What explanations are checked with; and that the words which a real encoder names first are of mood."""

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from benchmarks import demo_truth, explanations
from demo.text import compose
from sentifuse.config.backbone import Modality
from sentifuse.deploy.pair_predictor import PairPredictor
from sentifuse.deploy.pairs import Pair, PairReader
from sentifuse.encoders import registry
from sentifuse.features.contents import Source
from sentifuse.metrics import shapley
from sentifuse.metrics.shapley import Attribution
from tests.sentifuse.deploy.test_explain import Toy, sun

LABELS = ("negative", "neutral", "positive")


class OfTexts(PairPredictor):
    """A logistic regression on the embeddings of the text encoder that comes with pip."""

    def __init__(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        self._encoder: Any = registry.load("minilm-l6", "text")
        super().__init__(LABELS, PairReader({"text"}, [self._encoder.spec], 10**6, False))
        self._head = LogisticRegression(C=10, max_iter=300).fit(self._encode(texts), labels)

    def _encode(self, texts: Sequence[str]) -> np.ndarray:
        ids = self._encoder.tokenize(list(texts))
        rows = np.empty((len(ids), self._encoder.embedding_dim))
        for length in set(map(len, ids)):
            own = [place for place, each in enumerate(ids) if len(each) == length]
            batch = torch.tensor([ids[place] for place in own])
            rows[own] = self._encoder.encode(batch, 0, tokens=False).embedding.numpy()
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def _answer(
        self, samples: Sequence[Mapping[Modality, Source]], used: tuple[Modality, ...]
    ) -> Attribution:
        logits = self._head.decision_function(
            self._encode([sample["text"].raw.decode() for sample in samples])
        )
        return shapley.contributions(np.stack([logits] * 4), 1.0)


def test_of_a_real_encoder_the_first_word_is_of_mood_in_four_of_five_texts() -> None:
    rng = Random(1)
    labels = [LABELS[place % 3] for place in range(200)]
    texts = [compose(label, "utf-8", rng) for label in labels]  # type: ignore[arg-type]
    predictor = OfTexts(texts[:150], labels[:150])
    # Neutral texts hardly ever have a word of mood.
    moody = [text for text, label in zip(texts, labels, strict=True) if label != "neutral"]
    found = [predictor.explain(text=text) for text in moody[100:]]
    hits = explanations.first_is_of_mood(found)
    assert len(hits) >= 30
    assert np.mean(hits) >= 0.8


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("amazing", True), ("Amaizng", True), ("WORST", True), ("😍😍", True), ("#goodtimes", True),
        ("#Leeds", False), ("the", False), ("📷", False), ("match", False),
    ],
)  # fmt: skip
def test_words_of_mood_are_known_however_they_are_written(word: str, expected: bool) -> None:
    assert demo_truth.is_of_mood(word) == expected


def test_where_things_are_is_known_for_each_picture() -> None:
    found = demo_truth.objects(labelled=30, unlabelled=2, seed=0)
    assert 20 <= len(found) <= 32
    shares = [mask.mean() for mask in found.values()]
    assert 0.05 < np.mean(shares) < 0.7
    assert all(200 <= side <= 500 for mask in found.values() for side in mask.shape)


def test_a_cell_has_the_share_of_it_that_is_covered() -> None:
    mask = np.zeros((40, 80), bool)
    mask[:10, 20:50] = True
    np.testing.assert_array_equal(demo_truth.by_cell(mask, 4), [0, 1, 0.5, 0, *[0] * 12])


def test_a_curve_falls_faster_in_the_order_of_the_explanation() -> None:
    toy, pair = Toy(), Pair(sun(), "I love it and we had #fun")
    explanation = toy.explain(pair.image, pair.text)
    for kind in ("words", "cells"):
        found = explanations.curve(toy, pair, explanation, kind)
        assert found is not None
        explained, chance = found
        assert explained[0] == explanation.prediction.confidence
        assert chance[0] == pytest.approx(explained[0], abs=1e-9)
        assert explained[-1] == pytest.approx(chance[-1], abs=1e-9)
        assert (explained <= chance + 1e-9).all()
        assert explained.mean() < chance.mean() - 0.01
    assert explanations.curve(toy, Pair(text="love"), toy.explain(text="love"), "words") is None


def test_a_figure_has_its_interval() -> None:
    assert explanations.told([0.5] * 4) == "50.0 (50.0 to 50.0), 4 samples"
    low, high = explanations.told([0.0, 1.0] * 50).split("(")[1].split(")")[0].split(" to ")
    assert 35 < float(low) < 45 < 55 < float(high) < 65
