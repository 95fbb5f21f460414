"""Pairs → accuracies, by the protocols that papers name."""

import dataclasses

import numpy as np
from sklearn.decomposition import PCA

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


def unit(embeddings: np.ndarray) -> np.ndarray:
    """Brings rows to length 1.

    Args:
        embeddings: `(n, D)`.

    Returns:
        Rows of length 1; rows of zeros stay zeros.
    """
    return embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-12)


def sum_by_person(embeddings: np.ndarray, people: np.ndarray, count: int) -> np.ndarray:
    """Sum of each person's embeddings.

    Args:
        embeddings: `(n, D)`.
        people: Person of each, integers `(n,)` from 0 on.
        count: How many people.

    Returns:
        `(count, D)`; zeros for who has none.
    """
    sums = np.zeros((count, embeddings.shape[1]), embeddings.dtype)
    np.add.at(sums, people, embeddings)
    return sums


def pair_scores(embeddings: np.ndarray) -> np.ndarray:
    """Cosines of pairs.

    Args:
        embeddings: `(2n, D)`, pairs in turn.

    Returns:
        Cosine of each pair `(n,)`.
    """
    embeddings = unit(embeddings)
    return np.sum(embeddings[::2] * embeddings[1::2], axis=1)


def best_threshold(scores: np.ndarray, same: np.ndarray) -> tuple[float, float]:
    """The best of all thresholds on these very pairs.

    Every cut between two different scores is tried; among equally good ones the middle one is taken.

    Args:
        scores: `(n,)`.
        same: Whether each pair is of one person `(n,)`.

    Returns:
        Accuracy and threshold; "same" is said where score ≥ threshold.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], same[order]
    right = np.concatenate([[0], np.cumsum(np.where(hits, 1, -1))]) + np.sum(~same)
    cuts = np.concatenate([[True], ranked[1:] < ranked[:-1], [True]])
    places = np.flatnonzero(cuts & (right == right[cuts].max()))
    place = places[len(places) // 2]
    middles = (ranked[1:] + ranked[:-1]) / 2
    middles = np.where(
        middles > ranked[1:], middles, ranked[:-1]
    )  # neighbours among floating-point numbers have no middle
    edges = np.concatenate([[ranked[0] + 1e-3], middles, [ranked[-1] - 1e-3]])
    return right[place] / len(same), float(edges[place])


@dataclasses.dataclass(frozen=True)
class Fold:
    """One fold: threshold of the others, accuracy, and pairs of each kind said wrongly."""

    threshold: float
    accuracy: float
    false_accepts: int
    false_rejects: int


def folds_of(count: int, folds: int = 10) -> list[np.ndarray]:
    """Consecutive parts of a list of pairs, the first ones larger where it does not divide."""
    return np.array_split(np.arange(count), min(folds, count))


def fold_table(scores: np.ndarray, same: np.ndarray, folds: int = 10) -> list[Fold]:
    """Each fold at the best threshold of the others.

    Args:
        scores: `(n,)`.
        same: Whether each pair is of one person `(n,)`.
        folds: Consecutive ones. Defaults to `10`.

    Returns:
        A row a fold; with fewer than two folds, at its own threshold.
    """
    table = []
    for fold in folds_of(len(same), folds):
        rest = np.setdiff1d(np.arange(len(same)), fold) if len(fold) < len(same) else fold
        threshold = best_threshold(scores[rest], same[rest])[1]
        said = scores[fold] >= threshold
        table.append(
            Fold(
                threshold,
                float(np.mean(said == same[fold])),
                int(np.sum(said & ~same[fold])),
                int(np.sum(~said & same[fold])),
            )
        )
    return table


def fold_accuracies(scores: np.ndarray, same: np.ndarray, folds: int = 10) -> np.ndarray:
    """Accuracy of each fold at the best threshold of the others.

    Args:
        scores: `(n,)`.
        same: Whether each pair is of one person `(n,)`.
        folds: Consecutive ones. Defaults to `10`.

    Returns:
        `(folds,)`.
    """
    return np.array([fold.accuracy for fold in fold_table(scores, same, folds)])


def fold_correct(scores: np.ndarray, same: np.ndarray, folds: int = 10) -> np.ndarray:
    """Whether each pair is said rightly at the threshold of the other folds: what two models are compared by.

    Args:
        scores: `(n,)`.
        same: Whether each pair is of one person `(n,)`.
        folds: Consecutive ones. Defaults to `10`.

    Returns:
        bool `(n,)`.
    """
    thresholds = np.concatenate(
        [
            np.full(len(part), fold.threshold)
            for part, fold in zip(folds_of(len(same), folds), fold_table(scores, same, folds), strict=True)
        ]
    )
    return (scores >= thresholds) == same


def mcnemar(first: np.ndarray, second: np.ndarray) -> tuple[int, int, float]:
    """McNemar's exact test, two-sided.

    Under no difference each of those pairs falls either way with probability ½.

    Args:
        first: Which pairs one model says rightly, bool `(n,)`.
        second: Which the other does.

    Returns:
        Pairs that only the first has right, that only the second has, and p of no difference.

    Reference:
        McNemar, 1947.
    """
    from scipy.stats import binomtest

    only_first, only_second = int(np.sum(first & ~second)), int(np.sum(second & ~first))
    if only_first + only_second == 0:
        return 0, 0, 1.0
    return only_first, only_second, float(binomtest(only_first, only_first + only_second).pvalue)


# ------------------------------------------------------------------------------------------- facenet's and InsightFace's


def evaluate(embeddings: np.ndarray, actual_issame: np.ndarray, nrof_folds: int = 10, pca: int = 0) -> tuple:
    """facenet's `evaluate`, as InsightFace's verification.py has it.

    Squared distances, thresholds 0 … 4 in steps of 0.01, for VAL@FAR=1e-3 in steps of 0.001; "same" where distance < threshold.

    Args:
        embeddings: `(2n, D)` of length 1, pairs in turn.
        actual_issame: Whether each pair is of one person `(n,)`.
        nrof_folds: Consecutive folds. Defaults to `10`.
        pca: See `calculate_roc`. Defaults to `0`.

    Returns:
        tpr, fpr, accuracies, val, val_std, far.

    Reference:
        Schroff et al., 2015, section 4.
    """
    first, second = embeddings[::2], embeddings[1::2]
    tpr, fpr, accuracy = calculate_roc(np.arange(0, 4, 0.01), first, second, actual_issame, nrof_folds, pca)
    val, val_std, far = calculate_val(np.arange(0, 4, 0.001), first, second, actual_issame, 1e-3, nrof_folds)
    return tpr, fpr, accuracy, val, val_std, far


def calculate_roc(
    thresholds: np.ndarray,
    embeddings1: np.ndarray,
    embeddings2: np.ndarray,
    actual_issame: np.ndarray,
    nrof_folds: int = 10,
    pca: int = 0,
) -> tuple:
    """facenet's curve and 10-fold accuracy.

    Args:
        thresholds: Squared distances to try `(t,)`.
        embeddings1: `(n, D)`, of length 1.
        embeddings2: `(n, D)`.
        actual_issame: Whether each pair is of one person `(n,)`.
        nrof_folds: Consecutive folds. Defaults to `10`.
        pca: Above 0, so many principal components of the other folds' embeddings, and length 1 again. Defaults to `0`.

    Returns:
        True- and false-positive rates `(t,)`, means over folds, and accuracies `(folds,)` at the first best threshold of the other folds.
    """
    same = np.asarray(actual_issame, bool)[: len(embeddings1)]
    counts = _GridCounts(thresholds, _distances(embeddings1, embeddings2), same, nrof_folds)
    reduced = [
        _GridCounts(thresholds, _reduced(embeddings1, embeddings2, fold, pca), same, nrof_folds)
        for fold in (counts.folds if pca else ())
    ]
    tpr, fpr, accuracies = [], [], []
    for number in range(min(nrof_folds, len(same))):
        one = reduced[number] if pca else counts
        right, (true, false) = one.right(number)
        accuracies.append(right[int(np.argmax(one.right_elsewhere(number)))])
        tpr.append(true)
        fpr.append(false)
    return np.mean(tpr, axis=0), np.mean(fpr, axis=0), np.array(accuracies)


def calculate_val(
    thresholds: np.ndarray,
    embeddings1: np.ndarray,
    embeddings2: np.ndarray,
    actual_issame: np.ndarray,
    far_target: float = 1e-3,
    nrof_folds: int = 10,
) -> tuple[float, float, float]:
    """facenet's VAL at the threshold where the other folds have a stated FAR.

    Between two thresholds of the grid the line is followed; where the target is never reached the threshold is 0.

    Args:
        thresholds: Squared distances to try `(t,)`.
        embeddings1: `(n, D)`, of length 1.
        embeddings2: `(n, D)`.
        actual_issame: Whether each pair is of one person `(n,)`.
        far_target: FAR that the threshold is set for. Defaults to `0.001`.
        nrof_folds: Consecutive folds. Defaults to `10`.

    Returns:
        VAL, its standard deviation over folds, and FAR.
    """
    same = np.asarray(actual_issame, bool)[: len(embeddings1)]
    distance = _distances(embeddings1, embeddings2)
    counts, val, far = _GridCounts(thresholds, distance, same, nrof_folds), [], []
    for number, fold in enumerate(counts.folds):
        threshold = _at(thresholds, counts.far_elsewhere(number), far_target)
        one = calculate_val_far(threshold, distance[fold], same[fold])
        val.append(one[0])
        far.append(one[1])
    return float(np.mean(val)), float(np.std(val)), float(np.mean(far))


def calculate_accuracy(threshold: float, dist: np.ndarray, actual_issame: np.ndarray) -> tuple[float, float, float]:
    """facenet's rates at a threshold.

    Args:
        threshold: "same" is said where distance < threshold.
        dist: Squared distances `(n,)`.
        actual_issame: Whether each pair is of one person `(n,)`.

    Returns:
        True-positive rate, false-positive rate, accuracy.
    """
    said, same = np.less(dist, threshold), np.asarray(actual_issame, bool)
    return (
        _share(np.sum(said & same), np.sum(same)),
        _share(np.sum(said & ~same), np.sum(~same)),
        float(np.mean(said == same)),
    )


def calculate_val_far(threshold: float, dist: np.ndarray, actual_issame: np.ndarray) -> tuple[float, float]:
    """facenet's VAL and FAR at a threshold.

    Args:
        threshold: "same" is said where distance < threshold.
        dist: Squared distances `(n,)`.
        actual_issame: Whether each pair is of one person `(n,)`.

    Returns:
        Part of the same-pairs, and of the others, below the threshold.
    """
    return calculate_accuracy(threshold, dist, actual_issame)[:2]


def _share(part, whole):
    return float(part) / float(whole) if whole else 0.0


def _distances(first, second):
    return np.sum(np.square(np.subtract(first, second)), axis=1)


def _reduced(first, second, fold, components):
    rest = np.setdiff1d(np.arange(len(first)), fold)
    model = PCA(n_components=components).fit(np.concatenate([first[rest], second[rest]]))
    return _distances(unit(model.transform(first)), unit(model.transform(second)))


def _at(thresholds, far, target):
    """Threshold at which `far`, which never falls, reaches `target`; 0 where it never does."""
    if far.max() < target:
        return 0.0
    k = max(int(np.searchsorted(far, target, "left")), 1)
    if far[k] == far[k - 1]:
        return float(thresholds[k - 1])
    return float(
        thresholds[k - 1] + (target - far[k - 1]) * (thresholds[k] - thresholds[k - 1]) / (far[k] - far[k - 1])
    )


class _GridCounts:
    """How many pairs of each kind and fold lie below each threshold of a grid: one histogram, all the rest are sums."""

    def __init__(self, thresholds, distance, same, folds):
        self.folds = folds_of(len(same), folds)
        places = np.searchsorted(thresholds, distance, "right")  # a pair lies below the thresholds from there on
        fold = np.repeat(np.arange(len(self.folds)), [len(part) for part in self.folds])
        shape = (len(self.folds), 2, len(thresholds) + 1)
        counts = np.bincount(
            np.ravel_multi_index((fold, same.astype(int), places), shape), minlength=int(np.prod(shape))
        ).reshape(shape)
        self.below, self.kinds = np.cumsum(counts, axis=2)[..., :-1], counts.sum(axis=2)

    def right(self, fold):
        """Accuracy of a fold at every threshold, and its tpr and fpr."""
        (others, mine), (n_others, n_mine) = self.below[fold], self.kinds[fold]
        return (mine + n_others - others) / (n_mine + n_others), (mine / max(n_mine, 1), others / max(n_others, 1))

    def right_elsewhere(self, fold):
        """Pairs of the other folds said rightly at every threshold."""
        others, mine = self.below.sum(axis=0) - self.below[fold] if len(self.folds) > 1 else self.below[fold]
        return mine - others

    def far_elsewhere(self, fold):
        below, kinds = (self.below.sum(axis=0) - self.below[fold], self.kinds.sum(axis=0) - self.kinds[fold])
        return below[0] / max(kinds[0], 1)
