"""Losses that pull embeddings to a moving center of their class."""

import logging
from typing import Any

import keras
from keras import ops

from facetrainer import distributed
from facetrainer.io import cached
from facetrainer.losses.base import FaceLoss, over_replicas, register, sparse
from facetrainer.utils.tensors import Tensor, unit

log = logging.getLogger("facetrainer")


@register
class CenterLoss(FaceLoss):
    """Center loss: ½‖x − c‖² to the moving center of the sample's class.

    In training each center of the batch moves by α · Σ(x − c) / (1 + n).

    Args:
        num_classes: How many; found by the trainer unless given, and no more than there are people. Defaults to `None`.
        emb_shape: Width of the embedding; found by the trainer unless given. Defaults to `None`.
        alpha: How far a center moves to the mean of its samples. Defaults to `0.5`.
        initial_file: `.npy` of centers to begin with. Defaults to `None`.

    Reference:
        Wen et al., ECCV 2016, eq. 2–4.
    """

    config, short = ("num_classes", "emb_shape", "alpha"), "center"
    class_axes = {"centers": 0}

    def __init__(
        self,
        num_classes: int | None = None,
        emb_shape: int | None = None,
        alpha: float = 0.5,
        initial_file: str | None = None,
    ):
        super().__init__()
        self.num_classes, self.emb_shape, self.alpha = num_classes, emb_shape, alpha
        self.initial_file = initial_file

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "CenterLoss":
        """A model file holds the centers themselves: what file they once came from is not read again."""
        return cls(**{key: value for key, value in config.items() if key != "initial_file"})

    def fresh(self) -> "CenterLoss":
        copy = super().fresh()
        copy.initial_file = self.initial_file
        return copy

    def remember(self, classes: int, emb_shape: int, teacher_shape: int) -> None:
        if self.emb_shape not in (None, emb_shape) or (self.num_classes or classes) < classes:
            raise ValueError(
                f"{type(self).__name__}: the data and the model have num_classes={classes}, emb_shape={emb_shape}. Received: "
                f"{self.num_classes}, {self.emb_shape}. Leave both out to have them set."
            )
        if self.num_classes not in (None, classes):
            log.warning("%s: num_classes is %d, as in the data, not %d", type(self).__name__, classes, self.num_classes)
        initial = self._stored((classes, emb_shape)) if self.initial_file else "zeros"
        self.centers = distributed.add_table(
            self, (classes, emb_shape), 0, initial, trainable=False, name="centers", aggregation="mean"
        )

    def _stored(self, shape):
        stored = cached.read_npy(self.initial_file)
        if stored.shape != shape:
            raise ValueError(f"{self.initial_file}: expected centers {shape}. Received: {stored.shape}")
        return keras.initializers.Constant(stored)

    def call(self, labels: Tensor, embedding: Tensor, training: bool = False) -> Tensor:
        """A value for each sample; in training the centers move."""
        labels = sparse(labels)
        centers = ops.take(self.centers, labels, axis=0)
        if training:
            self._move(*over_replicas(labels, ops.stop_gradient(embedding)))
        return self.distance(embedding, centers)

    def distance(self, embedding: Tensor, centers: Tensor) -> Tensor:
        """Embeddings and centers, (B, D) each, → (B,)."""
        return 0.5 * ops.sum(ops.square(embedding - centers), axis=-1)

    def _move(self, labels, embedding):
        """Samples of one class all write the same row, so that the order of writing does not matter."""
        centers = ops.take(self.centers, labels, axis=0)
        away = embedding - centers
        same = ops.cast(labels[:, None] == labels[None], "float32")
        step = self.alpha * ops.matmul(same, away) / (1.0 + ops.sum(same, axis=1, keepdims=True))
        self.centers.assign(ops.scatter_update(self.centers, labels[:, None], centers + step))


@register
class CenterLossCosine(CenterLoss):
    """Center loss by angle: 1 − cos(x, c) to the moving center of the sample's class.

    Args:
        num_classes: How many; found by the trainer unless given, and no more than there are people. Defaults to `None`.
        emb_shape: Width of the embedding; found by the trainer unless given. Defaults to `None`.
        alpha: How far a center moves to the mean of its samples. Defaults to `0.5`.
        initial_file: `.npy` of centers to begin with. Defaults to `None`.
    """

    def distance(self, embedding: Tensor, centers: Tensor) -> Tensor:
        return 1.0 - ops.sum(unit(embedding) * unit(centers), axis=-1)


@register
class PrelogitsNormLoss(FaceLoss):
    """The p-norm of the embedding, Σ(|xᵢ| + 1e-4) at p = 1; facenet's `prelogits_norm_loss_factor`.

    In a stage `"prelogits_norm_loss_factor": 5e-4` is its weight.

    Args:
        p: Which norm. Defaults to `1.0`.
    """

    config, short = ("p",), "prelogits_norm"

    def __init__(self, p: float = 1.0):
        super().__init__()
        self.p = float(p)

    def call(self, labels: Tensor, embedding: Tensor, training: bool = False) -> Tensor:
        """A value for each sample."""
        return ops.sum((ops.abs(embedding) + 1e-4) ** self.p, axis=-1) ** (1.0 / self.p)
