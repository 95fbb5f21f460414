"""How good embeddings are besides telling people apart: compactness, and whether their length tells a poor image."""

import numpy as np

from facetrainer.metrics.verification import unit


def angular_fisher_score(embeddings: np.ndarray, labels: np.ndarray) -> float:
    """Embeddings (n, D) and people (n,) → scatter within people over scatter between, in cosines; smaller is better.

    Liu et al., SphereFace, CVPR 2017, section 4.4: Σ (1 − cos(x, m_i)) / Σ n_i (1 − cos(m_i, m)).
    """
    embeddings = unit(embeddings)
    _, person, counts = np.unique(labels, return_inverse=True, return_counts=True)
    sums = np.zeros((len(counts), embeddings.shape[1]))
    np.add.at(sums, person, embeddings)
    centers, middle = unit(sums), unit(embeddings.sum(axis=0, keepdims=True))
    within = np.sum(1 - np.sum(embeddings * centers[person], axis=1))
    between = np.sum(counts * (1 - (centers @ middle.T)[:, 0]))
    return float(within / between)


def error_versus_reject(scores: np.ndarray, same: np.ndarray, quality: np.ndarray, fmr: float = 1e-3, steps: int = 20):
    """Scores, same and quality (the lower of both images') of pairs (n,) → parts rejected (steps,), false non-match rates.

    The threshold stays where all pairs have a false match rate of `fmr`; pairs of the lowest quality are rejected first. A quality that
    knows poor images makes the curve fall. Grother & Tabassi, PAMI 2007.
    """
    negatives = np.sort(scores[~same])[::-1]
    threshold = np.nextafter(negatives[min(int(fmr * len(negatives)), len(negatives) - 1)], np.inf)
    mine, missed = quality[same], scores[same] < threshold
    missed = missed[np.argsort(mine, kind="stable")]
    rejected = np.arange(steps) / steps
    begins = np.floor(rejected * len(missed)).astype(int)
    return rejected, np.array([missed[begin:].mean() for begin in begins])
