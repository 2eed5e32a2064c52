"""Tests of dropout with a generator of the caller's."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from sentifuse.runtime.dropout import Dropout, drawing_from


def dropped(p: float, x: Tensor, seed: int = 0) -> Tensor:
    with drawing_from(torch.Generator().manual_seed(seed)):
        out: Tensor = Dropout(p).train()(x)
    return out


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.3, 0.9])
def test_it_drops_the_share_asked_for_and_keeps_the_mean(p: float, dtype: torch.dtype) -> None:
    x = torch.ones(400, 1001, dtype=dtype)  # not a multiple of four elements
    out = dropped(p, x)
    assert out.dtype == dtype
    share = (out == 0).double().mean().item()
    deviation = (p * (1 - p) / x.numel()) ** 0.5
    assert share == pytest.approx(p, abs=4 * deviation + 1 / 2**16)
    kept = out[out != 0]
    assert kept.unique().tolist() == pytest.approx([1 / (1 - p)], rel=1e-2)


def test_the_mean_is_kept_to_the_last_digits_though_the_share_is_rounded() -> None:
    # 0.1 is dropped as 6554 / 65536.
    scale = dropped(0.1, torch.ones(1000, dtype=torch.float64)).max().item()
    assert scale == 65536 / (65536 - 6554)


def test_neighbours_are_dropped_independently() -> None:
    gone = (dropped(0.5, torch.ones(2**18)) == 0).double().view(-1, 4)
    together = (gone.T @ gone) / len(gone)  # how often two of four that share a draw both go
    expected = torch.full((4, 4), 0.25).fill_diagonal_(0.5).double()
    torch.testing.assert_close(together, expected, atol=0.01, rtol=0)


def test_the_generator_decides_on_the_mask() -> None:
    x = torch.ones(1000)
    assert torch.equal(dropped(0.5, x, seed=1), dropped(0.5, x, seed=1))
    assert not torch.equal(dropped(0.5, x, seed=1), dropped(0.5, x, seed=2))


def test_without_a_generator_torchs_own_decides() -> None:
    layer, x = Dropout(0.5), torch.ones(1000)
    torch.manual_seed(5)
    first = layer(x)
    torch.manual_seed(5)
    assert torch.equal(layer(x), first)
    assert not torch.equal(layer(x), first)


def test_a_generator_is_that_of_its_thread_and_of_its_block() -> None:
    x = torch.ones(1000)
    with drawing_from(torch.Generator().manual_seed(1)), ThreadPoolExecutor(1) as pool:
        other = pool.submit(dropped, 0.5, x, 2).result()
        mine = Dropout(0.5)(x)
    assert torch.equal(other, dropped(0.5, x, seed=2))
    assert torch.equal(mine, dropped(0.5, x, seed=1))
    torch.manual_seed(3)
    outside = Dropout(0.5)(x)
    torch.manual_seed(3)
    assert torch.equal(outside, Dropout(0.5)(x))


def test_the_gradient_goes_where_elements_were_kept() -> None:
    x = torch.ones(1000, requires_grad=True)
    out = dropped(0.25, x)
    out.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, out.detach())


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (0.5, False)])
def test_nothing_is_dropped_in_eval_mode_or_at_zero(p: float, training: bool) -> None:
    x = torch.randn(10)
    assert Dropout(p).train(training)(x) is x


def test_a_share_just_below_one_leaves_finite_numbers() -> None:
    assert dropped(1 - 1e-9, torch.ones(2**20)).isfinite().all()


def test_it_prints_as_torchs_own() -> None:
    assert repr(nn.Sequential(Dropout(0.3))) == "Sequential(\n  (0): Dropout(p=0.3)\n)"
