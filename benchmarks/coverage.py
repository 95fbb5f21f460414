"""How often do 95 % intervals hold the true value?

python -m benchmarks.coverage                400 repeats of each

Two made-up worlds whose true rates are known from a large sample: 60 people of unequal difficulty with five images each, all
pairs of which are compared; and 600 independent pairs of people who occur nowhere else, said rightly 99 times in 100. In both:
the rates at a fixed threshold, TAR@FAR and AUC; in the second also the 10-fold accuracy, whose true value is that of the folds'
own thresholds. Beside them stand the intervals of version 0.6: Wilson's over pairs, and pairs drawn with replacement.
"""

import argparse
import collections

import numpy as np
from scipy.stats import norm

from facetrainer.metrics import intervals
from facetrainer.metrics.roc import Roc
from facetrainer.metrics.verification import best_threshold, fold_correct, fold_table, folds_of

FAR = 1e-2


def people(rng, count=60, images=5, width=16):
    """Scores, same, people (2, n) of all pairs: unit embeddings around a center, with a spread of each person's own."""
    centers = rng.normal(size=(count, width))
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    spread = np.exp(rng.normal(np.log(0.18), 0.45, size=count))
    found = (centers[:, None] + spread[:, None, None] * rng.normal(size=(count, images, width))).reshape(-1, width)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    who, (i, j) = np.repeat(np.arange(count), images), np.triu_indices(count * images, 1)
    return np.sum(found[i] * found[j], axis=1), who[i] == who[j], np.stack([who[i], who[j]])


MIDDLE = float(norm.ppf(0.99))  # two normal distributions that far from the threshold


def pairs(rng, count=600):
    """Scores, same, people (2, n) of independent pairs at 0.99, same and different in turn; nobody twice."""
    same = np.arange(count) % 2 == 0
    first = np.arange(count) * 2
    return rng.normal(np.where(same, MIDDLE, -MIDDLE)), same, np.stack([first, np.where(same, first, first + 1)])


def truth_of_people(rng):
    """Threshold at FAR, FNMR and FMR there, TAR and AUC, of twelve thousand people."""
    drawn = [people(rng, 200) for _ in range(60)]
    mine = np.concatenate([scores[same] for scores, same, _ in drawn])
    others = np.concatenate([rng.choice(scores[~same], 20_000) for scores, same, _ in drawn])
    curve = Roc(np.concatenate([mine, others]), np.arange(len(mine) + len(others)) < len(mine))
    threshold = curve.threshold(FAR)
    far, tar = (float(rate[0]) for rate in curve.rates(np.array([threshold])))
    return threshold, {"FNMR": 1 - tar, "FMR": far, "TAR": curve.tar(FAR), "AUC": curve.auc}


def truth_of_pairs():
    threshold = 0.0
    tar = float(norm.cdf(MIDDLE - norm.ppf(1 - FAR) + MIDDLE))
    return threshold, {"FNMR": 0.01, "FMR": 0.01, "TAR": tar, "AUC": float(norm.cdf(MIDDLE * np.sqrt(2)))}


def measured(drawn, threshold, draws, seed):
    """Intervals by name: ours, and those of version 0.6."""
    scores, same, who = drawn
    missed, accepted = scores[same] < threshold, scores[~same] >= threshold
    low, high = intervals.curve_intervals(scores, same, who, [FAR], draws, seed=seed)
    old = old_bootstrap(scores, same, lambda curve: [curve.tar(FAR), curve.auc], draws, seed)
    return {
        ("FNMR", "ours"): intervals.rate_interval(missed, *who[:, same]),
        ("FMR", "ours"): intervals.rate_interval(accepted, *who[:, ~same]),
        ("TAR", "ours"): (low[1], high[1]), ("AUC", "ours"): (low[0], high[0]),
        ("FNMR", "0.6"): intervals.wilson(missed.mean(), len(missed)), ("FMR", "0.6"): intervals.wilson(accepted.mean(), len(accepted)),
        ("TAR", "0.6"): old[:, 0], ("AUC", "0.6"): old[:, 1],
    }  # fmt: skip


def old_bootstrap(scores, same, of, draws, seed):
    """Pairs of each kind drawn with replacement, as 0.6 did it."""
    rng, kinds = np.random.default_rng(seed), (np.flatnonzero(same), np.flatnonzero(~same))
    found = []
    for _ in range(draws):
        rows = np.concatenate([rng.choice(kind, len(kind)) for kind in kinds])
        found.append(of(Roc(scores[rows], same[rows])))
    return np.quantile(found, [0.025, 0.975], axis=0)


def accuracies(drawn, draws, seed):
    """10-fold accuracy and its true value, with our interval; best accuracy with 0.6's, and its true value 0.99."""
    scores, same, who = drawn
    right = fold_correct(scores, same)
    thresholds = [fold.threshold for fold in fold_table(scores, same)]
    true = np.mean([(norm.cdf(MIDDLE - t) + norm.cdf(MIDDLE + t)) / 2 for t in thresholds])
    rng, best = np.random.default_rng(seed), []
    for _ in range(draws):
        rows = rng.integers(len(same), size=len(same))
        best.append(best_threshold(scores[rows], same[rows])[0])
    assert len(thresholds) == len(folds_of(len(same)))
    return {("accuracy", "ours"): (*intervals.rate_interval(~right, *who), 1 - true),
            ("accuracy", "0.6"): (*(1 - np.quantile(best, [0.975, 0.025])), 0.01)}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=400)
    parser.add_argument("--draws", type=int, default=300)
    a = parser.parse_args()
    worlds = {
        "60 people × 5 images": (people, *truth_of_people(np.random.default_rng(0))),
        "600 independent pairs": (pairs, *truth_of_pairs()),
    }
    for name, (draw, threshold, truth) in worlds.items():
        held, widths = collections.Counter(), collections.Counter()
        for repeat in range(a.repeats):
            drawn = draw(np.random.default_rng(1000 + repeat))
            found = {key: (*ends, truth[key[0]]) for key, ends in measured(drawn, threshold, a.draws, repeat).items()}
            found |= accuracies(drawn, a.draws, repeat) if draw is pairs else {}
            for key, (low, high, true) in found.items():
                held[key] += low <= true <= high
                widths[key] += high - low
        print(f"{name}; {a.repeats} repeats; true values {', '.join(f'{k} {v:.4f}' for k, v in truth.items())}")
        for key in sorted(widths):
            print(
                f"  {key[0]:9} {key[1]:5} holds {held[key] / a.repeats:.3f}, mean width {widths[key] / a.repeats:.4f}"
            )


if __name__ == "__main__":
    main()
