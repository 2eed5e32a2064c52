"""Cross-entropy with class weights, label smoothing, logit adjustment and weights of samples."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from sentifuse.config.recipe import Loss
from sentifuse.errors import UserError
from sentifuse.features.parts import Parts


@dataclass(frozen=True)
class Criterion:
    """The loss of a run.

    Attributes:
        weights: (C,), of the classes.
        label_smoothing: the share of the target that is spread over all classes, 0..1.
        log_prior: (C,), what is added to the logits in training (logit adjustment, Menon et al. 2021,
            arXiv:2007.07314), or None.
    """

    weights: Tensor
    label_smoothing: float
    log_prior: Tensor | None

    @classmethod
    def of(cls, section: Loss, parts: Parts) -> Self:
        """The criterion that the section `loss` asks for on the training part.

        Raises:
            UserError: weights that do not name the classes, or a class without the samples that weights
                or adjustment are computed from.
        """
        counts = torch.bincount(parts.train.targets, minlength=len(parts.labels))
        prior = None
        if section.logit_adjustment:
            if counts.min() == 0:
                absent = parts.labels[int(counts.argmin())]
                value = section.logit_adjustment
                raise UserError(f"loss.logit_adjustment: {value}: no training sample of {absent!r}")
            prior = section.logit_adjustment * (counts / counts.sum()).log()
        weights = class_weights(section, counts.tolist(), parts.labels)
        return cls(weights, section.label_smoothing, prior)

    def to(self, device: torch.device) -> Self:
        """The same loss on `device`."""
        prior = None if self.log_prior is None else self.log_prior.to(device)
        return replace(self, weights=self.weights.to(device), log_prior=prior)

    def __call__(self, logits: Tensor, targets: Tensor, samples: Tensor | None = None) -> Tensor:
        """The weighted mean of the cross-entropies of (B, C) logits and (B,) targets, a scalar.

        `samples` (B,) are weights of the samples, which multiply those of their classes.
        """
        if self.log_prior is not None:
            logits = logits + self.log_prior
        entropy = partial(
            F.cross_entropy, logits, targets, self.weights, label_smoothing=self.label_smoothing
        )
        if samples is None:
            return entropy()
        return (samples * entropy(reduction="none")).sum() / self.total_weight(targets, samples)

    def total_weight(self, targets: Tensor, samples: Tensor | None = None) -> Tensor:
        """The weight of these samples in a mean over more of them, a scalar."""
        own = self.weights[targets]
        return own.sum() if samples is None else (own * samples).sum()


def class_weights(section: Loss, counts: Sequence[int], labels: Sequence[str]) -> Tensor:
    """The weight of each class in the loss.

    `balanced` is inverse frequency over its mean, `sqrt` the square root of that.

    Args:
        section: the section `loss`.
        counts: training samples of each class, in the order of `labels`.
        labels: class names, C.

    Returns:
        (C,) float32.

    Raises:
        UserError: a mapping that does not name just the labels, or a class without samples.
    """
    kind = section.class_weights
    if isinstance(kind, dict):
        try:
            section.check_labels(labels)
        except ValueError as error:
            raise UserError(str(error)) from None
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
