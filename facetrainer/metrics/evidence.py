"""What a score says about two images: the probability that they are of one person."""

import numpy as np
from scipy.special import expit, ndtri
from sklearn.linear_model import LogisticRegression

from facetrainer.metrics.intervals import rate_variance


def fit(scores: np.ndarray, same: np.ndarray, people: np.ndarray) -> dict:
    """Logistic regression of "one person" on the score, both answers alike likely beforehand.

    Args:
        scores: `(n,)`.
        same: Whether each pair is of one person, bool `(n,)`.
        people: Persons of both images of each pair, integers `(2, n)`: the covariance takes into account that pairs share them.

    Returns:
        `intercept`, `slope`, their `covariance` (2, 2), and `odds`: no more than the pairs can support, one to their number.

    Reference:
        Brümmer & du Preez, "Application-independent evaluation of speaker detection", 2006; Cameron, Gelbach & Miller, 2011, for the
        covariance.
    """
    scores, same = np.asarray(scores, np.float64), np.asarray(same, bool)
    middle, spread = scores.mean(), scores.std() + 1e-12
    weights = np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum()) * len(same)
    model = LogisticRegression(C=1.0).fit((scores - middle)[:, None] / spread, same, weights)
    slope = float(model.coef_[0, 0] / spread)
    intercept = float(model.intercept_[0] - slope * middle)
    chance = expit(intercept + slope * scores)
    rows = np.stack([np.ones_like(scores), scores])
    curvature = (rows * weights * chance * (1 - chance)) @ rows.T
    curvature[1, 1] += spread**2  # the regression's penalty
    inner = len(scores) ** 2 * _covariance(rows * weights * (same - chance), people)
    inverse = np.linalg.inv(curvature)
    return {"intercept": intercept, "slope": slope, "covariance": (inverse @ inner @ inverse).tolist(),
            "odds": {"highest": int((~same).sum()) + 1, "lowest": int(same.sum()) + 1}}  # fmt: skip


def _covariance(values, people):
    """Covariance of the mean of two values (2, n) of pairs that share people."""
    first, second, both = (rate_variance(one, *people) for one in (values[0], values[1], values[0] + values[1]))
    crossed = (both - first - second) / 2
    return np.array([[first, crossed], [crossed, second]])


def probability(fitted: dict, score: float, level: float = 0.95) -> tuple[float, float, float]:
    """The probability that two images of this score are of one person, where both answers were alike likely beforehand.

    Args:
        fitted: From `fit`.
        score: Of the two images.
        level: How often the interval is to hold the true value. Defaults to `0.95`.

    Returns:
        The probability, and the lower and upper end of its interval; none beyond the odds that the pairs can support.
    """
    row = np.array([1.0, score])
    middle = fitted["intercept"] + fitted["slope"] * score
    half = ndtri((1 + level) / 2) * np.sqrt(max(row @ np.array(fitted["covariance"]) @ row, 0.0))
    low, high = -np.log(fitted["odds"]["lowest"]), np.log(fitted["odds"]["highest"])
    return tuple(float(expit(np.clip(one, low, high))) for one in (middle, middle - half, middle + half))
