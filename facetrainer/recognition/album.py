"""An unsorted album → one group a person."""

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.cluster import AgglomerativeClustering

BLOCK = 1024
MOST = 20_000  # faces joined by a chain, whose cosines are held all at once


def group(vectors: np.ndarray, threshold: float) -> np.ndarray:
    """Groups faces by average linkage: two groups are one person where their faces have a mean cosine of `threshold` or more.

    No chain of faces, each a little like the next, joins two people. Groups that no two faces of this cosine join are never joined, so
    that each such part is taken alone.

    Args:
        vectors: Embeddings of length 1, float32 `(n, D)`.
        threshold: Least mean cosine of two groups.

    Returns:
        Group of each face, int `(n,)`, the largest group is 0.

    Raises:
        ValueError: More than 20,000 faces hang together at this threshold.
    """
    count = len(vectors)
    labels = np.zeros(count, np.int64)
    parts = connected_components(_alike(vectors, threshold), directed=False)[1]
    order, ends = np.argsort(parts, kind="stable"), np.cumsum(np.bincount(parts))
    taken = 0
    for rows in np.split(order, ends[:-1]):
        mine = _linked(vectors[rows], threshold)
        labels[rows] = mine + taken
        taken += mine.max() + 1
    return _largest_first(labels)


def _alike(vectors, threshold):
    """Which two faces have the cosine."""
    first, second = [], []
    for begin in range(0, len(vectors), BLOCK):
        rows, columns = np.nonzero(vectors[begin : begin + BLOCK] @ vectors.T >= threshold)
        first.append(rows + begin)
        second.append(columns)
    rows, columns = np.concatenate(first), np.concatenate(second)
    return coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(vectors),) * 2)


def _linked(vectors, threshold):
    if len(vectors) < 2:
        return np.zeros(len(vectors), np.int64)
    if len(vectors) > MOST:
        raise ValueError(
            f"{len(vectors):,} faces hang together at a cosine of {threshold:.3f}: give a higher --threshold."
        )
    distances = np.maximum(1 - vectors @ vectors.T, 0)
    linkage = AgglomerativeClustering(None, metric="precomputed", linkage="average", distance_threshold=1 - threshold)
    return linkage.fit_predict(distances)


def _largest_first(labels):
    sizes = np.bincount(labels)
    rank = np.empty(len(sizes), np.int64)
    rank[np.argsort(-sizes, kind="stable")] = np.arange(len(sizes))
    return rank[labels]
