"""Scores of pairs → one result, with the protocols it was found by.

Two protocols are named wherever a number stands: "max" takes the best threshold on the very pairs it is measured on (what
Keras_insightface prints), "10-fold" takes each fold's threshold from the other nine (what papers report).
"""

import dataclasses
import logging

import keras
import numpy as np
from sklearn.decomposition import PCA

from facetrainer.evaluation.embedder import Embedder
from facetrainer.evaluation.pairs import read_pairs
from facetrainer.metrics.intervals import drawn_intervals, least_area, rate_interval
from facetrainer.metrics.roc import Roc
from facetrainer.metrics.verification import FARS, best_threshold, fold_accuracies, fold_correct, pair_scores, unit

log = logging.getLogger("facetrainer")


@dataclasses.dataclass(frozen=True)
class Verification:
    """Result of one set of pairs, with the protocols it was found by.

    Attributes:
        name: Of the set.
        pairs: How many.
        max_accuracy: At the best threshold on these very pairs.
        threshold: That threshold.
        accuracy: 10-fold.
        std: Deviation over the folds.
        auc: Area under the curve.
        eer: Equal-error rate.
        tar: `{FAR: TAR}` of the rates that the pairs resolve.
        flip: What became of the mirrored image.
        sha256: Of the set's file.
    """

    name: str
    pairs: int
    max_accuracy: float
    threshold: float
    accuracy: float
    std: float
    auc: float
    eer: float
    tar: dict
    flip: bool | str = True
    sha256: str = ""

    def __str__(self):
        tar = ", ".join(f"TAR@FAR={far:g} {value:.4f}" for far, value in self.tar.items())
        return (
            f"{self.name}: 10-fold accuracy {self.accuracy:.4f} ± {self.std:.4f}, max accuracy {self.max_accuracy:.4f} "
            f"(thresh {self.threshold:.4f}), AUC {self.auc:.4f}, EER {self.eer:.4f}, {tar} ({self.pairs} pairs)"
        )

    def protocol(self) -> dict:
        """What the numbers rest on, for a report."""
        return {
            "set": self.name, "sha256": self.sha256, "pairs": self.pairs, "input": "RGB, (x - 127.5) / 128", "score": "cosine",
            "mirrored": {"": "no", False: "no", "concat": "embedding set behind"}.get(self.flip, "embedding added"),
            "10-fold": "each fold at the best threshold of the other nine, consecutive folds; ± standard deviation over folds",
            "max": "the best threshold on the pairs themselves",
        }  # fmt: skip


def verify(
    scores: np.ndarray, same: np.ndarray, name: str = "", flip: bool | str = True, sha256: str = ""
) -> Verification:
    """Accuracy and rates of scores.

    Args:
        scores: `(n,)`.
        same: Whether each pair is of one person `(n,)`.
        name: Of the set. Defaults to `""`.
        flip: What became of the mirrored image. Defaults to `True`.
        sha256: Of the set's file. Defaults to `""`.

    Returns:
        Max and 10-fold accuracy, AUC, EER, TAR@FAR. A rate that the negative pairs cannot resolve (FAR below 1 / negatives) is left out;
            where a score is not finite every number is nan.
    """
    scores, same = np.asarray(scores, np.float64), np.asarray(same, bool)
    if not np.isfinite(scores).all():
        log.warning(
            "%s: %d of %d scores are not finite: the model gives nan", name, np.sum(~np.isfinite(scores)), len(scores)
        )
        nan = float("nan")
        return Verification(name, len(same), nan, nan, nan, nan, nan, nan, {}, flip, sha256)
    curve = Roc(scores, same)
    top, threshold = best_threshold(scores, same)
    folds = fold_accuracies(scores, same)
    tar = {far: curve.tar(far) for far in FARS if curve.both and far * len(curve.negatives) >= 1}
    eer = curve.eer if curve.both else float("nan")
    return Verification(name, len(same), top, threshold, folds.mean(), folds.std(), curve.auc, eer, tar, flip, sha256)


def intervals(
    scores: np.ndarray, same: np.ndarray, people: np.ndarray, draws: int = 1000
) -> dict[str, tuple[float, float]]:
    """95 % intervals of what `verify` gives.

    Args:
        scores: `(n,)`.
        same: Whether each pair is of one person, bool `(n,)`.
        people: Persons of both images of each pair, integers `(2, n)`, see `Pairs.people`.
        draws: Of the bootstrap. Defaults to `1000`.

    Returns:
        Ends by name: "10-fold accuracy", at the folds' thresholds as they are, AUC, EER, and TAR@FAR of each rate that the pairs resolve.
        The best accuracy on the pairs themselves ("max") is no estimate of anything and has none, nor has ZeroFMR, which falls with
        their number.
    """
    scores, same = np.asarray(scores, np.float64), np.asarray(same, bool)
    low, high = rate_interval(~fold_correct(scores, same), *people)
    found = {"10-fold accuracy": (1 - high, 1 - low)}
    return found | (curve_intervals(scores, same, people, draws) if same.any() and not same.all() else {})


def curve_intervals(
    scores: np.ndarray, same: np.ndarray, people: np.ndarray, draws: int = 1000
) -> dict[str, tuple[float, float]]:
    """95 % intervals of AUC, EER and TAR@FAR of each rate that the pairs resolve, by name; arguments as of `intervals`."""
    fars, one = [far for far in FARS if far * np.sum(~same) >= 1], 0.5 / np.sum(same)
    least = [least_area(same, people), *[one] * (1 + len(fars))]
    lows, highs = drawn_intervals(
        scores, same, people, lambda curve: np.array([curve.auc, curve.eer, *curve.tar_between(fars)]), least, draws
    )
    names = ["AUC", "EER", *(f"TAR@FAR={far:g}" for far in fars)]
    return {name: (float(a), float(b)) for name, a, b in zip(names, lows, highs, strict=True)}


def scores_of(embeddings: np.ndarray, pca: int = 0, centre: bool = False) -> np.ndarray:
    """Cosines of pairs.

    Components and mean are learnt on these very embeddings: name it where you print the number. `evaluate(pca=)` learns on the other folds.

    Args:
        embeddings: `(2n, D)`, pairs in turn.
        pca: Above 0, so many principal components of them. Defaults to `0`.
        centre: Subtract their mean. Defaults to `False`.

    Returns:
        Cosines `(n,)`.
    """
    embeddings = unit(embeddings)
    embeddings = (
        PCA(pca).fit_transform(embeddings) if pca else embeddings - embeddings.mean(axis=0) if centre else embeddings
    )
    return pair_scores(embeddings)


def evaluate_model(
    model: keras.Model, paths: list[str], batch_size: int = 128, flip: bool = True
) -> list[Verification]:
    """Measures a model on evaluation sets.

    Args:
        model: Basic model.
        paths: Evaluation sets.
        batch_size: Images at a time. Defaults to `128`.
        flip: Add the mirrored image's embedding. Defaults to `True`.

    Returns:
        Results, in order.
    """
    embed = Embedder(model, batch_size)
    sets = [read_pairs(path) for path in paths]
    return [verify(pair_scores(embed(embed.decode(s.images), flip)), s.same, s.name, flip, s.sha256) for s in sets]
