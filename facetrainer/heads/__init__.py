"""Embedding → one score a class: what the losses over logits and cosines read."""

from facetrainer.heads.base import Head
from facetrainer.heads.cosine import NormDense, cosines
from facetrainer.heads.sampled import PartialNormDense
from facetrainer.heads.softmax import SoftmaxHead
from facetrainer.heads.vpl import NormDenseVPL

__all__ = ["Head", "NormDense", "NormDenseVPL", "PartialNormDense", "SoftmaxHead", "cosines"]
