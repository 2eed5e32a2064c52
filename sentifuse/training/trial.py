"""One trial: a recipe is trained on a split, and scored on the parts that it was not trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sentifuse.config.recipe import Recipe, StageRecipe
from sentifuse.features.parts import Parts
from sentifuse.metrics import calibration
from sentifuse.metrics.scores import COMPARED, WATCHED, ClassIndices, Floats, headline
from sentifuse.metrics.softmax import softmax
from sentifuse.models.classifier import Classifier
from sentifuse.models.ensemble import Ensemble
from sentifuse.models.inference import predict
from sentifuse.training.loop import NO_HOOKS, Fitted, Hooks
from sentifuse.training.two_stage import TailWeights, train_stage1, train_stage2


@dataclass(frozen=True)
class Trial:
    """What a recipe reaches on a split whose test part has N samples of C classes.

    Attributes:
        members: how each member of the model was trained in the last stage: its epochs, the best of them.
        train_samples: how many it was trained on.
        val: the scores `WATCHED` on validation, 0..1; empty without a validation part.
        guids: N, of the test part.
        targets: (N,) class indices of the test part.
        logits: (N, C), of the test part.
        temperature: fitted on validation; 1 without a validation part.
    """

    members: list[Fitted]
    train_samples: int
    val: dict[str, float]
    guids: Sequence[str]
    targets: ClassIndices
    logits: NDArray[np.float32]
    temperature: float

    @property
    def precision(self) -> str:
        """What it was trained in, `fp32` or `bf16`."""
        return self.members[0].precision

    @property
    def probabilities(self) -> Floats:
        """(N, C), with the temperature."""
        return softmax(self.logits, self.temperature)

    @property
    def predicted(self) -> ClassIndices:
        """(N,) class indices."""
        predicted: ClassIndices = self.logits.argmax(axis=1)
        return predicted

    @property
    def test(self) -> dict[str, float]:
        """The scores `COMPARED` on the test part, 0..1; empty without one."""
        return _scores(self.targets, self.logits, COMPARED)


def run_trial(
    recipe: Recipe,
    parts: Parts,
    weights: TailWeights,
    *,
    seed: int,
    device: str = "cpu",
    hooks: Hooks = NO_HOOKS,
) -> Trial:
    """Trains by `recipe` and applies the model to validation and test.

    Args:
        recipe: how to train.
        parts: the split, with features.
        weights: as of `tail_weights`; read only if the recipe has a stage 2.
        seed: of all chance.
        device: where to train and to predict, `cpu` or `cuda`.
        hooks: what goes on beside training.

    Raises:
        UserError: nothing to train on, or a recipe that does not fit the features.
    """
    start, fitted = train_stage1(recipe, parts, seed=seed, device=device, hooks=hooks)
    model: Classifier | Ensemble = start
    members = [fitted]
    if recipe.stage2 is not None:
        second = StageRecipe(recipe.loss, recipe.image_views, recipe.stage2)
        model, members = train_stage2(start, weights, parts, second, seed=seed, hooks=hooks)
    val, test = (
        predict(model, part, recipe.image_views.predict).numpy() for part in (parts.val, parts.test)
    )
    val_targets = parts.val.targets.numpy()
    return Trial(
        members=members,
        train_samples=len(parts.train),
        val=_scores(val_targets, val, WATCHED),
        guids=parts.test.guids,
        targets=parts.test.targets.numpy(),
        logits=test,
        temperature=calibration.fit_temperature(val, val_targets),
    )


def _scores(
    targets: ClassIndices, logits: NDArray[np.float32], names: Sequence[str]
) -> dict[str, float]:
    if not len(targets):
        return {}
    return headline(targets, logits.argmax(axis=1), logits.shape[1], names)
