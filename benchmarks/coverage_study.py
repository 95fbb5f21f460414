"""How often do the intervals of a study hold the true value: EER, measures of fairness, differences of two models?

    python -m benchmarks.coverage_study              200 repeats

Three groups of people of unequal difficulty (each with its own spread of embeddings), and three that are alike; a second model sees
the same people with more noise. True values are from a large sample. Everybody is compared with everybody of their group.
"""

import argparse
import collections

import numpy as np

from facetrainer.evaluation.verification import intervals
from facetrainer.metrics import difference, fairness
from facetrainer.metrics.roc import Roc

WORLDS = {"groups of unequal difficulty": (0.14, 0.18, 0.24), "groups alike": (0.16, 0.16, 0.16)}
THRESHOLD, IMAGES, WIDTH = 0.62, 4, 16


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def drawn(rng, spreads, people):
    """Scores of two models, same, people (2, n), groups (2, n)."""
    parts = []
    for number, spread in enumerate(spreads):
        centers = unit(rng.normal(size=(people, WIDTH)))
        own = np.exp(rng.normal(np.log(spread), 0.4, size=people))[:, None, None]
        base = rng.normal(size=(people, IMAGES, WIDTH))
        seen = [
            unit(centers[:, None] + own * (base + noise * rng.normal(size=base.shape))).reshape(-1, WIDTH)
            for noise in (0.3, 0.6)
        ]
        who, (i, j) = np.repeat(np.arange(people), IMAGES), np.triu_indices(people * IMAGES, 1)
        scores = [np.sum(one[i] * one[j], axis=1) for one in seen]
        parts.append(
            (*scores, who[i] == who[j], np.stack([who[i], who[j]]) + number * people, np.full((2, len(i)), str(number)))
        )
    return [np.concatenate(one, axis=-1) for one in zip(*parts, strict=True)]


def values(scores, other, same, people, groups):
    """What the intervals are of, of one sample."""
    names = np.unique(groups)
    rates = np.array(
        [[np.mean((scores[(groups[0] == n) & (same == k)] >= THRESHOLD) != k) for n in names] for k in (False, True)]
    )
    found = {name: fairness.measure_of(name, *rates) for name in fairness.MEASURES}
    curves = [Roc(one, same) for one in (scores, other)]
    return found | {
        "accuracy, difference": accuracy_apart(scores, other, same),
        "AUC, difference": curves[0].auc - curves[1].auc,
        "EER": curves[0].eer,
    }


def accuracy_apart(scores, other, same):
    return np.mean((scores >= THRESHOLD) == same) - np.mean((other >= THRESHOLD) == same)


def ends(scores, other, same, people, groups, draws):
    """Their intervals."""
    found = {name: one[1] for name, one in fairness.by_group(scores, same, people, groups, THRESHOLD).measures.items()}
    right = [(one >= THRESHOLD) == same for one in (scores, other)]
    return found | {
        "accuracy, difference": difference.paired(*right, people)[1],
        "AUC, difference": difference.areas(scores, other, same, people, draws)[1],
        "EER": intervals(scores, same, people, draws)["EER"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--draws", type=int, default=200)
    a = parser.parse_args()
    for name, spreads in WORLDS.items():
        rng = np.random.default_rng(0)
        truth = values(*drawn(rng, spreads, 1000))
        right = [accuracy_apart(*drawn(rng, spreads, a.people)[:3]) for _ in range(100)]
        truth["accuracy, difference"] = np.mean(
            right
        )  # of as many people: it depends on how many pairs are of one person
        held = collections.Counter()
        for repeat in range(a.repeats):
            found = ends(*drawn(np.random.default_rng(1000 + repeat), spreads, a.people), a.draws)
            held.update(key for key, (low, high) in found.items() if low <= truth[key] <= high)
        print(f"{name}, {a.people} people each; {a.repeats} repeats")
        for key, true in truth.items():
            print(f"  {key:22} true value {true:8.4f}, held {held[key] / a.repeats:.3f}")


if __name__ == "__main__":
    main()
