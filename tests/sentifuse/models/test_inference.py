"""Tests of predictions for a data set."""

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sentifuse.errors import UserError
from sentifuse.features.batches import Batch, Dataset, ViewChoice
from sentifuse.models import inference
from sentifuse.models.classifier import Classifier
from sentifuse.models.inference import predict, predict_without
from tests.synthetic import IMAGE, TEXT, encoders, make_parts, model_config


def test_predictions_are_in_order_and_do_not_depend_on_batches() -> None:
    parts = make_parts(train=300)  # more than one batch
    model = Classifier(model_config(dropout=0.5)).train()
    logits = predict(model, parts.train, "plain")
    assert logits.shape == (300, 3)
    for index in (0, 255, 256, 299):
        one = replace(parts.train, rows=parts.train.rows[index : index + 1])
        torch.testing.assert_close(predict(model, one, "plain")[0], logits[index])


@pytest.mark.parametrize(
    "changes",
    [
        {"fusion": "cross_attn"},
        {"encoders": encoders(TEXT)},
        {"fusion": "cross_attn", "encoders": encoders(IMAGE, TEXT)},
    ],
    ids=["tokens", "tail", "both"],
)
def test_predictions_in_the_order_of_text_lengths_are_those_of_each_sample(
    changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(inference._BATCH, "cpu", 7)
    data = make_parts(train=40, val=0, noise=1.0, views=2).train
    data = replace(data, rows=np.random.default_rng(0).permutation(40))
    offsets = data.features.arrays[TEXT].offsets
    assert offsets is not None
    lengths = np.diff(offsets)[data.rows]
    assert (np.diff(lengths) < 0).any()
    torch.manual_seed(0)
    model = Classifier(model_config(**changes))
    logits = predict(model, data, "mean")
    for index in range(40):
        one = replace(data, rows=data.rows[index : index + 1])
        torch.testing.assert_close(predict(model, one, "mean")[0], logits[index])


def test_any_number_of_cores_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    data = make_parts(train=300, noise=1.0).train
    torch.manual_seed(0)
    model = Classifier(model_config(encoders=encoders(IMAGE, TEXT)))
    threads: set[int] = set()
    forward = Classifier.without

    def without(self: Classifier, *arguments: Any) -> Tensor:
        threads.add(threading.get_ident())
        assert torch.get_num_threads() == 1
        return forward(self, *arguments)

    monkeypatch.setattr(Classifier, "without", without)
    logits, running = [], []
    for cores in (1, 2, 5):
        monkeypatch.setattr("sentifuse.models.inference.cores", lambda cores=cores: cores)
        threads.clear()
        logits.append(predict(model, data, "plain"))
        running.append(len(threads))
    assert torch.equal(logits[1], logits[0])
    assert torch.equal(logits[2], logits[0])
    assert running[0] == 1
    assert 1 < running[2] <= 5


def test_what_fails_in_a_thread_fails_in_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    def without(self: Classifier, *arguments: Any) -> Tensor:
        raise ArithmeticError("no")

    monkeypatch.setattr(Classifier, "without", without)
    monkeypatch.setattr("sentifuse.models.inference.cores", lambda: 2)
    model = Classifier(model_config(encoders=encoders(TEXT)))
    with pytest.raises(ArithmeticError, match=r"^no$"):
        predict(model, make_parts(train=90).train, "plain")


@pytest.mark.parametrize("views", ["plain", "mean"])
def test_predictions_without_modalities_stand_one_above_the_other(views: ViewChoice) -> None:
    data = make_parts(train=300, val=0, noise=1.0, views=2).train
    model = Classifier(model_config(dropout=0.5)).train()
    absences = [(), ("image",), ("text",), ("image", "text")]
    found = predict_without(model, data, views, absences)
    assert found.shape == (4, 300, 3)
    assert torch.equal(found[0], predict(model, data, views))
    for logits, absent in zip(found, absences, strict=True):
        batch = data.batch(np.arange(300), model.needs, views)
        torch.testing.assert_close(logits, model(batch, absent).detach())
    assert torch.equal(found[3], found[3][:1].expand(300, -1))


def test_a_batch_is_gathered_once_whatever_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    gathered: list[int] = []
    gather = Dataset.batch

    def batch(self: Dataset, index: np.ndarray, *arguments: Any) -> Batch:
        gathered.extend(index)
        return gather(self, index, *arguments)

    monkeypatch.setattr(Dataset, "batch", batch)
    data = make_parts(train=300).train
    predict_without(Classifier(model_config()), data, "plain", [(), ["text"], ["image"]])
    assert sorted(gathered) == list(range(300))


def test_predictions_for_no_sample_are_an_empty_table() -> None:
    assert predict(Classifier(model_config()), make_parts().test, "plain").shape == (0, 3)


@pytest.mark.parametrize("changes", [{}, {"encoders": encoders(TEXT)}, {"fusion": "cross_attn"}])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_refused(value: float, changes: dict[str, Any]) -> None:
    data = make_parts(train=5, val=0).train
    torch.manual_seed(0)
    model = Classifier(model_config(**changes))
    model.head[-1].bias.data[1] = value
    with pytest.raises(UserError) as caught:
        predict(model, data, "plain")
    expected = "guid 0: the logits are NaN or infinite (5 of 5 looked at): training went astray"
    assert str(caught.value).startswith(expected)


def test_the_sample_whose_features_are_no_numbers_is_named() -> None:
    data = make_parts(train=5, val=0).train
    data.features.arrays[TEXT].embeddings[3, 0, 1] = float("nan")
    model = Classifier(model_config())
    with pytest.raises(UserError, match=r"^guid 3: the features are NaN or infinite \(1 of 1 "):
        predict(model, data, "plain")
    predict(model, replace(data, rows=data.rows[:3], guids=data.guids[:3]), "plain")
