"""DeBERTa v2 and v3 (He et al. 2021, arXiv:2006.03654 and 2111.09543), by the layers of `transformers`.

Its attention weighs contents and relative positions against each other, in ways that no other family has. So
its layers are those of the library, and a training stage with such a tail imports it.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sentifuse.encoders.pooling import pool
from sentifuse.runtime import linear
from sentifuse.runtime.dropout import Dropout


class Deberta(nn.Module):
    """Layers of a DeBERTa, with the embeddings of relative positions that all of them share."""

    def __init__(
        self, layers: int, model: Mapping[str, Any], pool: str, dropout: float = 0.0
    ) -> None:
        """Builds it with random weights.

        Args:
            layers: how many.
            model: what `config.json` says of the model.
            pool: as of `pooling`, but not `attention`.
            dropout: on both residual branches and the positions, while training, 0..1.
        """
        from transformers import DebertaV2Config
        from transformers.models.deberta_v2.modeling_deberta_v2 import DebertaV2Encoder

        super().__init__()
        settings = {**model, "num_hidden_layers": layers, "attention_probs_dropout_prob": 0.0}
        self.shared = DebertaV2Encoder(DebertaV2Config(**settings))
        self.layers, self.shared.layer = self.shared.layer, nn.ModuleList()
        self.pool = pool
        for module in list(self.modules()):
            for name, child in list(module.named_children()):
                if isinstance(child, nn.Dropout):  # one that draws as ours do, in whatever thread
                    setattr(module, name, Dropout(dropout))
        linear.by_onednn(self)

    def forward(
        self, hidden: Tensor, mask: Tensor | None, need_tokens: bool, start: int = 0
    ) -> tuple[Tensor, Tensor | None]:
        """As `Transformer.forward`."""
        x = self._run(hidden, mask, start, len(self.layers))
        return pool(x, mask, self.pool), x if need_tokens else None

    def lower(self, hidden: Tensor, stop: int) -> Tensor:
        """As `Transformer.lower`."""
        return self._run(hidden, None, 0, stop)

    def _run(self, x: Tensor, mask: Tensor | None, start: int, stop: int) -> Tensor:
        shared: Any = self.shared
        if mask is None:
            mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        allowed = shared.get_attention_mask(mask.long())  # (B, 1, T, T)
        relative, positions = shared.get_rel_pos(x), shared.get_rel_embedding()
        for layer in self.layers[start:stop]:
            x, _ = layer(x, allowed, relative_pos=relative, rel_embeddings=positions)
        return x


def embed(model: Any, ids: Tensor) -> Tensor:
    """Token ids (B, T) without padding -> what enters the first layer, (B, T, H)."""
    embedded: Tensor = model.embeddings(ids, mask=torch.ones_like(ids))
    return embedded


def take(model: Any) -> dict[str, Tensor]:
    """The weights of a `DebertaV2Model`, by the names that `Deberta` gives them; the layers leave it."""
    encoder = model.encoder
    layers, encoder.layer = encoder.layer, nn.ModuleList()
    weights = {f"layers.{name}": value for name, value in layers.state_dict().items()}
    weights |= {f"shared.{name}": value for name, value in encoder.state_dict().items()}
    model.encoder = nn.Identity()
    return weights
