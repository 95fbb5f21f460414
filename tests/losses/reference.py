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


def _margin(labels, cosine, scale, smoothing, pull, push=lambda c, pulled: c):
    """`pull(c, i)` and `push(c, pulled)` in float64; `scale` a number or one a sample."""
    cut = np.clip(cosine.astype(np.float64), -1 + 1e-7, 1 - 1e-7)
    z = cut.copy()
    for i, y in enumerate(labels):
        pulled = pull(cut[i, y], i)
        z[i] = [pulled if j == y else push(c, pulled) for j, c in enumerate(cut[i])]
    return softmax_cross_entropy(labels, np.reshape(scale, (-1, 1)) * z, smoothing)


def _arc(c, m):
    theta = np.arccos(c)
    return np.cos(theta + m) if theta + m < np.pi else c - m * np.sin(m)


def _psi(c, m):
    theta = np.arccos(c)
    k = np.floor(m * theta / np.pi)
    return (-1) ** k * np.cos(m * theta) - 2 * k


def NormFaceLoss(labels, cosine, scale=64.0, label_smoothing=0, held=None):
    return _margin(labels, cosine, scale, label_smoothing, lambda c, i: c)


def ArcfaceLoss(labels, cosine, margin1=1.0, margin2=0.5, margin3=0.0, scale=64.0, label_smoothing=0, held=None):
    def pull(c, i):
        angle = margin1 * np.arccos(c) + margin2
        return (np.cos(angle) if angle <= np.pi else -2 - np.cos(angle)) - margin3

    return _margin(labels, cosine, scale, label_smoothing, pull)


def ArcfaceLossSimple(labels, cosine, margin=0.5, scale=64.0, label_smoothing=0, easy_margin=False, held=None):
    return _margin(
        labels, cosine, scale, label_smoothing, lambda c, i: c if easy_margin and c <= 0 else _arc(c, margin)
    )


def CosFaceLoss(labels, cosine, margin=0.35, scale=64.0, label_smoothing=0, held=None):
    return _margin(labels, cosine, scale, label_smoothing, lambda c, i: c - margin)


def AirFaceLoss(labels, cosine, margin=0.4, scale=64.0, label_smoothing=0, linear_negatives=False, held=None):
    def line(c, m):
        return (np.pi - 2 * (np.arccos(c) + m)) / np.pi

    push = (lambda c, pulled: line(c, 0)) if linear_negatives else (lambda c, pulled: c)
    return _margin(labels, cosine, scale, label_smoothing, lambda c, i: line(c, margin), push)


def SphereFaceLoss(
    labels, cosine, norm, margin=4, lambda_base=1000.0, lambda_min=5.0, gamma=0.12, power=1.0, step=0, held=None
):
    lam = max(lambda_min, lambda_base * (1 + gamma * step) ** -power)
    return _margin(labels, cosine, norm.astype(np.float64), 0, lambda c, i: (lam * c + _psi(c, margin)) / (1 + lam))


def SphereFaceRLoss(labels, cosine, margin=1.5, scale=30.0, label_smoothing=0, held=None):
    """The target's slope is cos θ's: cos(mθ) − cos θ stays as it is at `held`."""
    at = cosine if held is None else held[0]
    gap = [
        np.cos(min(margin * np.arccos(row[y]), np.pi)) - row[y]
        for row, y in zip(at.astype(np.float64), labels, strict=True)
    ]
    return _margin(labels, cosine, scale, label_smoothing, lambda c, i: c + gap[i])


def CurricularFaceLoss(labels, cosine, margin=0.5, scale=64.0, label_smoothing=0, hard_scale=0, held=None):
    return _margin(
        labels, cosine, scale, label_smoothing, lambda c, i: _arc(c, margin),
        lambda c, pulled: c * (hard_scale + c) if c > pulled else c,
    )  # fmt: skip


def AdaCosLoss(labels, cosine, scale=0, max_median=np.pi / 4, label_smoothing=0, held=None):
    scale = scale or np.sqrt(2) * np.log(cosine.shape[1] - 1)
    return _margin(labels, cosine, scale, label_smoothing, lambda c, i: c)


def adacos_scale(labels, cosine, before, max_median=np.pi / 4):
    """The scale after a step."""
    rows = [[np.exp(before * c) for j, c in enumerate(row) if j != y] for row, y in zip(cosine.astype(float), labels)]
    angles = np.sort([np.arccos(row[y]) for row, y in zip(cosine.astype(float), labels)])
    middle = np.arccos((np.cos(angles[len(angles) // 2]) + np.cos(angles[(len(angles) - 1) // 2])) / 2)
    return np.log(np.mean([sum(row) for row in rows])) / np.cos(min(max_median, middle))


def MagFaceLoss(
    labels, cosine, norm, min_feature_norm=10.0, max_feature_norm=110.0, min_margin=0.45, max_margin=0.8, scale=64.0,
    regularizer_loss_lambda=35.0, use_cosface_margin=False, label_smoothing=0, held=None,
):  # fmt: skip
    a = np.clip(norm.astype(np.float64), min_feature_norm, max_feature_norm)
    m = (max_margin - min_margin) / (max_feature_norm - min_feature_norm) * (a - min_feature_norm) + min_margin

    def pull(c, i):
        return c - m[i] if use_cosface_margin else _arc(c, m[i])

    g = 1 / a + a / max_feature_norm**2
    return _margin(labels, cosine, scale, label_smoothing, pull) + regularizer_loss_lambda * g


def AdaFaceLoss(
    labels, cosine, norm, margin=0.4, margin_alpha=0.333, mean_std_alpha=0.01, scale=64.0, label_smoothing=0, mean=20.0,
    std=100.0, held=None,
):  # fmt: skip
    """The quality has no slope: it stays as at `held`."""
    a = np.clip((norm if held is None else held[1]).astype(np.float64), 1e-3, 100)
    q = np.clip((a - mean) / (std + 1e-3) * margin_alpha, -1, 1)

    def pull(c, i):
        return np.cos(np.clip(np.arccos(c) - margin * q[i], 1e-3, np.pi - 1e-3)) - (margin + margin * q[i])

    return _margin(labels, cosine, scale, label_smoothing, pull)


def ElasticFaceLoss(
    labels, cosine, margin=0.5, std=0.05, scale=64.0, use_cosface_margin=False, label_smoothing=0, seed=0, held=None
):
    return (CosFaceLoss if use_cosface_margin else ArcfaceLossSimple)(labels, cosine, margin, scale, label_smoothing)


def SoftmaxLoss(labels, logits, label_smoothing=0.0, held=None):
    return softmax_cross_entropy(labels, logits, label_smoothing)


def MarginSoftmax(labels, logits, power=2, scale=0.4, scale_all=1.0, from_logits=False, label_smoothing=0, held=None):
    z = logits.astype(np.float64)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    for row, y in zip(p, labels, strict=True):
        row[y] = (row[y] ** power + scale * row[y]) / 2
    return softmax_cross_entropy(labels, p * scale_all if from_logits else np.log(p), label_smoothing)


def CenterLoss(labels, embedding, centers, held=None):
    return np.array(
        [0.5 * ((x - centers[y]) ** 2).sum() for x, y in zip(embedding.astype(np.float64), labels, strict=True)]
    )


def CenterLossCosine(labels, embedding, centers, held=None):
    return np.array([1 - _cosine(x, centers[y]) for x, y in zip(embedding, labels, strict=True)])


def PrelogitsNormLoss(labels, embedding, p=1.0, held=None):
    return np.array([((np.abs(x) + 1e-4) ** p).sum() ** (1 / p) for x in embedding.astype(np.float64)])


def moved_centers(labels, embedding, centers, alpha):
    new = centers.astype(np.float64).copy()
    for c in set(labels):
        mine = embedding[labels == c].astype(np.float64)
        new[c] -= alpha * (centers[c] - mine).sum(0) / (1 + len(mine))
    return new


def _cosine(x, y):
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    return (x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum())


def _close(embedding, distance="cosine"):
    x = embedding.astype(np.float64)
    if distance == "cosine":
        return np.array([[_cosine(a, b) for b in x] for a in x])
    return np.array([[-((a - b) ** 2).sum() for b in x] for a in x])


def _pairs(labels, a):
    n = range(len(labels))
    return [j for j in n if labels[j] == labels[a] and j != a], [j for j in n if labels[j] != labels[a]]


def _anchors(labels, close, value):
    """`value(anchor's similarities, positives, negatives)` for each anchor that has both, else 0."""
    found = [(close[a], *_pairs(labels, a)) for a in range(len(labels))]
    return np.array([value(*each) if each[1] and each[2] else 0.0 for each in found])


def BatchHardTripletLoss(labels, embedding, alpha=0.35, distance="cosine", held=None):
    return _anchors(
        labels, _close(embedding, distance), lambda s, p, n: max(0.0, max(s[n]) - min(s[p]) + alpha)
    )  # fmt: skip


def BatchHardTripletLossEuclidean(labels, embedding, alpha=0.35, held=None):
    return BatchHardTripletLoss(labels, embedding, alpha, "euclidean")


def BatchHardTripletLossEuclideanAutoAlpha(labels, embedding, alpha=0.1, init_auto_alpha=1.0, held=None):
    return BatchHardTripletLoss(labels, embedding, init_auto_alpha, "euclidean")


def ArcBatchHardTripletLoss(labels, embedding, alpha=0.35, held=None):
    return _anchors(labels, _close(embedding), lambda s, p, n: max(0.0, max(s[n]) - _arc(min(s[p]), alpha)))


def BatchAllTripletLoss(labels, embedding, alpha=0.35, distance="cosine", held=None):
    def value(s, positives, negatives):
        active = [v for v in (s[n] - s[p] + alpha for p in positives for n in negatives) if v > 0]
        return sum(active) / max(len(active), 1)

    return _anchors(labels, _close(embedding, distance), value)


def SemiHardTripletLoss(labels, embedding, alpha=0.35, distance="cosine", held=None):
    def one(s, p, negatives):
        behind = [s[n] for n in negatives if s[n] < s[p]]
        return max(0.0, (max(behind) if behind else min(s[negatives])) - s[p] + alpha)

    return _anchors(labels, _close(embedding, distance), lambda s, ps, ns: np.mean([one(s, p, ns) for p in ps]))


def SoftMarginTripletLoss(labels, embedding, scale=10.0, distance="cosine", held=None):
    return _anchors(
        labels, _close(embedding, distance), lambda s, p, n: np.logaddexp(0, scale * (max(s[n]) - min(s[p]))) / scale
    )


def _in_order(embedding, value):
    s = _close(embedding)
    found = [value(s[i, i + 1], s[i, i + 2]) for i in range(0, len(s), 3)]
    return np.repeat(found, 3)


def OfflineTripletLoss(labels, embedding, alpha=0.35, distance="cosine", held=None):
    return _in_order(embedding, lambda p, n: max(0.0, n - p + alpha))


def OfflineArcTripletLoss(labels, embedding, alpha=0.35, held=None):
    return _in_order(embedding, lambda p, n: max(0.0, n - _arc(p, alpha)))


def CircleLoss(labels, embedding, margin=0.25, gamma=256.0, held=None):
    s, at = _close(embedding), _close(embedding if held is None else held[0])
    values = []
    for a in range(len(labels)):
        p, n = _pairs(labels, a)
        weigh_n, weigh_p = np.maximum(at[a, n] + margin, 0), np.maximum(1 + margin - at[a, p], 0)
        logs = np.log(np.exp(gamma * weigh_n * (s[a, n] - margin)).sum())
        logs += np.log(np.exp(-gamma * weigh_p * (s[a, p] - 1 + margin)).sum()) if p else 0
        values.append(np.logaddexp(0, logs) / gamma if p and n else 0.0)
    return np.array(values)


def MultiSimilarityLoss(labels, embedding, alpha=2.0, beta=50.0, base=0.5, epsilon=0.1, held=None):
    def value(s, p, n):
        kept_p, kept_n = s[p][s[p] - epsilon < max(s[n])], s[n][s[n] + epsilon > min(s[p])]
        pulls = np.log(1 + np.exp(-alpha * (kept_p - base)).sum()) / alpha
        return pulls + np.log(1 + np.exp(beta * (kept_n - base)).sum()) / beta

    return _anchors(labels, _close(embedding), value)


def SupConLoss(labels, embedding, temperature=0.1, held=None):
    def value(s, p, n):
        return np.mean([-np.log(np.exp(s[j] / temperature) / np.exp(s[p + n] / temperature).sum()) for j in p])

    return _anchors(labels, _close(embedding), value)


def AcrTripLoss(labels, cosine, embedding, margin=0.5, scale=64.0, label_smoothing=0, alpha=0.35, held=None):
    arc = ArcfaceLossSimple(labels, cosine, margin, scale, label_smoothing)
    return arc + BatchHardTripletLoss(labels, embedding, alpha)


def _mapped(embedding, matrix):
    return embedding.astype(np.float64) if matrix is None else embedding.astype(np.float64) @ matrix


def DistillCosineLoss(labels, embedding, teacher, matrix=None, held=None):
    return np.array([1 - _cosine(x, t) for x, t in zip(_mapped(embedding, matrix), teacher, strict=True)])


def DistillEuclideanLoss(labels, embedding, teacher, matrix=None, held=None):
    return ((_mapped(embedding, matrix) - teacher) ** 2).sum(1)


def DistillKLDivergenceLoss(labels, student, teacher, scale=10.0, over="batch", held=None):
    values = []
    s, t = (_close(x) if over == "batch" else x.astype(np.float64) for x in (student, teacher))
    for i in range(len(s)):
        seen = [j for j in range(len(s[i])) if over == "classes" or j != i]
        p, q = (np.exp(scale * x[i, seen]) / np.exp(scale * x[i, seen]).sum() for x in (t, s))
        values.append((p * np.log(p / q)).sum())
    return np.array(values)


def ten_fold(scores, same, folds=10):
    """Thresholds of each fold tried one by one, between neighbouring scores of the other folds."""
    accuracies = []
    for fold in np.array_split(np.arange(len(same)), folds):
        rest = np.setdiff1d(np.arange(len(same)), fold)
        ranked = np.unique(scores[rest])
        cuts = np.concatenate([[ranked[0] - 1e-3], (ranked[1:] + ranked[:-1]) / 2, [ranked[-1] + 1e-3]])[::-1]
        right = np.array([np.mean((scores[rest] >= t) == same[rest]) for t in cuts])
        best = np.flatnonzero(right == right.max())
        accuracies.append(np.mean((scores[fold] >= cuts[best[len(best) // 2]]) == same[fold]))
    return np.array(accuracies)


# ----------------------------------------------------------------------------- evaluation, as InsightFace's scripts have it


def verification_accuracy(threshold, dist, same):
    said = dist < threshold
    tp, fp = np.sum(said & same), np.sum(said & ~same)
    tn, fn = np.sum(~said & ~same), np.sum(~said & same)
    tpr = 0 if tp + fn == 0 else tp / (tp + fn)
    fpr = 0 if fp + tn == 0 else fp / (fp + tn)
    return tpr, fpr, (tp + tn) / len(dist)


def verification_roc(thresholds, first, second, same, folds=10, pca=0):
    from sklearn.decomposition import PCA
    from sklearn.model_selection import KFold

    tprs, fprs, accuracies = [], [], []
    for train, test in KFold(folds).split(np.arange(len(same))):
        one, two = first, second
        if pca:
            model = PCA(pca).fit(np.concatenate([first[train], second[train]]))
            one, two = (
                x / np.linalg.norm(x, axis=1, keepdims=True) for x in (model.transform(first), model.transform(second))
            )
        dist = np.sum((one - two) ** 2, axis=1)
        best = np.argmax([verification_accuracy(t, dist[train], same[train])[2] for t in thresholds])
        rows = [verification_accuracy(t, dist[test], same[test]) for t in thresholds]
        tprs.append([row[0] for row in rows])
        fprs.append([row[1] for row in rows])
        accuracies.append(verification_accuracy(thresholds[best], dist[test], same[test])[2])
    return np.mean(tprs, axis=0), np.mean(fprs, axis=0), np.array(accuracies)


def verification_val(thresholds, first, second, same, target=1e-3, folds=10):
    """The line between the last threshold below the target and the first that reaches it."""
    from sklearn.model_selection import KFold

    dist, vals, fars = np.sum((first - second) ** 2, axis=1), [], []
    for train, test in KFold(folds).split(np.arange(len(same))):
        far = [np.sum((dist[train] < t) & ~same[train]) / np.sum(~same[train]) for t in thresholds]
        threshold = 0.0
        if max(far) >= target:
            k = next(k for k, value in enumerate(far) if value >= target)
            if k:
                threshold = thresholds[k - 1] + (target - far[k - 1]) / (far[k] - far[k - 1]) * (
                    thresholds[k] - thresholds[k - 1]
                )
        vals.append(np.sum((dist[test] < threshold) & same[test]) / max(np.sum(same[test]), 1))
        fars.append(np.sum((dist[test] < threshold) & ~same[test]) / max(np.sum(~same[test]), 1))
    return np.mean(vals), np.std(vals), np.mean(fars)


def verification_evaluate(embeddings, same):
    first, second = embeddings[::2], embeddings[1::2]
    return (
        *verification_roc(np.arange(0, 4, 0.01), first, second, same),
        *verification_val(np.arange(0, 4, 0.001), first, second, same),
    )


def tar_nearest(far, tar, wanted):
    far, tar = far[::-1], tar[::-1]
    return tar[min(zip(np.abs(far - wanted), range(len(far)), strict=True))[1]]


def pool(features, template, media):
    ids, rows = np.unique(template), []
    for one in ids:
        total = np.zeros(features.shape[1])
        for medium in np.unique(media[template == one]):
            total += features[(template == one) & (media == medium)].mean(axis=0)
        rows.append(total / np.linalg.norm(total))
    return ids, np.array(rows)


def search(probes, gallery, probe_people, gallery_people):
    best, rank = [], []
    for probe, person in zip(probes, probe_people, strict=True):
        scores = {
            who: max(float(g @ probe) for g, w in zip(gallery, gallery_people, strict=True) if w == who)
            for who in set(gallery_people)
        }
        best.append(max(scores.values()))
        rank.append(sum(value > scores[person] for value in scores.values()) if person in scores else -1)
    return np.array(best), np.array(rank)


def uss_begin(labels, cosine, scale):
    rows = np.arange(len(labels))
    far = np.where(np.arange(cosine.shape[1]) == labels[:, None], -np.inf, scale * cosine)
    return np.mean(np.log(np.exp(far).sum(axis=1))[rows])


def USSLoss(labels, cosine, margin=0.1, scale=64.0, begin=None):
    b, values = uss_begin(labels, cosine, scale) if begin is None else begin, []
    for row, label in zip(cosine, labels, strict=True):
        total = np.log1p(np.exp(np.clip(b - scale * (row[label] - margin), -scale, scale)))
        for k, one in enumerate(row):
            if k != label:
                total += np.log1p(np.exp(np.clip(scale * one - b, -scale, scale)))
        values.append(total)
    return np.array(values)


def SemiSiameseLoss(labels, embedding, gallery, margin=0.35, scale=32.0, size=0, momentum=0, held=None, queue=()):
    first, second = (x.astype(np.float64) for x in (embedding, gallery if held is None else held[1]))
    first, second = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (first, second))
    values = []
    for i, label in enumerate(labels):
        own = [first[i] @ second[j] for j in range(len(labels)) if j != i and labels[j] == label]
        far = [first[i] @ second[j] for j in range(len(labels)) if labels[j] != label]
        far += [first[i] @ row for who, row in queue if who != label]
        right = scale * (np.mean(own) - margin) if own else 0.0
        values.append(np.log1p(np.sum(np.exp(scale * np.array(far) - right))) if own else 0.0)
    return np.array(values)
