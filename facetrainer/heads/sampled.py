"""Cosines to a sample of the classes (Partial FC)."""

import keras
from keras import ops

from facetrainer import distributed
from facetrainer.heads import sharded
from facetrainer.heads.cosine import NormDense, cosines


def take_rows(table, rows):
    """Rows of a weight. TensorFlow can read them alone; reading the weight first would have each update copy all of it."""
    read = getattr(table.value, "sparse_read", None)
    return ops.take(table, rows, axis=0) if read is None else read(rows)


@keras.saving.register_keras_serializable("face")
class PartialNormDense(NormDense):
    """`NormDense` that trains on a part of the classes: those in the batch and others drawn anew in each step.

    A step sees max(⌊sample_rate · units⌋, labels in the batch) classes, all sub-centers of each; the table is (units ·
    loss_top_k, D), so that on TensorFlow its gradient is the drawn rows alone. Weight decay touches the drawn rows only. Accuracy
    in the logs is among the drawn classes. Outside training all classes count. Where classes are split over devices each draws
    from its own, as many as the batch has labels at the least. An et al., CVPR 2022, arXiv:2203.15565, section 3.2.
    """

    rows = True

    def __init__(self, units=1000, kernel_regularizer=None, loss_top_k=1, sample_rate=0.1, name="arcface", seed=None):
        super().__init__(units, kernel_regularizer, loss_top_k, name=name, seed=seed)
        if not 0 < sample_rate <= 1:
            raise ValueError(f"PartialNormDense: sample_rate must be above 0 and at most 1. Received: {sample_rate!r}")
        self.sample_rate, self.generator = sample_rate, keras.random.SeedGenerator(seed or 0)

    def get_config(self):
        return {**super().get_config(), "sample_rate": self.sample_rate}

    def sample_size(self, labels: int) -> int:
        """How many classes a step with so many labels sees."""
        return min(max(int(self.sample_rate * self.units), labels), self.units)

    def draw(self, labels):
        """(N,) → sorted class ids, among them every label."""
        luck = keras.random.uniform((self.units,), seed=self.generator)
        luck = ops.scatter_update(luck, labels[:, None], ops.full(ops.shape(labels), 2.0))
        return ops.sort(ops.top_k(luck, self.sample_size(labels.shape[0]), sorted=False)[1])

    def train_scores(self, embedding, labels):
        if distributed.sharding():
            scores, columns, penalty, _ = sharded.sampled(self, embedding, labels)
            self.penalties = [] if self.kernel_regularizer is None else [penalty]
            return scores, columns
        drawn = self.draw(labels)
        table = take_rows(self.kernel, self.rows_of(drawn))
        self.penalties = [] if self.kernel_regularizer is None else [self.kernel_regularizer(table)]
        return self.nearest(cosines(embedding, table, axis=1)), ops.searchsorted(drawn, labels)

    def rows_of(self, drawn):
        """Rows of the table of some classes."""
        k = self.loss_top_k
        return drawn if k == 1 else ops.reshape(drawn[:, None] * k + ops.arange(k, dtype=drawn.dtype), (-1,))
