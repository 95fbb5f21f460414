"""Images → templates → scores, at the sizes of IJB-B and IJB-C."""

import functools

import numpy as np
from scipy.sparse import csr_array

from facetrainer.metrics.verification import unit

BLOCK, ROWS = 1 << 14, 512
DENSE = 0.02  # part of a block's products from which a product of matrices is cheaper than gathering rows


def image_weights(
    plain: np.ndarray, flipped: np.ndarray | None, detector_scores: np.ndarray | None, normalised: bool
) -> np.ndarray | None:
    """What each image's embedding is multiplied by before it is pooled.

    Args:
        plain: Embeddings `(n, D)`.
        flipped: Of the mirrored images, which are added to `plain`; None for none.
        detector_scores: Of each image `(n,)`; None for none.
        normalised: Whether the sum is brought to length 1 first.

    Returns:
        `(n,)`, or None where all are 1.
    """
    if not normalised:
        return detector_scores
    weights = np.ones(len(plain), np.float32) if detector_scores is None else np.array(detector_scores, np.float32)
    for begin in range(0, len(plain), BLOCK):
        piece = slice(begin, begin + BLOCK)
        rows = plain[piece] if flipped is None else plain[piece] + flipped[piece]
        weights[piece] /= np.maximum(np.linalg.norm(rows, axis=1), np.finfo(np.float32).tiny)
    return weights


class Pooling:
    """The mean over the images of a medium (frames of one video), the sum over media, for each template.

    Images are read where they lie: nothing of their size is made.

    Args:
        templates: Of each image `(n,)`.
        media: Of each image `(n,)`.

    Attributes:
        ids: Templates' numbers in order `(T,)`.

    Reference:
        Whitelam et al., IJB-B, CVPRW 2017, section 4.2.
    """

    def __init__(self, templates: np.ndarray, media: np.ndarray):
        self.ids, template = np.unique(templates, return_inverse=True)
        self.order = np.lexsort((media, template))
        new = np.flatnonzero((np.diff(template[self.order]) != 0) | (np.diff(media[self.order]) != 0)) + 1
        counts = np.diff(np.concatenate([[0], new, [len(self.order)]]))
        self.shares = np.repeat(1 / counts, counts).astype(np.float32)
        self.rows = np.searchsorted(template[self.order], np.arange(len(self.ids) + 1))

    def __call__(self, *embeddings: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Embeddings to features of templates.

        Args:
            *embeddings: One or more arrays `(n, D)`, which are added.
            weights: Of each image `(n,)`. Defaults to none.

        Returns:
            Features `(T, D)` of length 1.
        """
        shares = self.shares if weights is None else self.shares * weights[self.order]
        sums = csr_array((shares, self.order, self.rows), shape=(len(self.ids), len(self.order)))
        return unit(functools.reduce(np.add, (sums @ one for one in embeddings)))


class PairProducts:
    """Products of two rows of a matrix for a long list of pairs, which is put in order once.

    Rows of features are multiplied as matrices wherever many of a block's pairs are wanted, else row by row. Where both sides of the
    pairs are taken from all rows, each two rows are multiplied once, whichever comes first.

    Args:
        first: Row of each pair's first template, integers `(P,)`.
        second: Of its second.
    """

    def __init__(self, first: np.ndarray, second: np.ndarray):
        count = int(max(first.max(), second.max())) + 1
        first, second = first.astype(np.int32), second.astype(np.int32)
        sides = [np.flatnonzero(np.bincount(side, minlength=count)) for side in (first, second)]
        self.triangle = len(sides[0]) * len(sides[1]) > count * count / 2
        if self.triangle:
            first, second = np.minimum(first, second), np.maximum(first, second)
            sides = [np.arange(count)] * 2
        self.sides = sides
        self.first, self.second = (
            _places(side, count)[rows] for side, rows in zip(sides, (first, second), strict=True)
        )
        block = (self.first // ROWS).astype(np.uint16 if len(sides[0]) // ROWS < 1 << 16 else np.int32)
        self.order = np.argsort(block, kind="stable").astype(np.int32 if len(first) < 1 << 31 else np.int64)
        self.ends = np.cumsum(np.bincount(block, minlength=-(-len(sides[0]) // ROWS)))

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Features `(T, D)` → products `(P,)`."""
        scores = np.empty(len(self.first), features.dtype)
        mine, others = (features if self.triangle else features[side] for side in self.sides)
        for number, end in enumerate(self.ends):
            piece = self.order[self.ends[number - 1] if number else 0 : end]
            self._block(mine, others, number * ROWS, piece, scores)
        return scores

    def _block(self, mine, others, row, piece, scores):
        column = row if self.triangle else 0
        rows, rest = mine[row : row + ROWS], others[column:]
        first, second = self.first[piece] - row, self.second[piece] - column
        if len(piece) > DENSE * len(rows) * len(rest):
            scores[piece] = (rows @ rest.T)[first, second]
            return
        for begin in range(0, len(piece), BLOCK):
            part = slice(begin, begin + BLOCK)
            scores[piece[part]] = np.einsum("nd,nd->n", rows[first[part]], rest[second[part]])


def _places(side, count):
    """Place of each row among those of a side."""
    places = np.zeros(count, np.int32)
    places[side] = np.arange(len(side), dtype=np.int32)
    return places
