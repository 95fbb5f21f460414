"""A file beside the model it came from: largest difference of embeddings, accuracy on pairs."""

import numpy as np
from tqdm import tqdm

import evals
from faces import draw
from faces.interface import Interface, image_size
from formats import sources
from formats.images import decode, normalised


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
    one, other = (evals.unit(embed(images)) for embed in (first, second))
    return float(np.abs(one - other).max()), float((one * other).sum(axis=1).min())


def accuracies(
    embedders: dict[str, Interface], pairs: evals.Pairs, batch_size: int = 64
) -> dict[str, evals.Verification]:
    """10-fold verification of each, without mirrored images; the images are decoded once."""
    shape, found = image_size(next(iter(embedders.values()))), {}
    images = np.stack([decode(image, shape) for image in tqdm(pairs.images, "pairs", disable=None)])
    images = normalised(images)
    for name, embed in embedders.items():
        pieces = [embed(images[i : i + batch_size]) for i in range(0, len(images), batch_size)]
        found[name] = evals.verify(
            evals.pair_scores(np.concatenate(pieces)), pairs.same, pairs.name, False, pairs.sha256
        )
    return found
