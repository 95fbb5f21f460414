"""How good embeddings are besides telling people apart: compactness, and whether their length tells a poor image."""

import numpy as np

from facetrainer.metrics.verification import sum_by_person, unit


def angular_fisher_score(embeddings: np.ndarray, labels: np.ndarray) -> float:
    """Embeddings (n, D) and people (n,) → scatter within people over scatter between, in cosines; smaller is better.

    Liu et al., SphereFace, CVPR 2017, section 4.4: Σ (1 − cos(x, m_i)) / Σ n_i (1 − cos(m_i, m)).

    Returns:
        A number from 0 on.
    """
    embeddings = unit(embeddings)
    _, person, counts = np.unique(labels, return_inverse=True, return_counts=True)
    centers, middle = unit(sum_by_person(embeddings, person, len(counts))), unit(embeddings.sum(axis=0, keepdims=True))
    within = np.sum(1 - np.sum(embeddings * centers[person], axis=1))
    between = np.sum(counts * (1 - (centers @ middle.T)[:, 0]))
    return float(within / between)


def error_versus_discard(missed: np.ndarray, quality: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Error-versus-discard characteristic: what is left of an error rate when pairs of low quality are discarded.

    Args:
        missed: Whether each pair of one person is missed at the threshold, bool `(n,)`; or any errors.
        quality: Of each pair, the lower of both images' `(n,)`; higher is better. Pairs of one quality go together.

    Returns:
        Parts discarded `(k,)`, from 0, and the error rate among the pairs that are left `(k,)`: it holds from there up to the next part.

    Reference:
        Grother & Tabassi, "Performance of biometric quality measures", PAMI 2007; ISO/IEC 29794-1:2024.
    """
    values, group = np.unique(quality, return_inverse=True)
    pairs, errors = np.bincount(group), np.bincount(group, missed)
    gone = np.concatenate([[0], np.cumsum(pairs)[:-1]])
    return gone / len(missed), (errors.sum() - np.concatenate([[0], np.cumsum(errors)[:-1]])) / (len(missed) - gone)


def partial_area(discarded: np.ndarray, rates: np.ndarray, most: float = 0.2) -> float:
    """Area under an error-versus-discard curve, a staircase, from 0 to `most` of the pairs; divided by `most`, a mean rate.

    Args:
        discarded: Parts `(k,)`, from 0, rising.
        rates: Error rates `(k,)`.
        most: Where it ends. Defaults to `0.2`.

    Returns:
        The mean rate.

    Reference:
        Schlett et al., "Considerations on the evaluation of biometric quality assessment algorithms", 2023, arXiv:2303.13294.
    """
    begins = np.minimum(discarded, most)
    return float(np.sum(np.diff(np.append(begins, most)) * rates))


def perfect_area(rate: float, most: float = 0.2) -> float:
    """`partial_area` of a quality that knows the errors: all missed pairs are discarded first, and nothing is left of an error rate.

    Args:
        rate: Error rate with nothing discarded.
        most: Where it ends. Defaults to `0.2`.

    Returns:
        The mean rate.
    """
    end = min(rate, most)  # up to there (rate − x) / (1 − x) = 1 − (1 − rate) / (1 − x)
    return float(end + (1 - rate) * np.log1p(-end))
