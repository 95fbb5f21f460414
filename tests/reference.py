"""The truth, slowly: every loss in float64 numpy, written from its paper, one sample at a time."""

import numpy as np


def softmax_cross_entropy(labels, logits, smoothing=0.0):
    values = []
    for y, z in zip(labels, logits.astype(np.float64), strict=True):
        target = np.full(len(z), smoothing / len(z))
        target[y] += 1 - smoothing
        p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        values.append(-(target * np.log(p)).sum())
    return np.array(values)


def _margin(labels, cosine, scale, smoothing, pull):
    z = np.clip(cosine.astype(np.float64), -1 + 1e-7, 1 - 1e-7)
    for i, y in enumerate(labels):
        z[i, y] = pull(z[i, y])
    return softmax_cross_entropy(labels, scale * z, smoothing)


def ArcfaceLoss(labels, cosine, margin1=1.0, margin2=0.5, margin3=0.0, scale=64.0, label_smoothing=0):
    def pull(c):
        angle = margin1 * np.arccos(c) + margin2
        return (np.cos(angle) if angle <= np.pi else -2 - np.cos(angle)) - margin3

    return _margin(labels, cosine, scale, label_smoothing, pull)


def ArcfaceLossSimple(labels, cosine, margin=0.5, scale=64.0, label_smoothing=0):
    def pull(c):
        theta = np.arccos(c)
        return np.cos(theta + margin) if theta + margin < np.pi else c - margin * np.sin(margin)

    return _margin(labels, cosine, scale, label_smoothing, pull)


def CosFaceLoss(labels, cosine, margin=0.35, scale=64.0, label_smoothing=0):
    return _margin(labels, cosine, scale, label_smoothing, lambda c: c - margin)


def SoftmaxLoss(labels, logits, label_smoothing=0.0):
    return softmax_cross_entropy(labels, logits, label_smoothing)


def CenterLoss(labels, embedding, centers):
    return np.array(
        [0.5 * ((x - centers[y]) ** 2).sum() for x, y in zip(embedding.astype(np.float64), labels, strict=True)]
    )


def moved_centers(labels, embedding, centers, alpha):
    new = centers.astype(np.float64).copy()
    for c in set(labels):
        mine = embedding[labels == c].astype(np.float64)
        new[c] -= alpha * (centers[c] - mine).sum(0) / (1 + len(mine))
    return new


def _cosines(embedding):
    x = embedding.astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return x @ x.T


def BatchHardTripletLoss(labels, embedding, alpha=0.35):
    values, c = [], _cosines(embedding)
    for a, y in enumerate(labels):
        same = [c[a, j] for j in range(len(labels)) if labels[j] == y and j != a]
        other = [c[a, j] for j in range(len(labels)) if labels[j] != y]
        values.append(max(0.0, max(other) - min(same) + alpha) if same and other else 0.0)
    return np.array(values)


def BatchAllTripletLoss(labels, embedding, alpha=0.35):
    values, c = [], _cosines(embedding)
    n = range(len(labels))
    for a in n:
        found = [
            c[a, k] - c[a, p] + alpha
            for p in n for k in n if p != a and labels[p] == labels[a] and labels[k] != labels[a]
        ]  # fmt: skip
        active = [v for v in found if v > 0]
        values.append(sum(active) / max(len(active), 1))
    return np.array(values)


def DistillCosineLoss(labels, embedding, teacher):
    unit = [
        x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) for x in (embedding, teacher)
    ]
    return 1 - (unit[0] * unit[1]).sum(1)


def ten_fold(scores, same, folds=10):
    """Thresholds of each fold tried one by one, between neighbouring scores of the other folds."""
    accuracies = []
    for fold in np.array_split(np.arange(len(same)), folds):
        rest = np.setdiff1d(np.arange(len(same)), fold)
        ranked = np.unique(scores[rest])
        cuts = np.concatenate([[ranked[0] - 1e-3], (ranked[1:] + ranked[:-1]) / 2, [ranked[-1] + 1e-3]])[::-1]
        right = np.array([np.mean((scores[rest] > t) == same[rest]) for t in cuts])
        best = np.flatnonzero(right == right.max())
        accuracies.append(np.mean((scores[fold] > cuts[best[len(best) // 2]]) == same[fold]))
    return np.array(accuracies)
