"""ConvNeXt (Liu et al. 2022, arXiv:2201.03545), by the blocks of `transformers`.

A "layer" is one of its blocks. Between two stages the map is halved; the split point stands behind that, so
that the smaller map is cached.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from torch import Tensor, nn

from sentifuse.runtime import linear


class _Block(nn.Module):
    """What halves the map, if a stage begins here, and the block itself."""

    def __init__(self, down: nn.Module, block: nn.Module) -> None:
        super().__init__()
        self.down, self.block = down, block


class ConvNext(nn.Module):
    """The last blocks of a ConvNeXt, the mean over the map, and the norm that follows."""

    def __init__(self, layers: int, model: Mapping[str, Any]) -> None:
        """Builds it with random weights.

        Args:
            layers: the number of blocks.
            model: what `config.json` says of the model.
        """
        from transformers import ConvNextConfig
        from transformers.models.convnext.modeling_convnext import ConvNextEncoder

        super().__init__()
        config: Any = ConvNextConfig(**{**model, "drop_path_rate": 0.0})
        blocks = _blocks(ConvNextEncoder(config).stages)
        self.layers = nn.ModuleList(blocks[len(blocks) - layers :])
        self.layers[0].down = nn.Identity()  # what enters the first block has been through it
        self.norm = nn.LayerNorm(config.hidden_sizes[-1], eps=config.layer_norm_eps)
        linear.by_onednn(self)

    def forward(
        self, hidden: Tensor, mask: Tensor | None, need_tokens: bool, start: int = 0
    ) -> tuple[Tensor, Tensor | None]:
        """As `Transformer.forward`; `hidden` is a flattened square map, `mask` must be None."""
        x = unflatten(hidden)
        for index in range(start, len(self.layers)):
            x = self._run(x, index, down=index > start)
        embedding: Tensor = self.norm(x.mean(dim=(2, 3)))
        return embedding, flatten(x) if need_tokens else None

    def lower(self, hidden: Tensor, stop: int) -> Tensor:
        """As `Transformer.lower`, up to what the block `stop` itself reads."""
        x = unflatten(hidden)
        for index in range(stop):
            x = self._run(x, index, down=index > 0)
        if 0 < stop < len(self.layers):
            x = cast(_Block, self.layers[stop]).down(x)
        return flatten(x)

    def _run(self, x: Tensor, index: int, down: bool) -> Tensor:
        each = cast(_Block, self.layers[index])
        out: Tensor = each.block(each.down(x) if down else x)
        return out


def embed(model: Any, pixels: Tensor) -> Tensor:
    """Pixels (B, 3, S, S) -> what enters the first block, (B, P, H)."""
    return flatten(model.embeddings(pixels))


def take(model: Any) -> dict[str, Tensor]:
    """The weights of a `ConvNextModel`, by the names that `ConvNext` gives them; the blocks leave it."""
    blocks = nn.ModuleList(_blocks(model.encoder.stages))
    weights = {f"layers.{name}": value for name, value in blocks.state_dict().items()}
    model.encoder.stages = nn.ModuleList()
    return weights | {f"norm.{name}": value for name, value in model.layernorm.state_dict().items()}


def flatten(x: Tensor) -> Tensor:
    """A map (B, H, side, side) -> (B, P, H), without a copy if the channels are last in memory."""
    return x.flatten(2).transpose(1, 2)


def unflatten(hidden: Tensor) -> Tensor:
    """Back to the map: (B, P, H) -> (B, H, side, side)."""
    side = round(hidden.shape[1] ** 0.5)
    x: Tensor = hidden.transpose(1, 2).unflatten(2, (side, side))
    return x


def _blocks(stages: Iterable[Any]) -> list[nn.Module]:
    out: list[nn.Module] = []
    for stage in stages:
        down: nn.Module = nn.Sequential(*stage.downsampling_layer)
        for block in stage.layers:
            out.append(_Block(down, block))
            down = nn.Identity()
    return out
