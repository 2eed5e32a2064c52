"""Cross-entropy with class weights, label smoothing and logit adjustment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from sentifuse.errors import UserError

CLASS_WEIGHTS = ("none", "sqrt", "balanced")


def class_weights(
    kind: str | Mapping[str, float], counts: Sequence[int], labels: Sequence[str]
) -> Tensor:
    """The weight of each class in the loss.

    `balanced` is inverse frequency over its mean, `sqrt` the square root of that.

    Args:
        kind: one of `CLASS_WEIGHTS`, or a weight for each label by name.
        counts: training samples of each class, in the order of `labels`.
        labels: class names, C.

    Returns:
        (C,) float32.

    Raises:
        UserError: a mapping that does not name just the labels, or a class without samples.
    """
    if isinstance(kind, Mapping):
        if set(kind) != set(labels):
            raise UserError(
                f"loss.class_weights: {dict(kind)}: expected a weight for each of {', '.join(labels)}"
            )
        return torch.tensor([kind[label] for label in labels], dtype=torch.float32)
    if kind == "none":
        return torch.ones(len(labels))
    if min(counts) == 0:
        raise UserError(
            f"loss.class_weights: {kind!r}: no training sample of {labels[counts.index(0)]!r}"
        )
    inverse = 1 / torch.tensor(counts, dtype=torch.float32)
    balanced = inverse / inverse.mean()
    return balanced.sqrt() if kind == "sqrt" else balanced


def loss(
    logits: Tensor,
    targets: Tensor,
    *,
    weights: Tensor,
    label_smoothing: float,
    log_prior: Tensor | None,
) -> Tensor:
    """Weighted cross-entropy, a scalar: the weighted mean over the batch.

    Args:
        logits: (B, C).
        targets: (B,) int64.
        weights: (C,).
        label_smoothing: share of the target spread over all classes, 0..1.
        log_prior: (C,), added to the logits while training, times its strength already (logit
            adjustment, Menon et al. 2021, arXiv:2007.07314); None for none.
    """
    if log_prior is not None:
        logits = logits + log_prior
    return F.cross_entropy(logits, targets, weight=weights, label_smoothing=label_smoothing)


@dataclass(frozen=True)
class Criterion:
    """The loss of a run: what `loss` takes beside logits and targets."""

    weights: Tensor
    label_smoothing: float
    log_prior: Tensor | None

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The training loss, a scalar."""
        return loss(
            logits,
            targets,
            weights=self.weights,
            label_smoothing=self.label_smoothing,
            log_prior=self.log_prior,
        )

    def total_weight(self, targets: Tensor) -> Tensor:
        """What the loss of these samples counts for in a mean over more of them, a scalar."""
        return self.weights[targets].sum()
