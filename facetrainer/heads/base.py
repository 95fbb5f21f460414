"""Embedding → one score a class: the template of all heads."""

from typing import Any

import keras

from facetrainer import distributed
from facetrainer.utils.tensors import Tensor


class Head(distributed.WithTables, keras.layers.Layer):
    """Embedding (B, D) and labels (N,) → (scores (B, C), labels (N,) as columns of the scores), or scores alone.

    `gives` names the scores. N is B, or 2·B where images are mixed. A head that draws a part of the classes in training
    gives other columns than class ids. `penalties` are what a step of training adds to the loss, besides the regularisation of weights.

    Args:
        units: Classes.
        kernel_regularizer: Of the centers; None for none. Defaults to `None`.
        seed: Of the initial weights; None draws one. Defaults to `None`.
        name: Of the layer.
    """

    gives = "scores"
    by_image = True  # whether scores of an image depend on that image alone
    class_axes = {}  # weight → its axis that counts classes

    def __init__(
        self,
        units: int,
        name: str,
        kernel_regularizer: keras.regularizers.Regularizer | str | dict | None = None,
        seed: int | None = None,
    ):
        super().__init__(name=name, dtype="float32")
        self.units, self.seed, self.penalties = units, seed, []
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def add_table(self, shape: tuple[int, ...], axis: int, initializer: Any, each: int = 1, **kwargs) -> keras.Variable:
        """A weight with rows for each class, see `distributed.add_table`."""
        return distributed.add_table(self, shape, axis, initializer, each, **kwargs)

    def own_classes(self, scores: Tensor) -> Tensor:
        """Scores of a table that is filled up to the number of devices → of the classes there are."""
        return distributed.by_class(scores)[:, : self.units] if distributed.sharding() else scores

    def scores(self, embedding: Tensor) -> Tensor:
        """Embeddings (B, D) → scores (B, units)."""
        raise NotImplementedError

    def train_scores(self, embedding: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """(B, D), (N,) → scores, labels, in a step of training."""
        return self.scores(embedding), labels

    def call(self, embedding: Tensor, labels: Tensor | None = None, training: bool = False) -> Any:
        """Embeddings `(B, D)` → scores `(B, classes)`."""
        if training and labels is not None:
            return self.train_scores(embedding, labels)
        return self.scores(embedding) if labels is None else (self.scores(embedding), labels)

    def get_config(self) -> dict[str, Any]:
        regularizer = keras.regularizers.serialize(self.kernel_regularizer)
        return {"units": self.units, "name": self.name, "kernel_regularizer": regularizer, "seed": self.seed}
