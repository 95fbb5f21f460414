"""Basic models (image → embedding), `FaceModel` (basic model, head and losses), surgery, saving."""

from facetrainer.backbones.patterns import LocalBinaryPatterns, with_patterns
from facetrainer.backbones.surgery import (
    AconC,
    add_l2_regularizer_2_model,
    convert_mixed_float16_to_float32,
    convert_to_batch_renorm,
    convert_to_mixed_float16,
    replace_add_with_stochastic_depth,
    replace_ReLU_with_PReLU,
    replace_stochastic_depth_with_add,
)
from facetrainer.heads import NormDense, NormDenseVPL, PartialNormDense, SoftmaxHead
from facetrainer.models.builder import buildin_models, print_buildin_models
from facetrainer.models.face_model import FaceModel
from facetrainer.models.saving import load, save, split
from facetrainer.weights.importers import import_weights

__all__ = [
    "AconC", "FaceModel", "LocalBinaryPatterns", "NormDense", "NormDenseVPL", "PartialNormDense", "SoftmaxHead",
    "add_l2_regularizer_2_model",
    "buildin_models", "convert_mixed_float16_to_float32", "convert_to_batch_renorm", "convert_to_mixed_float16", "import_weights",
    "load", "print_buildin_models", "replace_ReLU_with_PReLU", "replace_add_with_stochastic_depth",
    "replace_stochastic_depth_with_add", "save", "split", "with_patterns",
]  # fmt: skip
