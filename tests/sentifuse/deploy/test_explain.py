"""Explanations of a predictor that is made up, and of bundles."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sentifuse.config.backbone import Modality
from sentifuse.data import images
from sentifuse.data.text import TextSpec
from sentifuse.deploy import explaining, occlusion
from sentifuse.deploy.occlusion import Hidden
from sentifuse.deploy.pair_predictor import PairPredictor
from sentifuse.deploy.pairs import Pair, PairReader
from sentifuse.deploy.predictor import Predictor
from sentifuse.errors import UserError
from sentifuse.features.contents import Source
from sentifuse.metrics import shapley
from sentifuse.metrics.shapley import Attribution
from tests.bundles import make_bundle
from tests.sentifuse.deploy.test_predictor import picture

MOOD = {"love": 2.0, "hate": -2.0, "#fun": 1.0}


class Toy(PairPredictor):
    """Adds up the words of `MOOD`, and how bright the upper right cell of the picture is."""

    def __init__(self) -> None:
        super().__init__(("bad", "good"), PairReader({"image", "text"}, [TextSpec()], 10**6, False))
        self.batches: list[int] = []

    def _answer(
        self, samples: Sequence[Mapping[Modality, Source]], used: tuple[Modality, ...]
    ) -> Attribution:
        self.batches.append(len(samples))
        logits = np.zeros((4, len(samples), 2), np.float32)
        logits[:, :, 1] = [sum(self._score(sample)) for sample in samples]
        return shapley.contributions(logits, 1.0)

    def _score(self, sample: Mapping[Modality, Source]) -> list[float]:
        found = [0.1]
        if "text" in sample:
            found += [MOOD.get(word, 0.0) for word in occlusion.text_of(sample["text"]).split()]
        if "image" in sample:
            source = sample["image"]
            pixels = np.asarray(images.cover(images.read(source.raw), source.covered))
            found.append(float(pixels[:10, 30:].mean()) / 255)
        return found


def sun() -> bytes:
    """A dark picture with a bright upper right cell."""
    image = Image.new("RGB", (40, 40))
    image.paste("white", (30, 0, 40, 10))
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def sigmoid(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))


def test_a_word_adds_what_the_class_loses_without_it() -> None:
    found = Toy().explain(text="I love it, but hate that #fun")
    assert found.prediction == Toy().predict(text="I love it, but hate that #fun")
    assert found.prediction.label == "good"
    added = {word.text: word.contribution for word in found.words}
    assert list(added) == ["I", "love", "it", ",", "but", "hate", "that", "#fun"]
    whole = sigmoid(1.1)
    assert added["love"] == pytest.approx(whole - sigmoid(-0.9), abs=1e-6)
    assert added["hate"] == pytest.approx(whole - sigmoid(3.1), abs=1e-6)
    assert added["that"] == 0
    assert found.grid == ()
    for word in found.words:
        assert found.text[word.start : word.end] == word.text


def test_a_cell_adds_what_the_class_loses_where_it_is_painted_over() -> None:
    found = Toy().explain(sun())
    grid = np.array(found.grid)
    assert grid.shape == (4, 4)
    assert np.unravel_index(np.abs(grid).argmax(), grid.shape) == (0, 3)
    assert grid[0, 3] == pytest.approx(sigmoid(1.1) - sigmoid(0.1 + 16 / 255), abs=1e-3)
    assert np.abs(grid).sum() == grid[0, 3]
    assert (found.text, found.words) == ("", ())


def test_a_pair_takes_a_batch_or_two() -> None:
    toy = Toy()
    toy.explain(sun(), "one two three")
    assert toy.batches == [1 + 3 + 16]
    toy.explain(sun(), "word " * 5000)
    assert sum(toy.batches[1:]) == 1 + 16 + 125  # of 40 words each


def test_the_only_word_of_a_text_can_be_left_out() -> None:
    found = Toy().explain(text="love")
    [word] = found.words
    assert word.contribution == pytest.approx(sigmoid(2.1) - sigmoid(0.1), abs=1e-6)


def test_several_parts_can_be_hidden_at_once() -> None:
    pair = Pair(sun(), "I love it, I hate it")
    every = Hidden(spans=((2, 6), (13, 17)), boxes=(occlusion.cells()[3],))
    nothing, hidden = Toy().predict_occluded(pair, [Hidden(), every])
    assert nothing == Toy().predict(pair.image, pair.text)
    assert hidden.probabilities["good"] == pytest.approx(sigmoid(0.1 + 16 / 255), abs=1e-3)


@pytest.mark.parametrize("pair", [Pair(), Pair(text="http://x.y"), Pair(b"no image", "love")])
def test_what_cannot_be_predicted_cannot_be_explained(pair: Pair) -> None:
    with pytest.raises(UserError, match=r"nothing to predict|not an image"):
        Toy().explain(pair.image, pair.text)


def test_a_document_has_six_decimals() -> None:
    found = explaining.document(Toy().explain(sun(), "hate love"))
    assert [each["text"] for each in found["words"]] == ["hate", "love"]
    values = [each["contribution"] for each in found["words"]]
    values += [value for row in found["grid"] for value in row]
    assert values == [round(value, 6) for value in values]
    assert "-0.0" not in map(str, values)


def test_samples_are_explained_as_one_by_one() -> None:
    pairs = {str(n): Pair(sun(), " ".join(list(MOOD)[: n + 1])) for n in range(3)}
    found = explaining.of_samples(Toy(), pairs)
    assert found == {
        guid: explaining.document(Toy().explain(pair.image, pair.text))
        for guid, pair in pairs.items()
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that sees three views of each picture."""
    return make_bundle(tmp_path_factory.mktemp("explain"))


def test_a_bundle_explains_what_it_predicts(made: Path) -> None:
    loaded = Predictor.load(made)
    found = loaded.explain(picture(), "so good day 😀")
    whole = loaded.predict(picture(), "so good day 😀")
    assert found.prediction.probabilities == pytest.approx(whole.probabilities, abs=1e-12)
    assert [word.text for word in found.words] == ["so", "good", "day", "😀"]
    without = loaded.predict(picture(), "so  day 😀").probabilities[whole.label]
    assert found.words[1].contribution == pytest.approx(whole.confidence - without, abs=1e-12)
    assert np.abs(found.grid).max() > 1e-6
    assert found == loaded.explain(picture(), "so good day 😀")


def test_a_model_of_one_modality_explains_that_alone(tmp_path: Path) -> None:
    loaded = Predictor.load(
        make_bundle(tmp_path, input_mode="image_only", views=1, predict_views="plain")
    )
    found = loaded.explain(picture(), "so good")
    assert (found.text, found.words, len(found.grid)) == ("", (), 4)
