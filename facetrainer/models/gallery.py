"""The slower network of semi-siamese training: running means of the trained one's weights."""

import keras
from keras import ops


def made(embedder: keras.Model, terms: list) -> keras.Model | None:
    """A copy of the basic model that is not trained, where a loss reads its embeddings.

    Args:
        embedder: Basic model.
        terms: Losses.

    Returns:
        The copy, or None where no loss reads one.
    """
    reading = [term for term in terms if "gallery" in term.reads]
    if not reading:
        return None
    copy = keras.models.clone_model(embedder)
    copy.set_weights(embedder.get_weights())
    copy.trainable, copy.momentum = False, reading[0].momentum
    return copy


class Follower:
    """Moves the gallery network after each step.

    Args:
        embedder: Basic model.
        copy: As `made` gives it.
    """

    def __init__(self, embedder: keras.Model, copy: keras.Model):
        self.embedder, self.copy = embedder, copy

    def update(self) -> None:
        """mean <- momentum * mean + (1 - momentum) * weight, statistics of batch normalisation as well."""
        for mean, weight in zip(self.copy.weights, self.embedder.weights, strict=True):
            new = ops.cast(ops.convert_to_tensor(weight), mean.dtype)
            mean.assign(mean + (1 - self.copy.momentum) * (new - mean))
