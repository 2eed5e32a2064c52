"""Tests of predictions for rows that lack a modality."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sentifuse.data.splits import SplitRow
from sentifuse.errors import UserError
from sentifuse.evaluation import incomplete
from sentifuse.evaluation.attribution import attribute
from sentifuse.features.parts import Parts
from sentifuse.features.schema import Array, Arrays, Features
from sentifuse.models.classifier import Classifier
from sentifuse.models.fusion import FUSIONS
from tests.synthetic import IMAGE, LABELS, TEXT, encoders, make_parts, model_config, with_arrays

TRAIN, PREDICT = 20, 9
# Two rows of each kind, one complete row more, and two that have no features.
MISSING = {f"{TRAIN + n}": ("", "image", "text")[n % 3] for n in range(7)}
NO_INPUT = ["x", "../y"]


def without(features: Features, missing: dict[str, str]) -> Features:
    """The features as `assemble.write` leaves them: zeros, and no text tokens."""
    images = {name: each.copy() for name, each in there(features.arrays[IMAGE]).items()}
    texts = there(features.arrays[TEXT])
    embeddings, offsets = texts["embeddings"].copy(), texts["offsets"]
    lengths, keep = np.diff(offsets), np.ones(len(texts["tokens"]), dtype=bool)
    for row, guid in enumerate(features.guids):
        if missing.get(guid) == "image":
            for each in images.values():
                each[row] = 0
        if missing.get(guid) == "text":
            embeddings[row], lengths[row] = 0, 0
            keep[offsets[row] : offsets[row + 1]] = False
    changed = {
        "embeddings": embeddings,
        "offsets": np.concatenate([[0], np.cumsum(lengths)]),
        "tokens": texts["tokens"][keep],
        "hidden": texts["hidden"][keep],
    }
    return with_arrays(features, image=images, text=changed)


def there(arrays: Arrays) -> dict[str, Array]:
    """By name, without those that are None."""
    return {name: each for name, each in vars(arrays).items() if each is not None}


def data(missing: dict[str, str], train_targets: list[int] | None = None) -> Parts:
    made = make_parts(train=TRAIN, val=len(MISSING), noise=1.0)
    features = without(made.train.features, missing)
    targets = made.train.targets if train_targets is None else torch.tensor(train_targets)
    return replace(
        made,
        train=replace(made.train, features=features, targets=targets),
        val=replace(made.test, features=features),
        predict=replace(made.val, features=features),
    )


def table(parts: Parts, guids: list[str]) -> list[SplitRow]:
    """A split table with the rows to train on and `guids` to predict."""
    trained = zip(parts.train.guids, parts.train.targets.tolist(), strict=True)
    rows = [SplitRow(guid, LABELS[target], "train", guid) for guid, target in trained]
    return rows + [
        SplitRow(guid, "", "no_input" if guid in NO_INPUT else "predict", guid) for guid in guids
    ]


def classifier(**changes: Any) -> Classifier:
    torch.manual_seed(0)
    return Classifier(model_config(**changes))


def predict(
    model: Classifier, parts: Parts, guids: list[str], missing: dict[str, str]
) -> incomplete.Predicted:
    told = list(predict_all(model, parts, guids, missing))
    assert len(told) == 1
    return told[0]


def predict_all(
    model: Classifier, parts: Parts, guids: list[str], missing: dict[str, str]
) -> Iterator[incomplete.Predicted]:
    lacking = {guid: kind for guid, kind in missing.items() if kind}
    features = parts.train.features
    return incomplete.predict(model, features, table(parts, guids), lacking, "plain", 1.5)


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("tails", [{}, {"encoders": encoders(IMAGE, TEXT)}])
def test_each_row_is_predicted_from_what_it_has_in_the_order_of_the_table(
    fusion: str, tails: dict[str, Any]
) -> None:
    model, parts, whole = classifier(fusion=fusion, **tails), data(MISSING), data({})
    guids = [NO_INPUT[0], *MISSING, NO_INPUT[1]]
    told = predict(model, parts, guids, MISSING)
    assert told.guids == guids
    assert told.missing == ["image+text", *MISSING.values(), "image+text"]
    for row, guid in enumerate(MISSING):
        # On the complete features, so that nothing of the zeros can have come in.
        absent = {MISSING[guid]} - {""}
        expected = attribute(model, whole.predict, "plain", 1.5, absent)
        for name in ("logits", "probabilities", "base", "text", "image"):
            np.testing.assert_allclose(
                getattr(told.found, name)[row + 1], getattr(expected, name)[row], atol=1e-6
            )
    assert np.isfinite(told.found.probabilities).all()


def test_without_incomplete_rows_every_bit_is_that_of_the_plain_attribution() -> None:
    model, parts = classifier(), data({})
    told = predict(model, parts, list(MISSING), dict.fromkeys(MISSING, ""))
    expected = attribute(model, parts.predict, "plain", 1.5)
    for name in ("logits", "probabilities", "base", "text", "image"):
        np.testing.assert_array_equal(getattr(told.found, name), getattr(expected, name))
        assert getattr(told.found, name).dtype == getattr(expected, name).dtype
    assert set(told.missing) == {""}


def test_a_row_without_input_gets_the_shares_of_the_classes_in_training() -> None:
    parts = data({}, train_targets=[2] * 14 + [0] * 6)
    told = predict(classifier(), parts, ["x", *MISSING], dict.fromkeys(MISSING, ""))
    assert told.found.probabilities[0].tolist() == [0.3, 0.0, 0.7]
    assert LABELS[told.found.probabilities[0].argmax()] == "positive"
    assert np.isfinite(told.found.logits).all()
    assert told.found.base[0].tolist() == [0.3, 0.0, 0.7]
    assert not told.found.text[0].any()
    assert not told.found.image[0].any()


@pytest.mark.parametrize(("mode", "read"), [("text_only", "text"), ("image_only", "image")])
def test_a_unimodal_model_needs_its_own_modality_only(mode: str, read: str) -> None:
    model, whole = classifier(input_mode=mode), data({})
    told = predict(model, data(MISSING), list(MISSING), MISSING)
    expected = attribute(model, whole.predict, "plain", 1.5)
    shares = np.bincount(whole.train.targets.numpy(), minlength=3) / TRAIN
    for row, kind in enumerate(MISSING.values()):
        np.testing.assert_allclose(
            told.found.probabilities[row],
            shares if kind == read else expected.probabilities[row],
            atol=1e-6,
        )
    assert told.missing == list(MISSING.values())


def test_nothing_to_predict_is_nothing() -> None:
    parts = data({})
    told = predict(classifier(), replace(parts, predict=parts.test), [], {})
    assert told.guids == told.missing == []
    assert told.found.probabilities.shape == (0, 3)


def test_rows_are_answered_some_at_a_time_and_none_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, parts = classifier(), data(MISSING)
    guids = [NO_INPUT[0], *MISSING, NO_INPUT[1]]
    [whole] = predict_all(model, parts, guids, MISSING)
    monkeypatch.setattr(incomplete, "_ROWS_AT_A_TIME", 3)
    some = list(predict_all(model, parts, guids, MISSING))
    assert [len(each.guids) for each in some] == [3, 3, 3]
    assert [guid for each in some for guid in each.guids] == guids
    assert [kind for each in some for kind in each.missing] == whole.missing
    for name in ("logits", "probabilities", "base", "text", "image"):
        parts_of_it = [getattr(each.found, name) for each in some]
        # Far below the six decimals that are written.
        np.testing.assert_allclose(
            np.concatenate(parts_of_it), getattr(whole.found, name), atol=1e-12
        )


def test_a_label_that_the_model_does_not_know_is_named() -> None:
    rows = [SplitRow("0", "positive", "train", "0"), SplitRow("1", "angry", "train", "1")]
    features = data({}).train.features
    with pytest.raises(UserError, match=r"^labels: .*: the splits have \['angry'\], too$"):
        next(incomplete.predict(classifier(), features, rows, {}, "plain", 1.0))
