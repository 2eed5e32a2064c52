"""The last blocks of EfficientNet-Lite0, trainable: see `tails`."""

from torch import Tensor, nn


class EfficientNetTail(nn.Module):
    """The last MBConv blocks of EfficientNet-Lite0, the final 1 x 1 convolution and the mean.

    Batch norms stay in eval mode: a batch of one tail's inputs says little of the corpus, and the
    running statistics belong to the pre-trained features.
    """

    embedding_dim = 1280

    def __init__(self, *, layers: int, dropout: float = 0.0) -> None:
        """Builds the tail; `layers` is the number of blocks, `dropout` is for the interface."""
        super().__init__()
        from efficientnet_lite_pytorch import EfficientNet

        net = EfficientNet.from_name("efficientnet-lite0")
        self.blocks = nn.ModuleList(list(net._blocks)[len(net._blocks) - layers :])
        self.conv_head, self.bn_head, self.activation = net._conv_head, net._bn1, net._swish

    def forward(
        self, hidden: Tensor, mask: Tensor | None, need_tokens: bool
    ) -> tuple[Tensor, Tensor | None]:
        """As `tails.TransformerTail.forward`; `hidden` is a flattened square map, `mask` must be None."""
        side = round(hidden.shape[1] ** 0.5)
        x = hidden.transpose(1, 2).unflatten(2, (side, side))  # (B, H, side, side)
        for block in self.blocks:
            x = block(x)
        features = self.activation(self.bn_head(self.conv_head(x)))
        return features.mean(dim=(2, 3)), x.flatten(2).transpose(1, 2) if need_tokens else None

    def train(self, mode: bool = True) -> "EfficientNetTail":
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self
