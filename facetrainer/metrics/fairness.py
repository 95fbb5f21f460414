"""Error rates of groups of people at one threshold, and how far apart they are.

Reference:
    FDR: de Freitas Pereira & Marcel, "Fairness in Biometrics", IEEE T-BIOM 2022, arXiv:2011.02395, section III. GARBE: Howard et al.,
    "Evaluating Proposed Fairness Models for Face Recognition Algorithms", 2022, arXiv:2203.05051, section 5. Ratio of the worst to the
    best: NIST IR 8280 and IR 8429.
"""

import dataclasses
import itertools

import numpy as np
from numpy.typing import ArrayLike

from facetrainer.metrics.intervals import rate_interval
from facetrainer.metrics.matching import AtThreshold


def fdr(fmrs: ArrayLike, fnmrs: ArrayLike, alpha: float = 0.5) -> float:
    """Fairness discrepancy rate: 1 where all groups fare alike.

    Args:
        fmrs: False match rates of the groups `(G,)`.
        fnmrs: False non-match rates `(G,)`.
        alpha: Weight of the false matches. Defaults to `0.5`.

    Returns:
        1 − (α · largest difference of two FMR + (1 − α) · largest of two FNMR).
    """
    return float(1 - alpha * np.ptp(fmrs) - (1 - alpha) * np.ptp(fnmrs))


def gini(rates: ArrayLike) -> float:
    """Gini coefficient of a few rates `(G,)`, times G / (G − 1) so that it reaches 1: 0 where all are equal, or all 0."""
    rates, count = np.asarray(rates, np.float64), len(rates)
    if rates.sum() == 0 or count < 2:
        return 0.0
    apart = np.abs(rates[:, None] - rates).sum() / (2 * count**2 * rates.mean())
    return float(apart * count / (count - 1))


def garbe(fmrs: ArrayLike, fnmrs: ArrayLike, alpha: float = 0.5) -> float:
    """Gini aggregation rate for biometric equitability: 0 where all groups fare alike, 1 at worst.

    Args:
        fmrs: False match rates of the groups `(G,)`.
        fnmrs: False non-match rates `(G,)`.
        alpha: Weight of the false matches. Defaults to `0.5`.

    Returns:
        A number from 0 to 1.
    """
    return alpha * gini(fmrs) + (1 - alpha) * gini(fnmrs)


def worst_to_best(rates: ArrayLike) -> float:
    """Highest rate over the lowest; infinite where the lowest is 0 and the highest not."""
    low, high = float(np.min(rates)), float(np.max(rates))
    return high / low if low > 0 else float("inf") if high > 0 else 1.0


# spread of a kind's rates, its weight for false matches (0) and false non-matches (1), and what it is added to
MEASURES = {
    "FDR": (np.ptp, {0: -0.5, 1: -0.5}, 1.0),
    "GARBE": (gini, {0: 0.5, 1: 0.5}, 0.0),
    "FMR, worst to best": (worst_to_best, {0: 1.0}, 0.0),
    "FNMR, worst to best": (worst_to_best, {1: 1.0}, 0.0),
}
MOST_GROUPS = 12  # for an interval, which looks at every corner of the groups' own


@dataclasses.dataclass(frozen=True)
class Fairness:
    """Groups at one threshold.

    Attributes:
        threshold: Of all groups.
        groups: Rates of each group, by its name, of the pairs both of whose people are in it.
        measures: `{name: (value, (low, high))}`.
    """

    threshold: float
    groups: dict[str, AtThreshold]
    measures: dict[str, tuple]


def by_group(
    scores: np.ndarray, same: np.ndarray, people: np.ndarray, groups: np.ndarray, threshold: float, level: float = 0.95
) -> Fairness:
    """Rates of each group, and the measures of how far they are apart.

    What is found among few people differs though the groups do not, so that the draws of a bootstrap hold a difference of 0 too seldom
    (72 % in place of 95 %, three groups of 40 people). An interval here is all that a measure can be while the rates of all
    groups lie in intervals that hold all of them at once with probability `level`: wide, and sure.

    Args:
        scores: `(n,)`.
        same: Whether each pair is of one person, bool `(n,)`.
        people: Persons of both images of each pair, integers `(2, n)`.
        groups: Group of both images of each pair, `(2, n)`; pairs of two groups are left out, and empty names.
        threshold: One for all.
        level: How often an interval is to hold the true value. Defaults to `0.95`.

    Returns:
        The groups that have pairs of both kinds; of more than twelve the measures have no interval but nan.

    Raises:
        ValueError: Fewer than two groups have pairs of both kinds.
    """
    scores, same, groups = np.asarray(scores), np.asarray(same, bool), np.asarray(groups, str)
    inside = np.where(groups[0] == groups[1], groups[0], "")
    rows = {name: np.flatnonzero(inside == name) for name in np.unique(inside) if name}
    rows = {name: k for name, k in rows.items() if len(np.unique(same[k])) == 2}
    if len(rows) < 2:
        raise ValueError(
            f"fairness: expected two groups or more with pairs of one person and of two. Received: {', '.join(rows) or 'none'}"
        )
    found = {name: AtThreshold.of(threshold, scores[k], same[k], people[:, k]) for name, k in rows.items()}
    rates = np.array([[one.fmr, one.fnmr] for one in found.values()]).T
    each = level ** (1 / rates.size)
    wrong = (scores >= threshold) != same
    parts = [[k[same[k] == kind] for k in rows.values()] for kind in (False, True)]
    boxes = [np.array([rate_interval(wrong[k], *people[:, k], level=each) for k in kind]).T for kind in parts]
    measures = {name: (measure_of(name, *rates), _ends(one, boxes)) for name, one in MEASURES.items()}
    return Fairness(threshold, found, measures)


def measure_of(name: str, fmrs: ArrayLike, fnmrs: ArrayLike) -> float:
    """One of MEASURES.

    Args:
        name: Which.
        fmrs: False match rates of the groups `(G,)`.
        fnmrs: False non-match rates `(G,)`.

    Returns:
        The measure.
    """
    (spread, weights, base), rates = MEASURES[name], (fmrs, fnmrs)
    return float(base + sum(weight * spread(rates[k]) for k, weight in weights.items()))


def _ends(measure, boxes):
    """Least and most of a measure while each rate lies in its interval."""
    spread, weights, base = measure
    if boxes[0].shape[1] > MOST_GROUPS:
        return float("nan"), float("nan")
    parts = [sorted(weight * end for end in _extent(spread, *boxes[k])) for k, weight in weights.items()]
    return tuple(float(base + sum(ends)) for ends in zip(*parts, strict=True))


def _extent(spread, lows, highs):
    """Least spread, of rates as near to one value as their intervals let them, and the most, at a corner of all intervals."""
    near = min(spread(np.clip(value, lows, highs)) for value in np.linspace(lows.min(), highs.max(), 500))
    return near, max(spread(np.array(corner)) for corner in itertools.product(*zip(lows, highs, strict=True)))
