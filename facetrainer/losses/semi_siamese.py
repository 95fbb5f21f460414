"""Semi-siamese training, for people with two images or a few."""

import keras
from keras import ops

from facetrainer.losses.base import FaceLoss, cross_entropy, register, sparse
from facetrainer.losses.memory import newest
from facetrainer.utils.tensors import Tensor, unit


@register
class SemiSiameseLoss(FaceLoss):
    """Softmax with a margin among prototypes that a slower network makes of other images; no head is trained.

    The gallery network has running means of the trained one's weights. An image's own prototype is the gallery's embedding of another image
    of its person in the batch, the others are those of the batch's other people and of a queue of earlier ones. An image without a second
    one counts 0. `FaceModel` makes the gallery network; its batch normalisation uses the running statistics, where the authors' uses those
    of shuffled batches.

    Args:
        margin: Subtracted from the own prototype's cosine. Defaults to `0.35`.
        scale: Of the cosines. Defaults to `32.0`.
        size: Prototypes that the queue holds. Defaults to `16384`.
        momentum: Of the gallery network's weights. Defaults to `0.999`.

    Call arguments:
        labels: Integer tensor of shape `(batch,)`.
        embedding: Float tensor of shape `(batch, D)`.
        gallery: The slower network's embeddings of the same images, of the same shape.

    Returns:
        Float tensor of shape `(batch,)`.

    Reference:
        Du et al., ECCV 2020, arXiv:2007.08398.
    """

    config, short, needs_groups = ("margin", "scale", "size", "momentum"), "semi_siamese", True
    reads = ("embedding", "gallery")

    def __init__(self, margin: float = 0.35, scale: float = 32.0, size: int = 16384, momentum: float = 0.999):
        super().__init__()
        self.margin, self.scale, self.size, self.momentum = margin, scale, size, momentum

    def remember(self, classes: int, emb_shape: int, teacher_shape: int) -> None:
        options = {"trainable": False, "aggregation": "only_first_replica"}
        self.prototypes = self.add_weight((self.size, emb_shape), "zeros", name="prototypes", **options)
        nobody = keras.initializers.Constant(-1)
        self.people = self.add_weight((self.size,), nobody, dtype="int32", name="people", **options)

    def call(self, labels: Tensor, embedding: Tensor, gallery: Tensor, training: bool = False) -> Tensor:
        """A value for each sample; in training the queue of prototypes moves."""
        labels, gallery = ops.cast(sparse(labels), "int32"), unit(ops.stop_gradient(gallery))
        everybody = ops.concatenate([gallery, self.prototypes], axis=0)
        close = ops.matmul(unit(embedding), ops.transpose(everybody))
        people = ops.concatenate([labels, ops.convert_to_tensor(self.people)])
        other = (people[None] >= 0) & (labels[:, None] != people[None])
        own, has = self._own(labels, close)
        negative = ops.where(other, self.scale * close, -1e9)
        scores = ops.concatenate([self.scale * (own - self.margin)[:, None], negative], axis=1)
        values = ops.where(has, cross_entropy(ops.zeros_like(labels), scores), 0.0)
        if training:
            newest((self.prototypes, gallery), (self.people, labels))
        return values

    def _own(self, labels, close):
        """Mean cosine to the prototypes of the person's other images in the batch, and whether there are any."""
        size = labels.shape[0]
        same = (labels[:, None] == labels[None]) & ops.logical_not(ops.eye(size, dtype="bool"))
        same = ops.cast(same, "float32")
        count = ops.sum(same, axis=1)
        return ops.sum(same * close[:, :size], axis=1) / ops.maximum(count, 1.0), count > 0
