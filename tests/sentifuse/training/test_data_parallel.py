"""Tests of gradients whose shards are worked out side by side."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sentifuse.features.batches import Batch, Dataset, Needs
from sentifuse.models.classifier import Classifier
from sentifuse.models.fusion import FUSIONS
from sentifuse.training.data_parallel import DataParallel
from sentifuse.training.losses import Criterion
from sentifuse.training.step import Step
from tests import several
from tests.synthetic import IMAGE, TEXT, encoders, make_parts, model_config, with_arrays

PARTS = make_parts(train=40, val=0, noise=0.8, views=3)
SEVERAL = several.make_several(train=40, val=0, noise=0.8, views=3).train
TEXT_STATES = Needs(hidden=frozenset({TEXT}))
INDEX = np.random.default_rng(0).permutation(40)[:21]
WEIGHTED = Criterion(torch.tensor([0.5, 1.0, 2.0]), 0.1, torch.tensor([-0.3, -1.2, -2.0]))


def classifier(**changes: Any) -> Classifier:
    torch.manual_seed(0)
    return Classifier(model_config(**{"encoders": encoders(IMAGE, TEXT), **changes})).train()


class Backward:
    """The loss and the gradients of one batch."""

    def __init__(
        self, model: Classifier, threads: int, *, seed: int = 0, views: Any = "mean",
        precision: Any = "fp32", index: Any = INDEX, data: Dataset = PARTS.train,
    ) -> None:  # fmt: skip
        step = Step(model, WEIGHTED, precision=precision)
        parallel = DataParallel(step, data, views, threads)
        [(_, self.loss)] = parallel.each([index], np.random.default_rng(seed))
        self.gradients = {name: p.grad for name, p in model.named_parameters()}


def same(a: Backward, b: Backward) -> bool:
    return a.loss == b.loss and all(
        theirs is None if mine is None else torch.equal(mine, theirs)
        for mine, theirs in zip(a.gradients.values(), b.gradients.values(), strict=True)
    )


@pytest.mark.parametrize("threads", [1, 2, 3, 50])
@pytest.mark.parametrize("fusion", FUSIONS)
def test_the_shards_gradients_add_up_to_that_of_the_batch(fusion: str, threads: int) -> None:
    model = classifier(fusion=fusion)
    found = Backward(model, threads)
    model.zero_grad()
    batch = PARTS.train.batch(INDEX, model.needs, "mean")
    loss = WEIGHTED(model(batch), PARTS.train.targets[INDEX])
    loss.backward()
    assert found.loss == pytest.approx(loss.item(), rel=1e-6)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found.gradients[name], parameter.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_weights_of_samples_count_in_every_shard(threads: int) -> None:
    weights = torch.rand(40, generator=torch.Generator().manual_seed(0))
    data, model = replace(PARTS.train, weights=weights), classifier()
    found = Backward(model, threads, data=data)
    model.zero_grad()
    logits = model(data.batch(INDEX, model.needs, "mean"))
    loss = WEIGHTED(logits, data.targets[INDEX], weights[INDEX])
    loss.backward()
    assert found.loss == pytest.approx(loss.item(), rel=1e-6)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found.gradients[name], parameter.grad, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("trainable", [(), (several.OTHER_TEXT,), several.KEYS], ids=" ".join)
@pytest.mark.parametrize("fusion", ["concat", "film", "cross_attn"])
def test_the_shards_of_several_encoders_add_up_too(fusion: str, trainable: tuple[str, ...]) -> None:
    model = classifier(fusion=fusion, encoders=several.encoders(*trainable))
    found = Backward(model, 3, data=SEVERAL)
    model.zero_grad()
    batch = SEVERAL.batch(INDEX, model.needs, "mean")
    loss = WEIGHTED(model(batch), SEVERAL.targets[INDEX])
    loss.backward()
    assert found.loss == pytest.approx(loss.item(), rel=1e-6)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found.gradients[name], parameter.grad, rtol=1e-4, atol=1e-6)


def test_what_plays_no_part_has_no_gradient() -> None:
    model = classifier(input_mode="text_only")
    found = Backward(model, 2)
    assert found.gradients[f"norms.{IMAGE}.weight"] is None
    assert found.gradients[f"norms.{TEXT}.weight"] is not None


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_seed_gives_the_same_bits_however_the_threads_interleave(precision: str) -> None:
    changes = {"dropout": 0.3, "tail_dropout": 0.2}
    runs = [
        Backward(classifier(**changes), 3, seed=seed, views="draw", precision=precision)
        for seed in (7, 7, 7, 7, 8)
    ]
    assert all(same(run, runs[0]) for run in runs[1:4])
    assert not same(runs[4], runs[0])


def test_shards_have_masks_of_their_own() -> None:
    seen: list[Tensor] = []

    class Spy(Classifier):
        def forward(self, batch: Batch, absent: Any = ()) -> Tensor:
            out = self.head[2](torch.ones(8, 100))
            seen.append(out)
            return super().forward(batch, absent)

    model = Spy(model_config(dropout=0.5)).train()
    Backward(model, 2)
    assert len(seen) == 2
    assert not torch.equal(*seen)


def test_each_shard_has_a_thread() -> None:
    meet = threading.Barrier(2, timeout=30)  # passed only if both shards run at a time
    seen: list[int] = []

    class Spy(Classifier):
        def forward(self, batch: Batch, absent: Any = ()) -> Tensor:
            meet.wait()
            seen.append(threading.get_ident())
            return super().forward(batch, absent)

    Backward(Spy(model_config()).train(), 2)
    assert len(set(seen)) == 2


def test_the_forward_pass_runs_in_the_precision_asked_for() -> None:
    full, half = (Backward(classifier(), 2, precision=each) for each in ("fp32", "bf16"))
    assert full.loss != half.loss
    assert half.loss == pytest.approx(full.loss, rel=0.02)
    assert half.gradients["head.0.weight"].dtype == torch.float32  # type: ignore[union-attr]


def test_a_step_between_two_batches_is_seen_in_bfloat16_too() -> None:
    model = classifier()
    parallel = DataParallel(Step(model, WEIGHTED, precision="bf16"), PARTS.train, "mean", 2)
    [(_, before)] = parallel.each([INDEX], np.random.default_rng(0))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    [(_, after)] = parallel.each([INDEX], np.random.default_rng(0))
    fresh = classifier()
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.mul_(2)
    assert after == Backward(fresh, 2, precision="bf16").loss != before


def test_a_batch_of_one_sample_is_one_shard() -> None:
    model = classifier()
    assert same(Backward(model, 1, index=INDEX[:1]), Backward(classifier(), 4, index=INDEX[:1]))


def test_what_fails_in_a_thread_fails_in_the_caller() -> None:
    class Broken(Classifier):
        def forward(self, batch: Batch, absent: Any = ()) -> Tensor:
            raise ArithmeticError("no")

    before = threading.active_count()
    with pytest.raises(ArithmeticError, match=r"^no$"):
        Backward(Broken(model_config()), 2)
    assert threading.active_count() == before


def test_gradients_do_not_pile_up_from_batch_to_batch() -> None:
    model = classifier()
    first = Backward(model, 2)
    assert same(Backward(model, 2), first)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("needs", [TEXT_STATES, Needs()])
def test_shards_are_the_batch_in_its_order_and_none_is_empty(needs: Needs, count: int) -> None:
    shards = PARTS.train.shards(INDEX, count, needs)
    assert np.concatenate(shards).tolist() == INDEX.tolist()
    assert 1 <= len(shards) <= count
    assert all(len(shard) for shard in shards)


def test_shards_of_frozen_encoders_have_as_many_samples() -> None:
    sizes = [len(shard) for shard in PARTS.train.shards(INDEX[:20], 4, Needs())]
    assert sizes == [5, 5, 5, 5]


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize(
    "lengths", [[5, 5, 5, 5, 5], [1, 1, 1, 1, 1, 2, 6], [1, 1, 1, 3, 20], [2, 2, 4, 8], [0, 0, 0]]
)
def test_the_largest_shard_padded_is_as_small_as_can_be(lengths: list[int], count: int) -> None:
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    data = replace(
        PARTS.train,
        features=with_arrays(PARTS.train.features, text={"offsets": offsets}),
        rows=np.arange(len(lengths)),
    )
    found = data.shards(np.arange(len(lengths)), count, TEXT_STATES)

    def largest(cuts: Sequence[int]) -> int:
        runs = pairwise([0, *cuts, len(lengths)])
        return max((end - start) * lengths[end - 1] for start, end in runs)

    ways = (
        cuts
        for parts in range(1, count + 1)
        for cuts in combinations(range(1, len(lengths)), parts - 1)
    )
    assert largest([int(shard[0]) for shard in found[1:]]) == min(map(largest, ways))
