"""A file beside the model it came from: largest difference of embeddings, accuracy on pairs."""

import numpy as np

from facetrainer.data import sources
from facetrainer.data import synthetic as draw
from facetrainer.data.images import decode, normalised
from facetrainer.evaluation.embedder import Embedder
from facetrainer.evaluation.interface import Interface
from facetrainer.evaluation.pairs import Pairs
from facetrainer.evaluation.verification import Verification, verify
from facetrainer.metrics.verification import pair_scores, unit


def sample(data_path: str | None, count: int, shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Faces drawn at random from a dataset, or made up where there is none → uint8 (count, H, W, 3)."""
    if data_path is None:
        drawn = draw.people(-(-count // 4), 4, seed)
        return np.stack([decode(image, shape) for images in drawn for image in images][:count])
    source, found = sources.open_source(data_path), []
    for i in np.random.default_rng(seed).permutation(len(source)):
        try:
            found.append(decode(source.read(int(i)), shape))
        except (ValueError, OSError):
            continue
        if len(found) == count:
            return np.stack(found)
    raise ValueError(f"{data_path}: expected {count} images. Received: {len(found)} that can be read.")


def difference(first: Interface, second: Interface, images: np.ndarray) -> tuple[float, float]:
    """Largest absolute difference of the embeddings divided by their lengths, and the lowest cosine between the two."""
    images = normalised(images)
    one, other = (unit(embed(images)) for embed in (first, second))
    return float(np.abs(one - other).max()), float((one * other).sum(axis=1).min())


def accuracies(models: dict[str, Interface], pairs: Pairs, batch_size: int = 64) -> dict[str, Verification]:
    """10-fold verification of each model, without mirrored images; the images are decoded once."""
    embedders = {name: Embedder(model, batch_size) for name, model in models.items()}
    images = next(iter(embedders.values())).decode(pairs.images)
    scores = {name: pair_scores(embed(images, flip=False)) for name, embed in embedders.items()}
    return {name: verify(one, pairs.same, pairs.name, False, pairs.sha256) for name, one in scores.items()}
