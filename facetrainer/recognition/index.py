"""Nearest vectors: by matrix product as long as that is fast, then by an index of faiss."""

import numpy as np

from facetrainer.utils.optional import need

EXACT = 50_000  # vectors from which on an index is made
CANDIDATES = 200  # of the index, whose scores are then computed exactly
TRAINED_ON = 50_000


class Index:
    """Unit vectors to search in; rows are put in at any time.

    Args:
        width: Of the vectors.
        exact: Whether to compare with all of them. Defaults to whether they are no more than 50,000.
    """

    def __init__(self, width: int, exact: bool | None = None):
        self.held, self.count, self.exact = np.zeros((1024, width), np.float32), 0, exact
        self.inner, self.fresh = None, {}

    @property
    def vectors(self) -> np.ndarray:
        """All of them, float32 `(n, D)`."""
        return self.held[: self.count]

    def put(self, row: int, vector: np.ndarray) -> None:
        """Sets the vector of a row, or of the one behind the last; zeros are found by nobody."""
        while row >= len(self.held):
            self.held = np.concatenate([self.held, np.zeros_like(self.held)])
        self.held[row], self.count = vector, max(self.count, row + 1)
        self.fresh[row] = None

    def search(self, probes: np.ndarray, k: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """The nearest vectors of each probe.

        Args:
            probes: float32 `(p, D)` of length 1.
            k: How many.

        Returns:
            Cosines `(p, k)`, falling, and rows of the vectors `(p, k)`.

        Raises:
            ImportError: The vectors are many, and faiss is missing.
        """
        k, probes = min(k, self.count), np.ascontiguousarray(probes, np.float32)
        if not k or not len(probes):
            return np.zeros((len(probes), k), np.float32), np.zeros((len(probes), k), np.int64)
        exact = self.count <= EXACT if self.exact is None else self.exact
        find = self._best if exact else self._scan
        pieces = [find(probes[begin : begin + 256], k) for begin in range(0, len(probes), 256)]
        return tuple(np.concatenate(one) for one in zip(*pieces, strict=True))

    def _best(self, probes, k):
        scores = probes @ self.vectors.T
        some = np.argpartition(-scores, k - 1, axis=1)[:, :k] if k < scores.shape[1] else np.arange(k)[None]
        return _sorted(np.take_along_axis(scores, some, 1), np.broadcast_to(some, (len(scores), k)), k)

    def _scan(self, probes, k):
        """The index's candidates and what is new since it was made, by their true cosines; with much new it is made again."""
        if self.inner is None or len(self.fresh) > max(self.inner.ntotal // 20, 1000):
            self.inner, self.fresh = _fast_scan(self.vectors), {}
        rows = self.inner.search(probes, min(CANDIDATES, self.inner.ntotal))[1]
        scores = np.einsum("pd,pcd->pc", probes, self.held[rows])
        fresh = np.fromiter(self.fresh, np.int64, len(self.fresh))
        scores = np.where((rows < 0) | np.isin(rows, fresh), np.float32(-2), scores)
        rows = np.concatenate([rows, np.broadcast_to(fresh, (len(probes), len(fresh)))], axis=1)
        return _sorted(np.concatenate([scores, probes @ self.held[fresh].T], axis=1), rows, k)


def _sorted(scores, rows, k):
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def _fast_scan(vectors):
    """Every vector as 4 bits for two dimensions, all of them looked at (André et al., 2017).

    Graphs (HNSW) are faster on clustered data and lose people on embeddings, which lie apart in all directions: see benchmarks/search.py.

    Returns:
        FAISS's index.
    """
    faiss = need("faiss", '"face-trainer[search]"', f"a gallery of {len(vectors):,} people")
    width = vectors.shape[1]
    index = faiss.index_factory(width, f"PQ{width // (2 - width % 2)}x4fs", faiss.METRIC_INNER_PRODUCT)
    rng = np.random.default_rng(0)
    some = vectors[np.sort(rng.choice(len(vectors), min(TRAINED_ON, len(vectors)), replace=False))]
    index.train(np.ascontiguousarray(some))
    index.add(vectors)
    return index
