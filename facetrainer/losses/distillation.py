"""Losses that draw a student's embeddings to a teacher's."""

from keras import ops

from facetrainer.losses.base import FaceLoss, register
from facetrainer.utils.tensors import unit


def distiller_loss_cosine(true_emb, pred_emb):
    """1 − cos(teacher, student).  (B, D), (B, D) → (B,); teacher values that are not finite count as 0."""
    true_emb = ops.where(ops.isfinite(true_emb), true_emb, 0.0)
    return 1.0 - ops.sum(unit(true_emb) * unit(pred_emb), axis=-1)


def distiller_loss_euclidean(true_emb, pred_emb):
    """‖teacher − student‖².  (B, D), (B, D) → (B,); teacher values that are not finite count as 0."""
    true_emb = ops.where(ops.isfinite(true_emb), true_emb, 0.0)
    return ops.sum(ops.square(pred_emb - true_emb), axis=-1)


class DistillLoss(FaceLoss):
    """Template: a distance between the teacher's embedding and the student's.  (B,), (B, D), (B, T) → (B,)

    Where the widths differ, a trained map D → T stands between, as Keras_insightface's `distill_emb_map_layer` did; it
    belongs to the loss and is no part of the basic model.
    """

    reads, short = ("embedding", "teacher"), "distill"

    def remember(self, classes, emb_shape, teacher_shape):
        if teacher_shape not in (0, emb_shape):
            self.map = self.add_weight((emb_shape, teacher_shape), "glorot_uniform", name="distill_emb_map")

    def call(self, labels, embedding, teacher, training=False):
        if embedding.shape[-1] != teacher.shape[-1]:
            if not hasattr(self, "map"):
                raise ValueError(
                    f"{type(self).__name__}: the teacher's embeddings have {teacher.shape[-1]} values, the model's "
                    f"{embedding.shape[-1]}. Call attach(classes, {embedding.shape[-1]}, {teacher.shape[-1]}) first."
                )
            embedding = ops.matmul(embedding, self.map)
        return self.distance(teacher, embedding)

    def distance(self, teacher, embedding):
        """(B, T), (B, T) → (B,)"""
        raise NotImplementedError


@register
class DistillCosineLoss(DistillLoss):
    """`distiller_loss_cosine` as a loss of a stage.  (B,), (B, D), (B, T) → (B,)"""

    def distance(self, teacher, embedding):
        return distiller_loss_cosine(teacher, embedding)


@register
class DistillEuclideanLoss(DistillLoss):
    """`distiller_loss_euclidean` as a loss of a stage.  (B,), (B, D), (B, T) → (B,)"""

    def distance(self, teacher, embedding):
        return distiller_loss_euclidean(teacher, embedding)


@register
class DistillKLDivergenceLoss(FaceLoss):
    """KL(softmax(k · teacher's cosines) ‖ softmax(k · student's)), k = `scale`.  Hinton et al., arXiv:1503.02531, eq. 1.

    over="batch": cosines between the images of a batch, of whatever widths the two embeddings are; each anchor's
        distribution over the other images. (B,), (B, D), (B, T) → (B,)
    over="classes": the student's cosines to the class centers, and a teacher that gives cosines to the same C classes.
        (B,), (B, C), (B, C) → (B,)
    """

    config, short = ("scale", "over"), "distill"

    def __init__(self, scale: float = 10.0, over: str = "batch"):
        super().__init__()
        if over not in ("batch", "classes"):
            raise ValueError(f"DistillKLDivergenceLoss: expected over='batch' or 'classes'. Received: {over!r}")
        self.scale, self.over = scale, over
        self.reads = ("embedding" if over == "batch" else "cosine", "teacher")
        self.head = None if over == "batch" else "arcface"

    def call(self, labels, student, teacher, training=False):
        if self.over == "batch":
            return self.divergence(*(_among(x) for x in (teacher, student)))
        if teacher.shape[-1] != student.shape[-1]:
            raise ValueError(
                f"DistillKLDivergenceLoss(over='classes'): the teacher gives {teacher.shape[-1]} values, the data have "
                f"{student.shape[-1]} classes. Use over='batch' for a teacher that gives embeddings."
            )
        return self.divergence(teacher, student)

    def divergence(self, teacher, student):
        """(B, N), (B, N) → (B,)"""
        p, q = (ops.log_softmax(self.scale * x, axis=-1) for x in (teacher, student))
        return ops.sum(ops.exp(p) * (p - q), axis=-1)


def _among(embedding):
    """Cosines to the other images of the batch; the image itself is put out of play."""
    direction = unit(embedding)
    cosine = ops.matmul(direction, ops.transpose(direction))
    return ops.where(ops.eye(ops.shape(embedding)[0], dtype="bool"), -1e4, cosine)
