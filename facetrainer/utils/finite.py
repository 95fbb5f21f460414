"""Numbers that are not numbers any more."""

from collections.abc import Iterable

import numpy as np


class NotFiniteError(ArithmeticError):
    """Something holds NaN or infinity."""


def first_not_finite(named: Iterable[tuple[str, np.ndarray]]) -> str | None:
    """Name of the first floating-point array that holds NaN or infinity, or None.

    Args:
        named: Pairs of a name and an array.
    """
    for name, values in named:
        if np.issubdtype(np.asarray(values).dtype, np.floating) and not np.isfinite(values).all():
            return name
    return None
