"""`loss.noise`: labels of the training part that are probably wrong are left out, or count less.

Confident learning on out-of-fold probabilities says which they are. All of that happens within the training
part, so no label of validation or test is seen. The model that decides reads the modalities that the recipe
reads: a recipe for text alone learns nothing from the images.
"""

from dataclasses import replace

import numpy as np
import torch

from sentifuse.config.recipe import Loss
from sentifuse.errors import UserError
from sentifuse.features.batches import Dataset, RowIndices, ViewChoice
from sentifuse.features.parts import Parts
from sentifuse.metrics import confident_learning
from sentifuse.models.classifier import INPUT_MODES
from sentifuse.training import out_of_fold

_FOLDS = 5


def trusted(parts: Parts, loss: Loss, mode: str, views: ViewChoice, seed: int) -> tuple[Parts, int]:
    """The same parts with what `loss.noise` makes of the training part, and how many labels it doubts.

    With `drop` it lacks the samples whose labels are probably wrong. With `weight` they have the out-of-fold
    probability of their label as weight, and all others have 1.

    Args:
        parts: the data.
        loss: the section `loss`.
        mode: a key of `INPUT_MODES`.
        views: which views of an image are averaged.
        seed: of the folds.

    Raises:
        UserError: a label has too few groups of samples for the folds.
    """
    if loss.noise == "none":
        return parts, 0
    train, targets = parts.train, parts.train.targets.numpy()
    try:
        folds = out_of_fold.fold_of(train, parts.labels, parts.groups, count=_FOLDS, seed=seed)
    except UserError as error:
        raise UserError(f"loss.noise: {loss.noise!r}: {error}") from None
    encoders = train.features.meta.encoders
    read = [each.key for each in encoders if each.modality not in INPUT_MODES[mode]]
    found = out_of_fold.probabilities(train, folds, len(parts.labels), views, read, seed)
    doubtful = confident_learning.suggested(found, targets) != targets
    if loss.noise == "drop":
        kept = _subset(train, np.flatnonzero(~doubtful))
        return replace(parts, train=kept), int(doubtful.sum())
    own = found[np.arange(len(targets)), targets]
    weights = torch.from_numpy(np.where(doubtful, own, 1.0).astype(np.float32))
    return replace(parts, train=replace(train, weights=weights)), int(doubtful.sum())


def _subset(data: Dataset, index: RowIndices) -> Dataset:
    guids = [data.guids[place] for place in index]
    return replace(data, rows=data.rows[index], targets=data.targets[index], guids=guids)
