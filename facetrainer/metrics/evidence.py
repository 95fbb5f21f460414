"""What a score says about two images: the probability that they are of one person, and the ratio of its likelihoods."""

import numpy as np
from scipy.special import expit, ndtri
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from facetrainer.metrics.intervals import rate_variance
from facetrainer.metrics.verification import folds_of


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
    rows = np.stack([np.ones_like(scores), (scores - middle) / spread])  # where all scores are nearly one number, too
    model = LogisticRegression(C=1.0).fit(rows[1][:, None], same, weights)
    slope = float(model.coef_[0, 0] / spread)
    intercept = float(model.intercept_[0] - slope * middle)
    chance = expit(model.intercept_[0] + model.coef_[0, 0] * rows[1])
    curvature = (rows * weights * chance * (1 - chance)) @ rows.T
    curvature[1, 1] += 1  # the regression's penalty
    inner = len(scores) ** 2 * _covariance(rows * weights * (same - chance), people)
    back = np.array([[1, -middle / spread], [0, 1 / spread]]) @ np.linalg.inv(curvature)
    return {"intercept": intercept, "slope": slope, "covariance": (back @ inner @ back.T).tolist(),
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
    return tuple(float(expit(one)) for one in log_ratio(fitted, score, level))


def log_ratio(fitted: dict, score: float, level: float = 0.95) -> tuple[float, float, float]:
    """Natural logarithm of how much likelier a score is of one person than of two.

    Args:
        fitted: From `fit`.
        score: Of the two images.
        level: How often the interval is to hold the true value. Defaults to `0.95`.

    Returns:
        The logarithm, and the lower and upper end of its interval; none beyond the odds that the pairs can support.
    """
    row = np.array([1.0, score])
    middle = fitted["intercept"] + fitted["slope"] * score
    half = ndtri((1 + level) / 2) * np.sqrt(max(row @ np.array(fitted["covariance"]) @ row, 0.0))
    low, high = -np.log(fitted["odds"]["lowest"]), np.log(fitted["odds"]["highest"])
    return tuple(float(np.clip(one, low, high)) for one in (middle, middle - half, middle + half))


def cllr(log_ratios: np.ndarray, same: np.ndarray) -> float:
    """Cost of log-likelihood ratios in bits: 0 is perfect, 1 is no better than saying nothing.

    Args:
        log_ratios: Natural logarithms `(n,)`.
        same: Whether each pair is of one person, bool `(n,)`.

    Returns:
        Bits; infinite where a ratio that was certain is wrong, nan where one is nan.

    Reference:
        Brümmer & du Preez, "Application-independent evaluation of speaker detection", Computer Speech & Language 2006, eq. 24.
    """
    same = np.asarray(same, bool)
    if np.isnan(log_ratios).any():
        return float("nan")
    missed, taken = np.logaddexp(0, -log_ratios[same]).mean(), np.logaddexp(0, log_ratios[~same]).mean()
    return float((missed + taken) / 2 / np.log(2))


def best_ratios(scores: np.ndarray, same: np.ndarray) -> np.ndarray:
    """Log-likelihood ratios `(n,)` that no rising function of these very scores betters: pool adjacent violators.

    Args:
        scores: `(n,)`.
        same: Whether each pair is of one person, bool `(n,)`.

    Returns:
        Natural logarithms, infinite at both ends as a rule.
    """
    same = np.asarray(same, bool)
    weights = np.where(same, 0.5 / same.sum(), 0.5 / (~same).sum())
    chance = IsotonicRegression(y_min=0, y_max=1).fit_transform(scores, same, sample_weight=weights)
    with np.errstate(divide="ignore"):
        return np.log(chance) - np.log1p(-chance)


def cllr_min(scores: np.ndarray, same: np.ndarray) -> float:
    """`cllr` of `best_ratios`: what is lost by telling people apart alone; the rest of `cllr` is lost by the calibration."""
    return cllr(best_ratios(scores, same), same)


def tippett(log_ratios: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parts of the pairs of one person, and of two, whose ratio is above a value.

    Args:
        log_ratios: Natural logarithms `(n,)`.
        same: Whether each pair is of one person, bool `(n,)`.

    Returns:
        Logarithms to base 10 `(k,)`, rising, and both parts at each `(k,)`.
    """
    values = np.asarray(log_ratios) / np.log(10)
    places = np.unique(values[np.isfinite(values)])
    parts = (
        1 - np.searchsorted(np.sort(values[kind]), places, "left") / max(np.sum(kind), 1) for kind in (same, ~same)
    )
    return places, *parts


def ratios(fitted: dict, scores: np.ndarray) -> np.ndarray:
    """Log-likelihood ratios `(n,)` of scores `(n,)`, by a fit of other pairs; not cut off at the odds, as `cllr` wants them."""
    return fitted["intercept"] + fitted["slope"] * np.asarray(scores, np.float64)


def folded_ratios(scores: np.ndarray, same: np.ndarray, people: np.ndarray, folds: int = 10) -> np.ndarray:
    """Log-likelihood ratios `(n,)` of each fold of the pairs by the fit of the others, as 10-fold accuracy takes its thresholds.

    nan where the others are all of one kind.

    Returns:
        Natural logarithms `(n,)`.
    """
    found = np.full(len(same), np.nan)
    for fold in folds_of(len(same), folds):
        rest = np.setdiff1d(np.arange(len(same)), fold)
        if len(np.unique(same[rest])) == 2:
            found[fold] = ratios(fit(scores[rest], same[rest], people[:, rest]), scores[fold])
    return found
