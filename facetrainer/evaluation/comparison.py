"""A file beside the model it came from: largest difference of embeddings, accuracy on pairs."""

import keras
import numpy as np

from facetrainer.data import sources
from facetrainer.data import synthetic as draw
from facetrainer.data.images import decode, normalised
from facetrainer.evaluation.embedder import Embedder
from facetrainer.evaluation.interface import Interface, interface
from facetrainer.evaluation.pairs import Pairs
from facetrainer.evaluation.verification import Verification, verify
from facetrainer.metrics.verification import pair_scores
from facetrainer.weights import exporters


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
    one, other = (np.asarray(embed(images), np.float64) for embed in (first, second))
    one, other = (x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-300) for x in (one, other))
    return float(np.abs(one - other).max()), float((one * other).sum(axis=1).min())


LOWEST = {None: 0.9999, "fp16": 0.999, "dynamic": 0.8, "int8": 0.8}  # cosine of an export's embedding to the model's


def export(
    model: keras.Model, path: str, to: str, quantize: str | None = None, images: np.ndarray | None = None, **options
) -> tuple:
    """Writes a model for use alone, runs what was written, and keeps it only if it does what the model does.

    Args:
        model: The basic model.
        path: File to write.
        to: Form, see `exporters.write`.
        quantize: See `exporters.write`.
        images: uint8 `(n, H, W, 3)`: what "int8" is calibrated on; the first sixteen are compared. Drawn faces unless given.
        **options: Further arguments of `exporters.write`.

    Returns:
        Largest difference of the embeddings divided by their lengths, and the lowest cosine.

    Raises:
        ValueError: The program cannot hold the model, or its embeddings differ by more than such a form explains; there is no file then.
    """
    seen, found = (sample(None, 16, model.input_shape[1:3]) if images is None else images[:16]), []

    def check(part):
        found.extend(difference(interface(model), interface(part, trusted=True), seen))
        if not found[1] >= LOWEST[quantize]:  # NaN too
            raise ValueError(
                f"{path}: the {quantize or to} file gives other embeddings than the model, lowest cosine {found[1]:.4f}, expected "
                f"{LOWEST[quantize]} or more. Nothing is written. Try another form, or more images to calibrate on."
            )

    exporters.write(model, path, to, quantize, images, **options, check=check)
    return tuple(found)


def accuracies(models: dict[str, Interface], pairs: Pairs, batch_size: int = 64) -> dict[str, Verification]:
    """10-fold verification of each model, without mirrored images; the images are decoded once."""
    embedders = {name: Embedder(model, batch_size) for name, model in models.items()}
    images = next(iter(embedders.values())).decode(pairs.images)
    scores = {name: pair_scores(embed(images, flip=False)) for name, embed in embedders.items()}
    return {name: verify(one, pairs.same, pairs.name, False, pairs.sha256) for name, one in scores.items()}
