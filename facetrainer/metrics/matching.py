"""Error rates of one-to-one comparison in the words of ISO/IEC 19795-1 and of NIST's FRTE.

A comparison is genuine (one person) or an impostor's (two people). FMR is the part of the impostors' comparisons that reach a threshold,
FNMR that of the genuine ones that do not. A threshold is set where one set of pairs has a stated FMR, and carried to others.
"""

import dataclasses

import numpy as np

from facetrainer.metrics.intervals import rate_interval
from facetrainer.metrics.roc import Roc

Interval = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class AtThreshold:
    """Both error rates at a threshold that does not depend on the pairs.

    Attributes:
        threshold: Scores from there on are matches.
        fmr: False match rate.
        fmr_95: Its interval over people.
        fnmr: False non-match rate.
        fnmr_95: Its interval over people.
        impostors: Number of comparisons of two people.
        genuine: Number of comparisons of one person.
        people: How many people are in the comparisons.
    """

    threshold: float
    fmr: float
    fmr_95: Interval
    fnmr: float
    fnmr_95: Interval
    impostors: int
    genuine: int
    people: int

    @classmethod
    def of(cls, threshold: float, scores: np.ndarray, same: np.ndarray, people: np.ndarray) -> "AtThreshold":
        """From the pairs.

        Args:
            threshold: Set elsewhere.
            scores: `(n,)`.
            same: Whether each pair is of one person, bool `(n,)`.
            people: Persons of both images of each pair, integers `(2, n)`.

        Returns:
            The rates; nan of a kind that the pairs lack.
        """
        said = np.asarray(scores) >= threshold
        fmr, fmr_95 = _rate(said[~same], people[:, ~same])
        fnmr, fnmr_95 = _rate(~said[same], people[:, same])
        counts = int(np.sum(~same)), int(np.sum(same)), len(np.unique(people))
        return cls(float(threshold), fmr, fmr_95, fnmr, fnmr_95, *counts)

    def __str__(self):
        fmr, fnmr = (
            f"{rate:.3g} ({low:.2g}–{high:.2g})"
            for rate, (low, high) in ((self.fmr, self.fmr_95), (self.fnmr, self.fnmr_95))
        )
        return f"threshold {self.threshold:.4f}: FMR {fmr}, FNMR {fnmr}"


def _rate(wrong, people):
    if len(wrong) == 0:
        return float("nan"), (float("nan"), float("nan"))
    return float(np.mean(wrong)), rate_interval(wrong, *people)


def zero_fmr(curve: Roc) -> float:
    """FNMR at the lowest threshold that no impostor's comparison reaches.

    It falls with the number of impostors and tells of these pairs alone, so that it has no interval.

    Returns:
        A rate from 0 to 1.
    """
    return 1 - curve.tar(0.0)
