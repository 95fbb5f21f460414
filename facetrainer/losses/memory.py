"""Pair losses against the embeddings of earlier batches."""

from typing import Any

import keras
from keras import ops

from facetrainer.losses.base import FaceLoss, register, sparse
from facetrainer.losses.pair import BatchAllTripletLoss, InOrder, PairLoss
from facetrainer.utils.tensors import Tensor, unit


def newest(*queues) -> None:
    """Puts rows behind those of a memory, whose first ones go.

    Args:
        *queues: `(weight, new rows)` each.
    """
    for memory, new in queues:
        memory.assign(ops.concatenate([ops.convert_to_tensor(memory), new], axis=0)[-memory.shape[0] :])


@register
class CrossBatchMemory(FaceLoss):
    """A pair loss whose positives and negatives are those of the batch and of the last batches: a batch of thousands at the price of one.

    Embeddings drift slowly: those of some hundred steps ago still serve. Begin with it once training has settled, in a second stage.

    Args:
        loss: Pair loss over cosines, such as `MultiSimilarityLoss()` or `SupConLoss()`, or how a file tells it.
        size: Embeddings that are remembered. Defaults to `4096`.

    Call arguments:
        labels: Integer tensor of shape `(batch,)`.
        embedding: Float tensor of shape `(batch, D)`.

    Returns:
        Float tensor of shape `(batch,)`.

    Raises:
        ValueError: The loss compares something else than the cosines of pairs.

    Reference:
        Wang et al., CVPR 2020, arXiv:1912.06798.
    """

    config, short, needs_groups = ("loss", "size"), "xbm", True

    def __init__(self, loss: PairLoss | dict, size: int = 4096):
        super().__init__()
        self.loss = keras.saving.deserialize_keras_object(loss) if isinstance(loss, dict) else loss
        self.size = size
        others = (BatchAllTripletLoss, InOrder)  # one compares triplets of a batch, the others rows by their places
        if not isinstance(self.loss, PairLoss) or isinstance(self.loss, others) or self.loss.distance != "cosine":
            raise ValueError(
                f"CrossBatchMemory: expected a pair loss over cosines, such as SupConLoss(). Received: {loss!r}"
            )

    def get_config(self) -> dict[str, Any]:
        return {"loss": keras.saving.serialize_keras_object(self.loss), "size": self.size}

    def fresh(self) -> "CrossBatchMemory":
        return type(self)(self.loss.fresh(), self.size)

    def describe(self) -> str:
        return f"CrossBatchMemory({self.loss.describe()}, size={self.size})"

    def remember(self, classes: int, emb_shape: int, teacher_shape: int) -> None:
        options = {"trainable": False, "aggregation": "only_first_replica"}
        self.embeddings = self.add_weight((self.size, emb_shape), "zeros", name="embeddings", **options)
        nobody = keras.initializers.Constant(-1)
        self.people = self.add_weight((self.size,), nobody, dtype="int32", name="people", **options)

    def call(self, labels: Tensor, embedding: Tensor, training: bool = False) -> Tensor:
        """A value for each sample, against the batch and the memory; in training the memory moves."""
        labels, direction = ops.cast(sparse(labels), "int32"), unit(embedding)
        close = ops.matmul(direction, ops.transpose(ops.concatenate([direction, self.embeddings], axis=0)))
        same, other = self.loss.masks(labels)
        people = ops.convert_to_tensor(self.people)
        known = people[None] >= 0
        before = labels[:, None] == people[None]
        same = ops.concatenate([same, before], axis=1)
        other = ops.concatenate([other, known & ops.logical_not(before)], axis=1)
        values = self.loss.per_anchor(close, same, other)
        if training:
            newest((self.embeddings, ops.stop_gradient(direction)), (self.people, labels))
        return values
