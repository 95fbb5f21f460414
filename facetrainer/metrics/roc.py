"""Scores of pairs → rates: one sort, whatever is asked of it afterwards.

One rule holds wherever a score meets a threshold: it is accepted where score ≥ threshold. Ties count against the model: of two
equal scores the right one is not first, and a threshold that has to refuse one refuses both.
"""

import functools

import numpy as np
from numpy.typing import ArrayLike


class Roc:
    """The curve of scores: "same" is said where score ≥ threshold.

    Args:
        scores: `(n,)`.
        same: Whether each pair is of one person `(n,)`.

    Raises:
        ValueError: A score is not finite, or there is not one for each pair.
    """

    def __init__(self, scores: np.ndarray, same: np.ndarray):
        scores, same = np.asarray(scores), np.asarray(same, bool)
        if scores.shape != same.shape or scores.ndim != 1:
            raise ValueError(f"expected one score a pair. Received: {scores.shape} scores, {same.shape} labels")
        if not np.isfinite(scores).all():
            raise ValueError(
                f"{np.sum(~np.isfinite(scores))} of {len(scores)} scores are not finite: look at the embeddings."
            )
        self.positives, self.negatives = np.sort(scores[same]), np.sort(scores[~same])

    @classmethod
    def of_sorted(cls, positives: np.ndarray, negatives: np.ndarray) -> "Roc":
        """From scores of both kinds that are in order already, the lowest first."""
        curve = cls.__new__(cls)
        curve.positives, curve.negatives = positives, negatives
        return curve

    def __len__(self):
        return len(self.positives) + len(self.negatives)

    @property
    def both(self) -> bool:
        """Whether there are pairs of both kinds: without, no rate means anything."""
        return len(self.positives) > 0 and len(self.negatives) > 0

    @functools.cached_property
    def auc(self) -> float:
        """Area under the curve: how often a same-pair scores above another, ties count half (Mann-Whitney)."""
        if not self.both:
            return float("nan")
        below = np.searchsorted(self.negatives, self.positives, "left").astype(np.float64)
        below += np.searchsorted(self.negatives, self.positives, "right")
        return float(below.mean() / 2 / len(self.negatives))

    def tar(self, far: float) -> float:
        """Largest part of the same-pairs accepted while at most `far` of the others are; nan without both kinds."""
        if not self.both:
            return float("nan")
        allowed = int(np.floor(far * len(self.negatives) + 1e-9))
        if allowed >= len(self.negatives):
            return 1.0
        return float(
            len(self.positives) - np.searchsorted(self.positives, self.negatives[-1 - allowed], "right")
        ) / len(self.positives)

    def tar_between(self, far: ArrayLike) -> np.ndarray:
        """True-accept rates at false-accept rates between the curve's corners, on straight lines: for samples too small for a rate."""
        fars, tars, _ = self.points()
        return np.interp(far, fars, tars)

    def threshold(self, far: float) -> float:
        """Smallest score that accepts at most `far` of the others: the next one above the first that must be refused."""
        allowed = int(np.floor(far * len(self.negatives) + 1e-9))
        if allowed >= len(self.negatives):
            return float(self.negatives[0])
        return float(np.nextafter(self.negatives[-1 - allowed], np.inf, dtype=self.negatives.dtype))

    def rates(self, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Thresholds → false-accept and true-accept rates."""
        kinds = (self.negatives, self.positives)
        return tuple((len(kind) - np.searchsorted(kind, thresholds, "left")) / max(len(kind), 1) for kind in kinds)

    def points(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """False-accept rate, true-accept rate, threshold at the corners of the curve, from (0, 0) to (1, 1)."""
        steps = np.unique(self.positives)
        above = np.searchsorted(self.negatives, steps, "right")  # the lowest score above each same-pair's
        nexts = self.negatives[np.minimum(above, len(self.negatives) - 1)]
        thresholds = np.unique(np.concatenate([steps, nexts[above < len(self.negatives)], self.negatives[:1]]))[::-1]
        far, tar = self.rates(thresholds)
        return np.concatenate([[0], far]), np.concatenate([[0], tar]), np.concatenate([[np.inf], thresholds])

    @functools.cached_property
    def eer(self) -> float:
        """Equal-error rate: where false accepts are as many as false rejects, between the two corners nearest to that."""
        far, tar, _ = self.points()
        gap = far - (1 - tar)
        k = int(np.argmax(gap >= 0))
        if k == 0 or gap[k] == gap[k - 1]:
            return float(far[k])
        share = -gap[k - 1] / (gap[k] - gap[k - 1])
        return float(far[k - 1] + share * (far[k] - far[k - 1]))

    def tar_nearest(self, far: float) -> float:
        """True-accept rate at the point whose false-accept rate is nearest to `far`, as InsightFace's IJB script reads it off.

        The points are those of scikit-learn's `roc_curve`, which leaves out points on a straight line; of equally near ones the highest.

        Returns:
            A rate from 0 to 1.
        """
        target, window = far * len(self.negatives), 1024
        while True:
            fps, tps, whole = self._kept(target, window)
            if len(fps):
                away = np.abs(fps / len(self.negatives) - far)
                edge = min(abs(target - fps[0]), abs(fps[-1] - target)) / len(self.negatives)
                if whole or away.min() < edge:
                    return float(tps[np.flatnonzero(away == away.min()).max()] / len(self.positives))
            window *= 4

    def _kept(self, target, window):
        """False and true accepts at the points kept among the `window` negatives on either side; whether those are all."""
        n = len(self.negatives)
        high, low = n - 1 - max(int(target) - window, 0), n - 1 - min(int(target) + window, n - 1)
        whole = low == 0 and high == n - 1
        first, last = (-np.inf, np.inf) if whole else (self.negatives[low], self.negatives[high])
        inside = [
            kind[np.searchsorted(kind, first, "left") : np.searchsorted(kind, last, "right")]
            for kind in (self.positives, self.negatives)
        ]
        thresholds = np.unique(np.concatenate(inside))[::-1]
        fps = n - np.searchsorted(self.negatives, thresholds, "left")
        tps = len(self.positives) - np.searchsorted(self.positives, thresholds, "left")
        if len(fps) < 3:
            return (
                (np.concatenate([[0], fps]), np.concatenate([[0], tps]), True) if whole else (fps[:0], tps[:0], False)
            )
        kept = np.flatnonzero((np.diff(fps, 2) != 0) | (np.diff(tps, 2) != 0)) + 1
        if whole:
            kept = np.concatenate([[0], kept, [len(fps) - 1]])
            return np.concatenate([[0], fps[kept]]), np.concatenate([[0], tps[kept]]), True
        return fps[kept], tps[kept], False
