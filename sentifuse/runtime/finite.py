"""Refuses NaN and infinity where they are computed.

NaN is neither above nor below anything, so that a comparison lets it pass, and the largest of some
probabilities that are NaN is the first one. So results are checked once, as soon as they are there.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sentifuse.errors import UserError


def check(values: NDArray[Any], names: Sequence[str], what: str, remedy: str) -> None:
    """Checks that the N rows of `values`, (N, ...), hold finite numbers only.

    Raises:
        UserError: some do not. It names the first one, by file or guid, and says how many there are;
            `what` says in the plural what they are, such as `logits`.
    """
    if np.isfinite(values).all():
        return
    bad = [name for name, row in zip(names, values, strict=True) if not np.isfinite(row).all()]
    raise UserError(
        f"{bad[0]}: the {what} are NaN or infinite ({len(bad)} of {len(names)} looked at): {remedy}"
    )
