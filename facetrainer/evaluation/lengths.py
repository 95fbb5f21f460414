"""Embeddings far longer than the others, which a network takes for one person."""

import numpy as np

from facetrainer.metrics.verification import unit

TIMES, FEW, ALIKE = 5, 3, 0.5


def odd(name: str, embeddings: np.ndarray) -> str:
    """A sentence where some embeddings are far longer than the median and close to each other; else nothing.

    Args:
        name: What the set is called.
        embeddings: `(n, D)`.

    Returns:
        The sentence, or an empty string.
    """
    lengths = np.linalg.norm(embeddings, axis=1)
    middle = np.median(lengths)
    long = np.flatnonzero((lengths > TIMES * middle) & np.isfinite(lengths))
    if len(long) < FEW or not middle > 0:
        return ""
    total = np.sum(unit(embeddings[long]).sum(axis=0) ** 2)
    cosine = (total - len(long)) / (len(long) * (len(long) - 1))
    if cosine < ALIKE:
        return ""
    times = lengths[long].max() / middle
    return (
        f"{name}: {len(long):,} of {len(lengths):,} embeddings are more than {TIMES} times as long as the median (up to {times:.0f} "
        f"times), with a mean cosine of {cosine:.2f} to each other: the model takes these images for one person. A batch norm as the "
        "last layer lets that happen in training; output_layer='G' of buildin_models has none."
    )
