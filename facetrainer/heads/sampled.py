"""Cosines to a sample of the classes (Partial FC)."""

from typing import Any

import keras
from keras import ops

from facetrainer import distributed
from facetrainer.heads import drawing, sharded
from facetrainer.heads.cosine import NormDense, cosines
from facetrainer.utils.tensors import Tensor


def take_rows(table, rows):
    """Rows of a weight. TensorFlow can read them alone; reading the weight first would have each update copy all of it."""
    read = getattr(getattr(table, "value", None), "sparse_read", None)
    return ops.take(table, rows, axis=0) if read is None else read(rows)


def put_rows(table, rows, values):
    """A JAX array with other values in some rows, which are sorted and all different."""
    return table.at[rows].set(values, unique_indices=True, indices_are_sorted=True)


@keras.saving.register_keras_serializable("face")
class PartialNormDense(NormDense):
    """`NormDense` that trains on a part of the classes: those in the batch and others drawn anew in each step.

    A step sees max(⌊sample_rate · units⌋, labels in the batch) classes, all sub-centers of each; the table is (units ·
    loss_top_k, D), so that its gradient is the drawn rows alone. On JAX the optimizer moves nothing but these rows and their
    momentum; on TensorFlow momentum goes on moving the others. Weight decay touches the drawn rows only. Accuracy in the logs is
    among the drawn classes. Outside training all classes count. Where classes are split over devices each draws from its own, as
    many as the batch has labels at the least.

    Args:
        units: Classes. Defaults to `1000`.
        kernel_regularizer: Of the centers; None for none. Defaults to `None`.
        loss_top_k: Sub-centers a class; the nearest counts. Defaults to `1`.
        sample_rate: Part of the classes that a step trains on. Defaults to `0.1`.
        name: Of the layer. Defaults to `"arcface"`.
        seed: Of the initial weights; None draws one. Defaults to `None`.

    Reference:
        An et al., CVPR 2022, arXiv:2203.15565, section 3.2.
    """

    rows = True

    def __init__(
        self,
        units: int = 1000,
        kernel_regularizer: keras.regularizers.Regularizer | str | dict | None = None,
        loss_top_k: int = 1,
        sample_rate: float = 0.1,
        name: str = "arcface",
        seed: int | None = None,
    ):
        super().__init__(units, kernel_regularizer, loss_top_k, name=name, seed=seed)
        if not 0 < sample_rate <= 1:
            raise ValueError(f"PartialNormDense: sample_rate must be above 0 and at most 1. Received: {sample_rate!r}")
        self.sample_rate, self.generator, self.given = sample_rate, keras.random.SeedGenerator(seed or 0), None

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "sample_rate": self.sample_rate}

    def sample_size(self, labels: int) -> int:
        """How many classes a step with so many labels sees."""
        return min(max(int(self.sample_rate * self.units), labels), self.units)

    def draw(self, labels: Tensor) -> Tensor:
        """(N,) → sorted class ids, among them every label; where classes are split over devices see `sharded.draw`."""
        labels = ops.cast(labels, "int32")
        if distributed.sharding():
            return sharded.draw(self, labels)
        functions = drawing.functions(self.units, self.generator)[0]
        return drawing.drawn(labels, functions, self.sample_size(labels.shape[0]), self.units)

    def call(self, embedding: Tensor, labels: Tensor | None = None, training: bool = False) -> Any:
        """As of every head; while `given` are the drawn classes and the table is their rows, scores are of them in any case."""
        return super().call(embedding, labels, training=training or self.given is not None)

    def train_scores(self, embedding: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        drawn, table = self.given, self.kernel
        if drawn is None:
            drawn = self.draw(labels)
            table = self.rows_at(self.kernel, drawn)
        self.penalties = [] if self.kernel_regularizer is None else [self.kernel_regularizer(table)]
        scores = self.nearest(cosines(embedding, table, axis=1))
        if not distributed.sharding():
            return scores, ops.searchsorted(drawn, ops.cast(labels, drawn.dtype))
        _, classes = sharded.sample_size(self, labels.shape[0])
        return distributed.by_class(scores)[:, :classes], sharded.columns(self, drawn, labels)

    def rows_at(self, table: Tensor, drawn: Tensor) -> Tensor:
        """Rows of drawn classes, of the table or of what is as long as it."""
        rows = self.rows_of(drawn)
        return sharded.rows(ops.convert_to_tensor(table), rows) if distributed.sharding() else take_rows(table, rows)

    def with_rows_at(self, table: Tensor, drawn: Tensor, values: Tensor) -> Tensor:
        """The table with other values in the rows of drawn classes."""
        rows = self.rows_of(drawn)
        return sharded.with_rows(table, rows, values) if distributed.sharding() else put_rows(table, rows, values)

    def rows_of(self, drawn: Tensor) -> Tensor:
        """Rows of the table of some classes."""
        k = self.loss_top_k
        return drawn if k == 1 else ops.reshape(drawn[:, None] * k + ops.arange(k, dtype=drawn.dtype), (-1,))
