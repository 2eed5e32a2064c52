"""One training step: the loss of some samples and its gradients. It is plain torch and knows no device."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sentifuse.features.batches import Batch
from sentifuse.models.classifier import Classifier
from sentifuse.runtime import dropout
from sentifuse.training.losses import Criterion


class Step:
    """Computes gradients where the model is; several threads may call it at a time."""

    def __init__(self, model: Classifier, criterion: Criterion, *, precision: str) -> None:
        """Remembers what to differentiate.

        Args:
            model: on its device.
            criterion: the loss, on the same one.
            precision: of the forward pass, `fp32` or `bf16`.
        """
        self.parameters = list(model.parameters())
        self.needs, self.device, self.criterion = model.needs, model.device, criterion
        self._model, self._half = model, precision == "bf16"

    def __call__(
        self,
        batch: Batch,
        targets: Tensor,
        weights: Tensor | None,
        masks: int,
        share: float | Tensor = 1.0,
    ) -> tuple[float, Sequence[Tensor | None]]:
        """The loss of some samples, and the gradient of each of `parameters`.

        Args:
            batch: B samples, on the model's device.
            targets: (B,) class indices, there too.
            weights: (B,) of the samples, there too, or None.
            masks: the seed of dropout.
            share: the weight of this loss in that of the whole batch.

        Returns:
            The loss times its share, and the gradients; None where a parameter has no part in it.
        """
        device = targets.device
        # No cache of weights in bfloat16: it is one for all threads, and each weight is used once.
        with (
            dropout.drawing_from(torch.Generator(device).manual_seed(masks)),
            torch.autocast(device.type, torch.bfloat16, self._half, cache_enabled=False),
        ):
            logits = self._model(batch)
        loss = self.criterion(logits.float(), targets, weights) * share
        return loss.item(), torch.autograd.grad(loss, self.parameters, allow_unused=True)
