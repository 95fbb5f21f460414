"""Named outputs and labels → one value per sample.

A new loss is a class with `@register`; `get` finds it by its name.
"""

from typing import Any

import keras

from facetrainer.losses.base import REGISTRY, FaceLoss, cross_entropy, register, slots, sparse
from facetrainer.losses.center import CenterLoss, CenterLossCosine, PrelogitsNormLoss
from facetrainer.losses.distillation import (
    AdaDistillLoss,
    DistillCosineLoss,
    DistillEuclideanLoss,
    DistillKLDivergenceLoss,
    DistillLoss,
    distiller_loss_cosine,
    distiller_loss_euclidean,
)
from facetrainer.losses.margin import (
    AdaCosLoss,
    AdaFaceLoss,
    AirFaceLoss,
    ArcfaceLoss,
    ArcfaceLossSimple,
    CosFaceLoss,
    CurricularFaceLoss,
    ElasticFaceLoss,
    MagFaceLoss,
    MarginLoss,
    NormFaceLoss,
    SphereFaceLoss,
    SphereFaceRLoss,
)
from facetrainer.losses.memory import CrossBatchMemory
from facetrainer.losses.pair import (
    AcrTripLoss,
    ArcBatchHardTripletLoss,
    BatchAllTripletLoss,
    BatchHardTripletLoss,
    BatchHardTripletLossEuclidean,
    BatchHardTripletLossEuclideanAutoAlpha,
    CircleLoss,
    MultiSimilarityLoss,
    OfflineArcTripletLoss,
    OfflineTripletLoss,
    PairLoss,
    SemiHardTripletLoss,
    SoftMarginTripletLoss,
    SupConLoss,
    TripletLoss,
)
from facetrainer.losses.sample_to_sample import USSLoss
from facetrainer.losses.semi_siamese import SemiSiameseLoss
from facetrainer.losses.softmax import KerasLoss, MarginSoftmax, SoftmaxLoss
from facetrainer.utils.text import unknown

__all__ = [
    "REGISTRY", "STRINGS", "AcrTripLoss", "AdaCosLoss", "AdaDistillLoss", "AdaFaceLoss", "AirFaceLoss", "ArcBatchHardTripletLoss",
    "ArcfaceLoss", "ArcfaceLossSimple", "BatchAllTripletLoss", "BatchHardTripletLoss", "BatchHardTripletLossEuclidean",
    "BatchHardTripletLossEuclideanAutoAlpha", "CenterLoss", "CenterLossCosine", "CircleLoss", "CosFaceLoss", "CrossBatchMemory",
    "CurricularFaceLoss", "DistillCosineLoss", "DistillEuclideanLoss", "DistillKLDivergenceLoss", "DistillLoss",
    "ElasticFaceLoss", "FaceLoss", "KerasLoss", "MagFaceLoss", "MarginLoss", "MarginSoftmax", "MultiSimilarityLoss",
    "NormFaceLoss", "OfflineArcTripletLoss", "OfflineTripletLoss", "PairLoss", "PrelogitsNormLoss",
    "SemiHardTripletLoss", "SemiSiameseLoss",
    "SoftMarginTripletLoss", "SoftmaxLoss", "SphereFaceLoss", "SphereFaceRLoss", "SupConLoss", "TripletLoss",
    "TripletLossWapper", "USSLoss", "cross_entropy", "distiller_loss_cosine", "distiller_loss_euclidean", "get", "over_cosines",
    "register", "slots", "sparse",
]  # fmt: skip

TripletLossWapper = TripletLoss  # Keras_insightface's spelling

STRINGS = {
    "softmax": SoftmaxLoss,
    "categorical_crossentropy": SoftmaxLoss,
    "sparse_categorical_crossentropy": SoftmaxLoss,
    "margin_softmax": MarginSoftmax,
    "arcface": ArcfaceLoss,
    "cosface": CosFaceLoss,
    "normface": NormFaceLoss,
    "airface": AirFaceLoss,
    "sphereface": SphereFaceLoss,
    "curricularface": CurricularFaceLoss,
    "adacos": AdaCosLoss,
    "adaface": AdaFaceLoss,
    "magface": MagFaceLoss,
    "elasticface": ElasticFaceLoss,
    "center": CenterLoss,
    "centerloss": CenterLoss,
    "prelogits_norm": PrelogitsNormLoss,
    "triplet": BatchHardTripletLoss,
    "circle": CircleLoss,
    "multi_similarity": MultiSimilarityLoss,
    "supcon": SupConLoss,
    "distill": DistillCosineLoss,
    "adadistill": AdaDistillLoss,
    "uss": USSLoss,
    "semi_siamese": SemiSiameseLoss,
}
FUNCTIONS = {distiller_loss_cosine: DistillCosineLoss, distiller_loss_euclidean: DistillEuclideanLoss}


def get(loss: Any) -> FaceLoss:
    """What stands under "loss" in a schedule → a `FaceLoss` of its own.

    Args:
        loss: A `FaceLoss` or its class, the name of one, a Keras loss, or a function of one-hot labels and probabilities.

    Returns:
        A loss without weights; the object in the schedule stays as it is. Keras's own categorical cross-entropies become
        `SoftmaxLoss`, subclasses of them and all others `KerasLoss`.

    Raises:
        ValueError: Nothing of this kind is known.
    """
    if isinstance(loss, str):
        return _by_name(loss)
    if isinstance(loss, FaceLoss):
        return loss.fresh()
    if isinstance(loss, type) and issubclass(loss, (FaceLoss, keras.losses.Loss)):
        return get(loss())
    if type(loss) in (keras.losses.CategoricalCrossentropy, keras.losses.SparseCategoricalCrossentropy):
        return SoftmaxLoss(loss.get_config().get("label_smoothing", 0))
    if callable(loss):
        return FUNCTIONS[loss]() if loss in FUNCTIONS else KerasLoss(loss)
    raise ValueError(f"expected a loss object, its class or its name. Received: {loss!r}")


def over_cosines(loss: Any) -> FaceLoss:
    """The same for a stage with `"type": "arcface"`: a loss of Keras or a function over the cosines to the class centers.

    Args:
        loss: As for `get`.

    Returns:
        `NormFaceLoss` with scale 1 for Keras's categorical cross-entropies, `KerasLoss` over the cosines for other losses of
        Keras and for functions, else what `get` returns.
    """
    found = get(loss)
    if isinstance(found, SoftmaxLoss) and not isinstance(loss, (str, FaceLoss, type)):
        return NormFaceLoss(1.0, label_smoothing=found.label_smoothing)
    return KerasLoss(found.loss, over="cosine") if isinstance(found, KerasLoss) else found


def _by_name(name):
    known = {**REGISTRY, **STRINGS}
    if name not in known:
        raise ValueError(unknown("loss", name, known))
    return known[name]()
