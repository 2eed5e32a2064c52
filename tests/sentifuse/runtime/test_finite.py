import numpy as np
import pytest

from sentifuse.errors import UserError
from sentifuse.runtime import finite

INFINITE = float("inf")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("value", [float("nan"), INFINITE, -INFINITE])
@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 2, 3)])
def test_rows_that_are_not_numbers_are_named_and_counted(
    shape: tuple[int, ...], value: float, dtype: type
) -> None:
    values = np.ones(shape, dtype)
    finite.check(values, list("abcd"), "logits", "do this")
    values.reshape(4, -1)[[1, 3], -1] = value
    with pytest.raises(UserError) as caught:
        finite.check(values, list("abcd"), "logits", "do this")
    expected = "b: the logits are NaN or infinite (2 of 4 looked at): do this"
    assert str(caught.value) == expected


def test_no_rows_pass() -> None:
    finite.check(np.empty((0, 3)), [], "logits", "do this")
