"""Two models on the same pairs: is one better, and by how much."""

import numpy as np
from scipy.special import ndtri
from scipy.stats import norm

from facetrainer.metrics.intervals import double_or_nothing, rate_variance
from facetrainer.metrics.roc import Roc


def paired(
    first: np.ndarray, second: np.ndarray, people: np.ndarray, level: float = 0.95
) -> tuple[float, tuple[float, float]]:
    """Difference of two rates of the same pairs, with the variance over people.

    Args:
        first: What the first model makes of each pair, 0 or 1, `(n,)`: whether it is said rightly, say.
        second: The second.
        people: Persons of both images of each pair, integers `(2, n)`.
        level: How often the interval is to hold the true difference. Defaults to `0.95`.

    Returns:
        First minus second, and the ends of its interval.
    """
    apart = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    half = ndtri((1 + level) / 2) * np.sqrt(rate_variance(apart, *people) + 1 / len(apart) ** 2)
    return float(apart.mean()), (float(apart.mean() - half), float(apart.mean() + half))


def delong(first: np.ndarray, second: np.ndarray, same: np.ndarray) -> tuple[float, float, float]:
    """Difference of the areas under two curves of the same pairs.

    Args:
        first: Scores of the first model `(n,)`.
        second: Of the second.
        same: Whether each pair is of one person, bool `(n,)`.

    Returns:
        First minus second, its standard error, and the two-sided p of no difference. All pairs count as independent; where they share
        people the error is larger, see `areas`.

    Reference:
        DeLong et al., Biometrics 1988; by ranks, Sun & Xu, IEEE Signal Processing Letters 2014.
    """
    same = np.asarray(same, bool)
    parts = [_placements(np.asarray(scores, np.float64), same) for scores in (first, second)]
    apart = parts[0][0].mean() - parts[1][0].mean()
    variance = sum(np.var(one - other, ddof=1) / len(one) for one, other in zip(*parts, strict=True))
    if variance == 0:
        return float(apart), 0.0, 1.0 if apart == 0 else 0.0
    return float(apart), float(np.sqrt(variance)), float(2 * norm.sf(abs(apart) / np.sqrt(variance)))


def _placements(scores, same):
    """How often each pair of one person lies above those of two, and each of two below those of one; ties count half."""
    mine, others = np.sort(scores[same]), np.sort(scores[~same])

    def below(values, among):
        return (np.searchsorted(among, values, "left") + np.searchsorted(among, values, "right")) / 2 / len(among)

    return below(scores[same], others), 1 - below(scores[~same], mine)


def areas(
    first: np.ndarray, second: np.ndarray, same: np.ndarray, people: np.ndarray, draws: int = 1000, seed: int = 0
) -> tuple[float, tuple[float, float]]:
    """Difference of the areas under two curves of the same pairs, with its 95 % interval over people.

    Args:
        first: Scores of the first model `(n,)`.
        second: Of the second.
        same: Whether each pair is of one person, bool `(n,)`.
        people: Persons of both images of each pair, integers `(2, n)`.
        draws: Of half of the people. Defaults to `1000`.
        seed: Of the draws. Defaults to `0`.

    Returns:
        First minus second, and the ends of its interval.
    """
    one, other = (
        double_or_nothing(scores, same, people, lambda curve: curve.auc, draws, seed) for scores in (first, second)
    )
    apart, half = Roc(first, same).auc - Roc(second, same).auc, ndtri(0.975) * np.std(one - other)
    return float(apart), (float(apart - half), float(apart + half))
