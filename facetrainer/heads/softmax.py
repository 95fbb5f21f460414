"""Logits over the classes."""

from collections.abc import Sequence

import keras
from keras import ops

from facetrainer.heads.base import Head
from facetrainer.utils.tensors import Tensor


@keras.saving.register_keras_serializable("face")
class SoftmaxHead(Head):
    """Logits x·W + b.

    Args:
        units: Classes. Defaults to `1000`.
        name: Of the layer. Defaults to `"softmax_logits"`.
        kernel_regularizer: Of W; None for none. Defaults to `None`.
        seed: Of the initial weights; None draws one. Defaults to `None`.
    """

    gives = "logits"
    class_axes = {"kernel": 1, "bias": 0}

    def __init__(
        self,
        units: int = 1000,
        name: str = "softmax_logits",
        kernel_regularizer: keras.regularizers.Regularizer | str | dict | None = None,
        seed: int | None = None,
    ):
        super().__init__(units, name, kernel_regularizer, seed)

    def build(self, shape: Sequence[int | None]) -> None:
        """Kernel `(D, classes)` and bias."""
        initial = keras.initializers.GlorotUniform(self.seed)
        self.kernel = self.add_table(
            (shape[-1], self.units), 1, initial, regularizer=self.kernel_regularizer, name="kernel"
        )
        self.bias = self.add_table((self.units,), 0, "zeros", name="bias")

    def scores(self, embedding: Tensor) -> Tensor:
        return self.own_classes(ops.matmul(embedding, self.kernel) + self.bias)
