"""Images → templates → scores, at the sizes of IJB-B and IJB-C."""

import numpy as np
from scipy.sparse import csr_array

from facetrainer.metrics.verification import unit

BLOCK = 1 << 14


def image_features(
    plain: np.ndarray, flipped: np.ndarray | None, detector_scores: np.ndarray | None, normalised: bool, out=None
):
    """Embeddings (n, D) → features of images: with `flipped` the sum of both, with `normalised` of length 1, times detector scores (n,)."""
    result = np.empty(plain.shape, np.float32) if out is None else out
    for begin in range(0, len(plain), BLOCK):
        piece = slice(begin, begin + BLOCK)
        rows = plain[piece] if flipped is None else plain[piece] + flipped[piece]
        rows = unit(rows) if normalised else rows
        result[piece] = rows if detector_scores is None else rows * detector_scores[piece, None]
    return result


def pool(features: np.ndarray, templates: np.ndarray, media: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, D), template and medium of each image → templates' ids in order (T,), features (T, D) of length 1.

    The mean over the images of a medium (frames of one video), the sum over media. Whitelam et al., IJB-B, CVPRW 2017, section 4.2.
    """
    ids, template = np.unique(templates, return_inverse=True)
    order = np.lexsort((media, template))
    new = np.flatnonzero((np.diff(template[order]) != 0) | (np.diff(media[order]) != 0)) + 1
    counts = np.diff(np.concatenate([[0], new, [len(order)]]))
    weights = np.repeat(1 / counts, counts).astype(features.dtype)
    rows = np.searchsorted(template[order], np.arange(len(ids) + 1))
    shares = csr_array(
        (weights, order, rows), shape=(len(ids), len(features))
    )  # one pass over the features, nothing gathered
    return ids, unit(shares @ features)


def pair_similarities(features: np.ndarray, first: np.ndarray, second: np.ndarray, dense: float = 0.1) -> np.ndarray:
    """Features (T, D), rows of each pair (P,), (P,) → their products (P,).

    Pairs are taken by their first template. Where many first ones are compared with the same second ones, which is how the protocol's
    lists are made, a product of matrices is cheaper than gathering rows.
    """
    order = np.argsort(first, kind="stable")
    rows, begins = np.unique(first[order], return_index=True)
    ends, scores = np.append(begins[1:], len(order)), np.empty(len(first), features.dtype)
    for k in range(0, len(rows), 256):
        piece = order[begins[k] : ends[min(k + 256, len(rows)) - 1]]
        columns, column = np.unique(second[piece], return_inverse=True)
        mine = rows[k : k + 256]
        if len(piece) > dense * len(mine) * len(columns):
            products = features[mine] @ features[columns].T
            scores[piece] = products[np.searchsorted(mine, first[piece]), column]
        else:
            for row, begin, end in zip(mine, begins[k : k + 256], ends[k : k + 256], strict=True):
                scores[order[begin:end]] = features[second[order[begin:end]]] @ features[row]
    return scores
