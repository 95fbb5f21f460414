"""Cosines to centers mixed with remembered embeddings (VPL)."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from facetrainer.heads.cosine import NormDense, cosines
from facetrainer.utils.tensors import Tensor, last_rows, unit


@keras.saving.register_keras_serializable("face")
class NormDenseVPL(NormDense):
    """`NormDense` whose centers are mixed in training with the last embedding seen of each class.

    From step `start_iters` on a center is (1 − λ) · center + λ · embedding. On several devices the first one's images are remembered.

    Args:
        batch_size: Not needed any more. Defaults to `None`.
        units: Classes. Defaults to `1000`.
        kernel_regularizer: Of the centers; None for none. Defaults to `None`.
        vpl_lambda: λ, the embedding's share in a center. Defaults to `0.15`.
        start_iters: First step that mixes. Defaults to `8000`.
        allowed_delta: Steps that an embedding is remembered. Defaults to `200`.
        name: Of the layer. Defaults to `"arcface"`.
        seed: Of the initial weights; None draws one. Defaults to `None`.

    Reference:
        Deng et al., CVPR 2021, "Variational Prototype Learning for Deep Face Recognition", eq. 7.
    """

    by_image = False
    class_axes = {**NormDense.class_axes, "vpl_queue": 0, "vpl_seen": 0}

    def __init__(
        self,
        batch_size: int | None = None,
        units: int = 1000,
        kernel_regularizer: keras.regularizers.Regularizer | str | dict | None = None,
        vpl_lambda: float = 0.15,
        start_iters: int = 8000,
        allowed_delta: int = 200,
        name: str = "arcface",
        seed: int | None = None,
    ):
        super().__init__(units, kernel_regularizer, name=name, seed=seed)
        self.vpl_lambda, self.start_iters, self.allowed_delta = vpl_lambda, start_iters, allowed_delta

    def get_config(self) -> dict[str, Any]:
        config = {key: value for key, value in super().get_config().items() if key != "loss_top_k"}
        own = {name: getattr(self, name) for name in ("vpl_lambda", "start_iters", "allowed_delta")}
        return {**config, **own}

    def build(self, shape: Sequence[int | None]) -> None:
        """Centers, and the queue of the last embedding of each person."""
        super().build(shape)
        options = {"trainable": False, "aggregation": "only_first_replica"}
        never = keras.initializers.Constant(-1e9)
        self.queue = self.add_table((self.units, shape[-1]), 0, "zeros", name="vpl_queue", **options)
        self.seen = self.add_table((self.units,), 0, never, name="vpl_seen", **options)
        self.step = self.add_weight((), "zeros", name="vpl_step", **options)

    def train_scores(self, embedding: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        direction = unit(embedding)
        fresh = ops.logical_and(self.step - self.seen <= self.allowed_delta, self.step >= self.start_iters)
        share = self.vpl_lambda * ops.cast(fresh, "float32")
        centers = unit(self.kernel, axis=0) * (1 - share) + ops.transpose(self.queue) * share
        cosine = self.own_classes(cosines(embedding, centers))
        self._remember(ops.stop_gradient(direction), labels)
        return cosine, labels

    def _remember(self, direction, labels):
        rows = ops.take(direction, last_rows(labels), axis=0)
        self.queue.assign(ops.scatter_update(self.queue, labels[:, None], rows))
        self.seen.assign(ops.scatter_update(self.seen, labels[:, None], ops.zeros(labels.shape) + self.step))
        self.step.assign(self.step + 1.0)
