"""Tests of gradients whose batches are gathered ahead: on the CPU they have to be those of one shard."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sentifuse.features.batches import Dataset, RowIndices
from sentifuse.models.classifier import Classifier
from sentifuse.models.fusion import FUSIONS
from sentifuse.training.data_parallel import DataParallel
from sentifuse.training.losses import Criterion
from sentifuse.training.prefetch import Prefetch, ahead
from sentifuse.training.step import Step
from tests.synthetic import IMAGE, TEXT, encoders, make_parts, model_config

PARTS = make_parts(train=40, val=0, noise=0.8, views=3)
WEIGHTED = Criterion(torch.tensor([0.5, 1.0, 2.0]), 0.1, torch.tensor([-0.3, -1.2, -2.0]))


def trained(
    kind: Any, fusion: str, precision: str, train: Dataset = PARTS.train
) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The losses of an epoch of plain gradient descent, and the weights at its end."""
    torch.manual_seed(0)
    model = Classifier(
        model_config(fusion=fusion, encoders=encoders(IMAGE, TEXT), dropout=0.3, tail_dropout=0.2)
    ).train()
    rng = np.random.default_rng(1)
    batches = train.epoch(16, rng, by_length=model.needs.hidden)
    gradients = kind(Step(model, WEIGHTED, precision=precision), train, "draw")
    losses, seen = [], []
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for index, loss in gradients.each(batches, rng):
        losses.append(loss)
        seen += index.tolist()
        optimizer.step()
    assert sorted(seen) == list(range(40))
    return losses, model.state_dict()


def in_one_shard(*arguments: Any) -> DataParallel:
    return DataParallel(*arguments, threads=1)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_they_are_the_gradients_of_one_shard_to_the_bit(fusion: str, precision: str) -> None:
    losses, weights = trained(Prefetch, fusion, precision)
    expected, expected_weights = trained(in_one_shard, fusion, precision)
    assert losses == expected
    for name, weight in weights.items():
        assert torch.equal(weight, expected_weights[name]), name


def test_the_weights_of_samples_count() -> None:
    weighed = replace(PARTS.train, weights=torch.linspace(0.1, 1, 40))
    losses, _ = trained(Prefetch, "concat", "fp32", weighed)
    assert losses == trained(in_one_shard, "concat", "fp32", weighed)[0]
    assert losses != trained(Prefetch, "concat", "fp32")[0]


def test_the_next_item_is_made_while_the_caller_works_on_one() -> None:
    made = [threading.Event() for _ in range(3)]

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            event.set()
            yield number

    for number in ahead(items()):
        if number < 2:
            assert made[number + 1].wait(timeout=30)


def test_no_item_is_made_long_before_it_is_wanted() -> None:
    asked: list[int] = []

    def items() -> Iterator[int]:
        for number in range(10):
            asked.append(number)
            yield number

    source = ahead(items())
    next(source)
    source.close()  # waits for the one that is being made
    assert asked == [0, 1]


def test_what_fails_while_a_batch_is_gathered_fails_in_the_caller() -> None:
    def items() -> Iterator[RowIndices]:
        yield np.arange(3)
        raise ArithmeticError("no")

    before = threading.active_count()
    source = ahead(items())
    assert next(source).tolist() == [0, 1, 2]
    with pytest.raises(ArithmeticError, match=r"^no$"):
        next(source)
    assert threading.active_count() == before


def test_of_nothing_there_is_nothing() -> None:
    assert list(ahead(iter(()))) == []
