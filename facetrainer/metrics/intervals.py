"""Confidence intervals that know people: pairs that share a person are not independent trials.

Reference:
    Fogliato, Patil, Perona, "Confidence Intervals for Error Rates in 1:1 Matching Tasks", IJCV 2024, arXiv:2306.01198: the variance of
    a rate over people (sec. 4.1), Wilson's interval with it (eq. 9), the double-or-nothing bootstrap (sec. 4.2).
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit, ndtri

from facetrainer.metrics.roc import Roc


def rate_variance(errors: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    """Variance of the mean of `errors`, where pairs that share a person go together.

    Args:
        errors: `(n,)`, 0 or 1.
        first: Person of each pair's first image, integers `(n,)`.
        second: Of the second.

    Returns:
        The variance; that of independent trials, n p (1 - p) / n^2, where no two pairs share a person.
    """
    away = np.asarray(errors, np.float64) - np.mean(errors)
    (first, second), count = _numbered(first, second)
    crossed = first != second
    person = np.bincount(first, away, count) + np.bincount(second[crossed], away[crossed], count)
    cells, inverse = np.unique(_cells(first, second, count), return_inverse=True)
    cell, apart = np.bincount(inverse, away), cells // count != cells % count
    shared = np.sum(person**2) - 2 * np.sum(cell[apart] ** 2) - np.sum(cell[~apart] ** 2)
    return float((np.sum(cell**2) + max(shared, 0.0)) / len(away) ** 2)


def _numbered(*people):
    """Persons of any numbers → 0 ... count - 1, and how many."""
    people = np.asarray(people)
    if people.dtype.kind in "iu" and people.size and people.min() >= 0 and people.max() < 4 * people.size:
        there = np.bincount(people.ravel()) > 0  # no sort, where the numbers are small
        numbered, count = (np.cumsum(there) - 1)[people], int(there.sum())
    else:
        values, numbered = np.unique(people, return_inverse=True)
        count = len(values)
    return numbered.reshape(people.shape).astype(np.uint16 if count < 1 << 16 else np.int64), count


def _cells(first, second, count):
    """One number for each pair of people, whichever comes first."""
    return np.minimum(first, second).astype(np.int64) * count + np.maximum(first, second)


def wilson(rate: float, count: float, level: float = 0.95) -> tuple[float, float]:
    """Interval of a rate over independent trials.

    Args:
        rate: In [0, 1].
        count: Number of trials; an effective number need not be whole.
        level: How often the interval is to hold the true rate. Defaults to `0.95`.

    Returns:
        Lower and upper end.

    Reference:
        Wilson, 1927.
    """
    z = ndtri((1 + level) / 2)
    middle, half = rate + z * z / 2 / count, z * np.sqrt((rate * (1 - rate) + z * z / 4 / count) / count)
    return float((middle - half) / (1 + z * z / count)), float((middle + half) / (1 + z * z / count))


def rate_interval(
    errors: np.ndarray, first: np.ndarray | None = None, second: np.ndarray | None = None, level: float = 0.95
) -> tuple[float, float]:
    """Wilson's interval of the mean of `errors` with the variance over people.

    Args:
        errors: `(n,)`, 0 or 1.
        first: Person of each pair's first image, integers `(n,)`; every pair its own unless given.
        second: Of the second.
        level: How often the interval is to hold the true rate. Defaults to `0.95`.

    Returns:
        Lower and upper end. Without an error (or without a success) nothing tells the variance: every two people then count as one trial.
    """
    errors = np.asarray(errors, np.float64)
    if first is None:
        first = second = np.arange(len(errors))
    rate, count = float(errors.mean()), len(errors)
    if rate in (0.0, 1.0):
        (first, second), people = _numbered(first, second)
        trials = len(np.unique(_cells(first, second, people)))
        low, high = wilson(rate, trials, level)
        return (0.0, high) if rate == 0 else (low, 1.0)
    variance = rate_variance(errors, first, second)
    low, high = wilson(rate, rate * (1 - rate) / variance if variance > 0 else count, level)
    if errors.sum() == 1:
        low = -np.log(level) / count
    elif errors.sum() == count - 1:
        high = 1 + np.log(level) / count
    return float(low), float(high)


def double_or_nothing(
    scores: np.ndarray,
    same: np.ndarray,
    people: np.ndarray,
    of: Callable[[Roc], object],
    draws: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """Values of `of` over draws of half of the people.

    Args:
        scores: `(n,)`.
        same: Whether each pair is of one person, bool `(n,)`.
        people: Persons of both images of each pair, integers `(2, n)`.
        of: Function of the curve of the pairs both of whose people were drawn.
        draws: How many. Defaults to `1000`.
        seed: Of the draws. Defaults to `0`.

    Returns:
        `(draws, ...)`; draws without pairs of both kinds are left out.
    """
    rng, found = np.random.default_rng(seed), []
    (numbered, count), same = _numbered(*people), np.asarray(same, bool)
    kinds = [_InOrder(scores[kind], numbered[:, kind]) for kind in (same, ~same)]
    for _ in range(draws):
        drawn = rng.random(count) < 0.5
        curve = Roc.of_sorted(*(kind.of(drawn) for kind in kinds))
        if curve.both:
            found.append(of(curve))
    return np.array(found)


class _InOrder:
    """Scores from the lowest and their people, put in order once for all draws."""

    def __init__(self, scores, people):
        order = np.argsort(scores)
        self.scores, self.people = scores[order], people[:, order]

    def of(self, drawn):
        """Scores of the pairs both of whose people were drawn."""
        first, second = self.people
        return self.scores[np.flatnonzero(drawn[first] & drawn[second])]  # twice as fast as by the mask itself


def curve_intervals(
    scores: np.ndarray, same: np.ndarray, people: np.ndarray, fars: ArrayLike = (), draws: int = 1000,
    level: float = 0.95, seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Intervals of a curve's area and of its true-accept rates.

    Their variance is that of the draws of `double_or_nothing`, taken as normal on the scale of log-odds: percentiles of the draws hold
    an area near 1 too seldom (87 % in place of 95 % over 60 people).

    Args:
        scores: `(n,)`.
        same: Whether each pair is of one person, bool `(n,)`.
        people: Persons of both images of each pair, integers `(2, n)`.
        fars: The k false-accept rates. Defaults to none.
        draws: How many. Defaults to `1000`.
        level: How often an interval is to hold the true value. Defaults to `0.95`.
        seed: Of the draws. Defaults to `0`.

    Returns:
        Lower and upper ends, each `(1 + k,)`: of the area, then of the rates; nan where hardly any draw had pairs of both kinds.
    """
    same = np.asarray(same, bool)
    least = [least_area(same, people), *[0.5 / max(np.sum(same), 1)] * len(fars)]

    def of(curve):
        return np.append(curve.auc, curve.tar_between(fars))

    return drawn_intervals(scores, same, people, of, least, draws, level, seed)


def least_area(same: np.ndarray, people: np.ndarray) -> float:
    """Half of the smallest part of 1 that people can tell of an area under a curve: more pairs of the same people tell no smaller one.

    With the pairs in the place of the people, draws without an error of 20 people would widen the interval to all of the scale.

    Args:
        same: Whether each pair is of one person, bool `(n,)`.
        people: Persons of both images of each pair, integers `(2, n)`.

    Returns:
        A number from 0 to 0.5.
    """
    kinds = [len(np.unique(people[:, kind])) for kind in (same, ~same)]
    return 0.5 / max(kinds[0] * kinds[1], 1)


def drawn_intervals(
    scores: np.ndarray, same: np.ndarray, people: np.ndarray, of: Callable[[Roc], np.ndarray], least: list[float], draws: int = 1000,
    level: float = 0.95, seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Intervals of any rates of a curve, as those of `curve_intervals`.

    Args:
        scores: `(n,)`.
        same: Whether each pair is of one person, bool `(n,)`.
        people: Persons of both images of each pair, integers `(2, n)`.
        of: Function of a curve that gives rates `(k,)`.
        least: The smallest part of 1 that the pairs tell of each rate, `(k,)`.
        draws: How many. Defaults to `1000`.
        level: How often an interval is to hold the true value. Defaults to `0.95`.
        seed: Of the draws. Defaults to `0`.

    Returns:
        Lower and upper ends, each `(k,)`; nan where hardly any draw had pairs of both kinds.
    """
    estimate, found = of(Roc(scores, same)), double_or_nothing(scores, same, people, of, draws, seed)
    if len(found) < draws / 2:
        return np.full(len(estimate), np.nan), np.full(len(estimate), np.nan)
    low, high = np.asarray(least), 1 - np.asarray(least)
    middle, drawn = (logit(np.clip(rates, low, high)) for rates in (estimate, found))
    half = ndtri((1 + level) / 2) * drawn.std(axis=0)
    trials = len(np.unique(people[:, same]))
    known = np.array(
        [wilson(rate, trials, level) for rate in estimate]
    ).T  # where all draws agree they tell no variance
    low, high = (np.where(half > 1e-9, expit(middle + sign * half), known[k]) for k, sign in enumerate((-1, 1)))
    sure = (estimate <= 0) | (estimate >= 1)  # nor do they where there is no error
    low, high = np.where(sure, np.minimum(low, known[0]), low), np.where(sure, np.maximum(high, known[1]), high)
    return np.maximum(np.minimum(low, estimate), 0), np.minimum(np.maximum(high, estimate), 1)
