"""A multinomial logistic regression on the embeddings of frozen encoders, side by side and standardised."""

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentifuse.features.batches import Dataset, Needs, RowIndices, ViewChoice
from sentifuse.metrics.scores import ClassIndices, Floats

# Inverse strengths of the L2 penalty to choose from, the strongest first.
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
# A linear model on two thousand columns learns nothing more from more rows, but would need their memory.
MAX_ROWS = 20_000


def embeddings(
    data: Dataset, index: RowIndices, views: ViewChoice, encoders: Collection[str]
) -> NDArray[np.float32]:
    """(B, D): the embeddings of some encoders side by side, of the samples at `index` (B,)."""
    batch = data.batch(index, Needs(), views)
    out: NDArray[np.float32] = np.concatenate(
        [batch[key].embedding.mean(dim=1).numpy() for key in encoders], axis=1
    )
    return out


def draw(index: RowIndices, seed: int) -> RowIndices:
    """At most `MAX_ROWS` of `index`, in its order."""
    if len(index) <= MAX_ROWS:
        return index
    return np.sort(np.random.default_rng(seed).choice(index, MAX_ROWS, replace=False))


def fit(x: NDArray[np.float32], targets: ClassIndices, penalty: float) -> Any:
    """A pipeline of scikit-learn that is trained on `x` (N, D) and `targets` (N,).

    `penalty` is the inverse strength of the L2 penalty.
    """
    from sklearn.dummy import DummyClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = LogisticRegression(C=penalty, max_iter=300)
    if len(np.unique(targets)) < 2:
        model = DummyClassifier()  # scikit-learn refuses to train the other on one class
    return make_pipeline(StandardScaler(), model).fit(x, targets)


def probabilities(model: Any, x: NDArray[np.float32], classes: int) -> Floats:
    """What `fit` gave says of `x` (N, D): (N, C); a class without training rows has 0."""
    out = np.zeros((len(x), classes))
    out[:, model[-1].classes_] = model.predict_proba(x)
    return out
