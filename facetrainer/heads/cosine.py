"""Cosines to the centers of the classes."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from facetrainer import distributed
from facetrainer.heads.base import Head
from facetrainer.utils.tensors import Tensor, unit


def cosines(embedding: Tensor, kernel: Tensor, axis: int = 0) -> Tensor:
    """Cosines between embeddings and centers.

    The scores are divided by the centers' norms, not the centers: the table may be a thousand times larger than the scores.

    Args:
        embedding: `(B, D)`.
        kernel: Centers `(D, C)`, or `(C, D)` with `axis=1`.
        axis: That of the embedding's width. Defaults to `0`.

    Returns:
        `(B, C)`.
    """
    square = ops.sum(ops.square(kernel), axis=axis)
    direction = unit(embedding)
    return ops.matmul(direction, kernel if axis == 0 else ops.transpose(kernel)) * ops.rsqrt(ops.maximum(square, 1e-20))


@keras.saving.register_keras_serializable("face")
class NormDense(Head):
    """Cosines between the embedding and each class's center.

    (B, D) → (B, units). Weight "norm_dense_w" (D, units · loss_top_k).

    Args:
        units: Classes. Defaults to `1000`.
        kernel_regularizer: Of the centers; None for none. Defaults to `None`.
        loss_top_k: Sub-centers a class; the nearest counts. Defaults to `1`.
        append_norm: Refused unless false: losses read the length by name. Defaults to `False`.
        partial_fc_split: Refused unless 0; use `PartialNormDense`. Defaults to `0`.
        name: Of the layer. Defaults to `"arcface"`.
        seed: Of the initial weights; None draws one. Defaults to `None`.

    Reference:
        Sub-centers: Deng et al., ECCV 2020, eq. 2.
    """

    gives = "cosine"
    rows = False  # whether the table is (centers, D)
    class_axes = {"norm_dense_w": 1, "norm_dense_rows": 0}

    def __init__(
        self,
        units: int = 1000,
        kernel_regularizer: keras.regularizers.Regularizer | str | dict | None = None,
        loss_top_k: int = 1,
        append_norm: bool = False,
        partial_fc_split: float = 0,
        name: str = "arcface",
        seed: int | None = None,
    ):
        super().__init__(units, name, kernel_regularizer, seed)
        if append_norm or partial_fc_split:
            raise ValueError(
                "NormDense: append_norm is not needed, losses read the norm by name; partial_fc_split is not supported, "
                "Train's partial_fc_sample_rate (PartialNormDense) replaces it. Leave both out."
            )
        self.loss_top_k = loss_top_k

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "loss_top_k": self.loss_top_k}

    def build(self, shape: Sequence[int | None]) -> None:
        """One row a center, `(D, classes · sub-centers)`."""
        table = (shape[-1], self.units * self.loss_top_k)
        self.kernel = self.add_table(
            table[::-1] if self.rows else table,
            0 if self.rows else 1,
            keras.initializers.RandomNormal(stddev=0.01, seed=self.seed),
            each=self.loss_top_k,
            regularizer=None if self.rows else self.kernel_regularizer,
            name="norm_dense_rows" if self.rows else "norm_dense_w",
        )

    def scores(self, embedding: Tensor) -> Tensor:
        return self.own_classes(self.nearest(cosines(embedding, self.kernel, axis=int(self.rows))))

    def nearest(self, cosine: Tensor) -> Tensor:
        """Cosines of all sub-centers (B, n · K) → of each class's nearest (B, n)."""
        if self.loss_top_k == 1:
            return cosine
        return ops.max(ops.reshape(cosine, (-1, cosine.shape[-1] // self.loss_top_k, self.loss_top_k)), axis=-1)

    def set_centers(self, directions: Tensor) -> None:
        """Each class's center points that way, `(units, D)`, as long as it is when it is made."""
        table = 0.01 * directions.shape[1] ** 0.5 * directions
        distributed.assign(self.kernel, (table if self.rows else table.T).astype("float32"))

    def centers(self) -> Tensor:
        """(units, loss_top_k, D), not normalised."""
        table = self.kernel if self.rows else ops.transpose(self.kernel)
        return ops.reshape(table[: self.units * self.loss_top_k], (self.units, self.loss_top_k, -1))
