"""What the models of a run answer on its test part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sentifuse.metrics.scores import ClassIndices

# The name of the model itself in `Answers.given`.
MODEL = "model"


@dataclass(frozen=True)
class Answers:
    """N test samples, in one order.

    Attributes:
        labels: C class names.
        guids: of the samples.
        targets: (N,) class indices.
        given: (N,) class indices by the name of who gives them: `MODEL`, and those of
            `baselines.UNIMODAL` that were trained.
    """

    labels: Sequence[str]
    guids: Sequence[str]
    targets: ClassIndices
    given: Mapping[str, ClassIndices]

    @property
    def predicted(self) -> ClassIndices:
        """(N,) class indices that the model itself answers."""
        return self.given[MODEL]
