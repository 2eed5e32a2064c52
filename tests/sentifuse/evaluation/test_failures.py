import json

import numpy as np
import pandas as pd
import pytest

from sentifuse.config.recipe import IntervalOptions
from sentifuse.data import modality_labels
from sentifuse.evaluation import describing, failures, slices
from sentifuse.evaluation.answers import MODEL, Answers

INTERVAL = IntervalOptions(level=0.95, resamples=100)
DUPLICATES = pd.DataFrame(
    columns=["guid", "group", "split", "image_sha256", "image_hash", "clean_text"], dtype=str
)
NOBODY = pd.DataFrame(columns=modality_labels.COLUMNS, dtype=str)


def about(texts: list[str]) -> describing.About:
    return describing.About(texts, None, DUPLICATES, NOBODY)


def drawn(samples: int) -> tuple[Answers, list[str]]:
    """Texts with an emoji are those that the model gets wrong."""
    rng = np.random.default_rng(0)
    targets = rng.integers(3, size=samples)
    hard = np.arange(samples) % 3 == 0
    predicted = np.where(hard, (targets + 1) % 3, targets)
    given = {name: rng.integers(3, size=samples) for name in ("text_only", "image_only")}
    texts = ["what a day to be here 😡" if flag else "what a day to be there" for flag in hard]
    guids = [str(place) for place in range(samples)]
    return Answers(("a", "b", "c"), guids, targets, {MODEL: predicted, **given}), texts


def test_all_of_it_goes_into_small_metrics_and_a_table() -> None:
    made, texts = drawn(90)
    found = failures.find(made, about(texts), INTERVAL, seed=0)
    assert list(found.metrics) == ["slices", "oracle", "twins_in_train"]
    assert json.loads(json.dumps(found.metrics, allow_nan=False)) == found.metrics
    worst = found.metrics["slices"]["worst"]
    assert (worst["slice"], worst["value"], worst["accuracy"]) == (describing.EMOJI, "yes", 0.0)
    assert found.metrics["twins_in_train"]["any"] == {"samples": 0}
    assert failures.told(found).startswith("worst of ")


def test_without_models_of_one_modality_there_is_no_oracle() -> None:
    made, texts = drawn(90)
    alone = Answers(made.labels, made.guids, made.targets, {MODEL: made.predicted})
    found = failures.find(alone, about(texts), INTERVAL, seed=0)
    assert list(found.metrics) == ["slices", "twins_in_train"]
    assert describing.AGREEMENT not in set(found.slices["slice"])


def test_without_a_test_part_there_is_a_header_only() -> None:
    nothing = np.array([], dtype=np.int64)
    found = failures.find(
        Answers(("a", "b"), [], nothing, {MODEL: nothing}), about([]), INTERVAL, seed=0
    )
    assert found.metrics == {}
    assert list(found.slices) == slices.COLUMNS
    assert len(found.slices) == 0
    assert failures.told(found) == ""


@pytest.mark.parametrize("samples", [1, 2, 39])
def test_a_small_test_part_has_no_scored_slice(samples: int) -> None:
    made, texts = drawn(samples)
    found = failures.find(made, about(texts), INTERVAL, seed=0)
    assert found.metrics["slices"] == {"scored": 0}
    assert found.slices["accuracy"].isna().all()
