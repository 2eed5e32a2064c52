"""Several classifiers that vote."""

import math
from collections.abc import Collection, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from sentifuse.features.batches import Batch, Needs
from sentifuse.models.classifier import Classifier


class Ensemble(nn.Module):
    """Classifiers of one architecture that vote: the mean of their probabilities."""

    def __init__(self, members: Sequence[Classifier]) -> None:
        """Takes over `members`, at least one."""
        super().__init__()
        self.members = nn.ModuleList(members)
        self.config = members[0].config

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return cast(Classifier, self.members[0]).device

    @property
    def needs(self) -> Needs:
        """What a batch has to hold, beside the embeddings: the members have one architecture."""
        return cast(Classifier, self.members[0]).needs

    def forward(self, batch: Batch, absent: Collection[str] = ()) -> Tensor:
        """Returns the logarithm of the mean probabilities (B, C), whose softmax is that mean."""
        return self.without(batch, [absent])[0]

    def without(self, batch: Batch, absences: Sequence[Collection[str]]) -> Tensor:
        """What `forward` gives for each of A sets of absent modalities: (A, B, C)."""
        members = cast(Sequence[Classifier], self.members)
        return vote([each.without(batch, absences) for each in members])


def vote(logits: Sequence[Tensor]) -> Tensor:
    """The logarithm of the mean probabilities of several models; all are (..., C)."""
    votes = torch.stack([each.log_softmax(dim=-1) for each in logits])
    # The mean in log space: the probability of a class may be too small for float32, and log 0 is -inf.
    return votes.logsumexp(dim=0) - math.log(len(votes))
