"""The blocks of an EfficientNet-Lite (Tan and Le 2019, arXiv:1905.11946), from any of them on."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from sentifuse.encoders.convnext import flatten, unflatten


class EfficientNetBody(nn.Module):
    """The last MBConv blocks of an EfficientNet-Lite, the final 1 x 1 convolution and the mean.

    Batch norms stay in eval mode: a batch of one tail's inputs says little of the corpus, and the
    running statistics belong to the pre-trained features.
    """

    def __init__(self, layers: int, variant: str) -> None:
        """Builds it with random weights; `layers` is the number of blocks, `variant` a name such as
        `efficientnet-lite0`."""
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        net = EfficientNet.from_name(variant)
        self.layers = nn.ModuleList(list(net._blocks)[len(net._blocks) - layers :])
        self.conv_head, self.bn_head, self.activation = net._conv_head, net._bn1, net._swish

    def forward(
        self, hidden: Tensor, mask: Tensor | None, need_tokens: bool, start: int = 0
    ) -> tuple[Tensor, Tensor | None]:
        """As `Transformer.forward`; `hidden` is a flattened square map, `mask` must be None."""
        x = unflatten(hidden)
        for block in self.layers[start:]:
            x = block(x)
        features = self.activation(self.bn_head(self.conv_head(x)))
        return features.mean(dim=(2, 3)), flatten(x) if need_tokens else None

    def lower(self, hidden: Tensor, stop: int) -> Tensor:
        """As `Transformer.lower`."""
        x = unflatten(hidden)
        for block in self.layers[:stop]:
            x = block(x)
        return flatten(x)

    def train(self, mode: bool = True) -> "EfficientNetBody":
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self


def folded(part: nn.Module) -> nn.Module:
    """Returns a copy that computes the same twice as fast.

    Every batch norm is folded into the convolution before it, and channels come last in memory, which
    suits depthwise convolutions. An activation overwrites its input, and a convolution adds the zeros around
    the image by itself where each side has as many: neither changes a bit.
    """
    copied: Any = copy.deepcopy(part)
    pairs: list[tuple[Any, str, str]] = []
    if isinstance(copied, nn.Sequential):
        pairs.append((copied, "0", "1"))
    else:
        pairs.append((copied, "conv_head", "bn_head"))
        for block in copied.layers:
            pairs += [(block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
            if hasattr(block, "_expand_conv"):
                pairs.append((block, "_expand_conv", "_bn0"))
    for owner, conv, norm in pairs:
        setattr(owner, conv, fuse_conv_bn_eval(getattr(owner, conv), getattr(owner, norm)))
        setattr(owner, norm, nn.Identity())
        _pad_within(getattr(owner, conv))
    for module in copied.modules():
        if isinstance(module, nn.ReLU6):
            module.inplace = True
    out: nn.Module = copied.to(memory_format=torch.channels_last)
    return out


def _pad_within(conv: Any) -> None:
    """Leaves the padding of `conv` to the convolution itself, if it is the same on all sides."""
    zeros = conv.static_padding
    if isinstance(zeros, nn.ZeroPad2d) and len(set(zeros.padding)) == 1:
        conv.padding, conv.static_padding = zeros.padding[:2], nn.Identity()
