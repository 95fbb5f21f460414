"""Evaluation beside the slow way of the same protocol: equal to the last pair, in a fraction of the time.

python -m benchmarks.evaluation                      equality on 200 sets, cost of 10-fold + VAL
"""

import argparse
import os
import resource
import statistics
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def cost(work, rounds=1):
    """→ median CPU-seconds, median wall seconds, last result."""
    spent = []
    for _ in range(rounds):
        before, begin = os.times(), time.perf_counter()
        result = work()
        after = os.times()
        spent.append((after.user + after.system - before.user - before.system, time.perf_counter() - begin))
    cpu, wall = (statistics.median(column) for column in zip(*spent, strict=True))
    return cpu, wall, result


def peak():
    """Largest memory so far, GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def equality(sets):
    import numpy as np
    import reference
    from helpers import random_pairs
    from sklearn.metrics import roc_auc_score, roc_curve

    from facetrainer import evaluation as evals

    worst = dict.fromkeys(("tpr", "fpr", "accuracy", "val", "val_std", "far", "TAR@FAR", "AUC"), 0.0)
    for seed in range(sets):
        embeddings, same = random_pairs(seed, 60 + seed)
        pairs = zip(
            worst, evals.evaluate(embeddings, same), reference.verification_evaluate(embeddings, same), strict=False
        )
        found = {name: np.abs(mine - slow).max() for name, mine, slow in pairs}
        scores = evals.pair_scores(embeddings)
        curve, (far, tar, _) = evals.Roc(scores, same), roc_curve(same, scores)
        found["TAR@FAR"] = max(
            abs(curve.tar_nearest(x) - reference.tar_nearest(far, tar, x)) for x in (1e-3, 1e-2, 1e-1)
        )
        found["AUC"] = abs(curve.auc - roc_auc_score(same, scores))
        worst = {name: max(value, found[name]) for name, value in worst.items()}
    print(
        f"{sets} random sets, largest difference:",
        ", ".join(f"{name} {value:.1e}" for name, value in worst.items()),
        flush=True,
    )


def ten_fold():
    import reference
    from helpers import random_pairs

    from facetrainer import evaluation as evals

    embeddings, same = random_pairs(0, 6000, 512)
    slow, _, _ = cost(lambda: reference.verification_evaluate(embeddings, same))
    fast, _, _ = cost(lambda: evals.evaluate(embeddings, same), 5)
    print(
        f"10-fold + VAL, 6,000 pairs × 512: slow {slow:.2f} CPU-s, ours {fast:.3f}: {slow / fast:.0f} times", flush=True
    )


def slow_pool(features, template, media):
    """InsightFace's loop, with one pass over the images."""
    import numpy as np

    ids, place = np.unique(template, return_inverse=True)
    order, result = np.argsort(place, kind="stable"), np.zeros((len(ids), features.shape[1]))
    begins = np.searchsorted(place[order], np.arange(len(ids) + 1))
    for k in range(len(ids)):
        rows = order[begins[k] : begins[k + 1]]
        total = []
        for medium in np.unique(media[rows]):
            mine = features[rows][media[rows] == medium]
            total.append(np.mean(mine, axis=0, keepdims=True) if len(mine) > 1 else mine)
        result[k] = np.sum(np.array([t[0] for t in total]), axis=0)
    return result / np.sqrt(np.sum(result**2, -1, keepdims=True))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "evaluation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", type=int, default=200)
    a = parser.parse_args(argv)
    sys.path[:0] = [ROOT, *(os.path.join(ROOT, folder) for folder in ("tests", "tests/losses"))]
    equality(a.sets)
    ten_fold()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
