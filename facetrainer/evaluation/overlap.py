"""Which people of a verification set are in a training set: by name, and by what a model makes of their faces."""

import re

import numpy as np
from scipy.special import ndtri

from facetrainer.data.sources import Source
from facetrainer.evaluation.embedder import Embedder
from facetrainer.evaluation.study import Measured
from facetrainer.evaluation.verification import verify
from facetrainer.metrics.verification import sum_by_person, unit

IMAGES, CHANCE = 3, 1.0  # of a training person; strangers of a set who are taken for one
BLOCK, LEAST = 1 << 24, 20  # cosines at once; pairs of a kind for an accuracy


def overlap(measured: Measured, source: Source, embed: Embedder, flip: bool | str = True) -> dict:
    """Looks for the people of a set in a training set.

    By name where both have names. By embedding, a person's mean is compared with the mean of three images of each training person; nearer
    than but one stranger of the whole set would be, judged by how all cosines are spread, counts as the same: one is found by chance.

    Args:
        measured: The set.
        source: What was trained on.
        embed: The model, as it embedded the set.
        flip: What became of mirrored images.

    Returns:
        "people" of the set; how many are there "by name" (None where there are none) and "by embedding" with the "threshold"; "who": the
        most alike; and of the pairs without them, number and 10-fold accuracy (None where they are too few).
    """
    pairs = measured.pairs
    people, first, own = np.unique(pairs.people.T.ravel(), return_index=True, return_inverse=True)
    named = _named(pairs.names, source.class_names)
    theirs = _means(embed, source, flip)
    mine = unit(sum_by_person(unit(measured.embeddings), own, len(people)))
    near, cosine, threshold = _nearest(mine, theirs)
    found = cosine >= threshold
    taken = found if named is None else found | named[first]
    kept = ~(taken[own].reshape(-1, 2).any(axis=1))
    order = [k for k in np.argsort(-cosine) if found[k]][:20]
    names = pairs.names or pairs.paths
    return {
        "people": len(people), "trained people": len(theirs),
        "by name": None if named is None else int(named[first].sum()), "by embedding": int(found.sum()), "threshold": float(threshold),
        "who": [
            {"in the set": names[first[k]], "trained": source.class_names[near[k]], "cosine": float(cosine[k])} for k in order
        ],
        "pairs without them": int(kept.sum()), "10-fold accuracy without them": _accuracy(measured.scores[kept], pairs.same[kept]),
    }  # fmt: skip


def _named(names, trained):
    """Whether each image's person has a name that a training person has; None where either side has but numbers."""
    if names is None:
        return None
    known = {_plain(name) for name in trained}
    if all(name.isdigit() for name in known):
        return None
    return np.array([_plain(name) in known for name in names])


def _plain(name):
    return re.sub(r"[\W_]+", "", str(name).casefold())


def _means(embed, source, flip):
    """Of a few images of each person, (people, D) at length 1."""
    order = np.argsort(source.labels, kind="stable")
    starts = np.searchsorted(source.labels[order], np.arange(len(source.class_names)))
    some = np.sort(order[np.arange(len(order)) - starts[source.labels[order]] < IMAGES])
    return embed.means(source, some, flip)


def _nearest(mine, theirs):
    """Nearest training person of each, its cosine, and the cosine that strangers hardly reach."""
    near, cosine = np.zeros(len(mine), np.int64), np.full(len(mine), -np.inf)
    step, some = max(BLOCK // len(mine), 1), []
    for begin in range(0, len(theirs), step):
        block = mine @ theirs[begin : begin + step].T
        best = block.argmax(axis=1)
        value = block[np.arange(len(mine)), best]
        better = value > cosine
        near[better], cosine[better] = best[better] + begin, value[better]
        some.append(block.ravel()[:: max(block.size // 100_000, 1)])
    drawn = np.concatenate(some)
    middle = np.median(drawn)
    spread = 1.4826 * np.median(np.abs(drawn - middle))
    return near, cosine, middle - ndtri(CHANCE / (len(mine) * len(theirs))) * spread


def _accuracy(scores, same):
    return float(verify(scores, same).accuracy) if min(np.sum(same), np.sum(~same)) >= LEAST else None
