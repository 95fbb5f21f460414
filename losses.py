"""Named outputs and labels → one value per sample: the door to every loss.

A new loss is a class with `@register` in one of the families of `criteria/`; `get` finds it by its name.
"""

import difflib

import keras

from criteria.base import REGISTRY, FaceLoss, cross_entropy, register, sparse
from criteria.center import CenterLoss, CenterLossCosine
from criteria.distill import (
    DistillCosineLoss,
    DistillEuclideanLoss,
    DistillKLDivergenceLoss,
    DistillLoss,
    distiller_loss_cosine,
    distiller_loss_euclidean,
)
from criteria.margin import (
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
from criteria.pair import (
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
from criteria.softmax import KerasLoss, MarginSoftmax, SoftmaxLoss

__all__ = [
    "REGISTRY", "STRINGS", "AcrTripLoss", "AdaCosLoss", "AdaFaceLoss", "AirFaceLoss", "ArcBatchHardTripletLoss",
    "ArcfaceLoss", "ArcfaceLossSimple", "BatchAllTripletLoss", "BatchHardTripletLoss", "BatchHardTripletLossEuclidean",
    "BatchHardTripletLossEuclideanAutoAlpha", "CenterLoss", "CenterLossCosine", "CircleLoss", "CosFaceLoss",
    "CurricularFaceLoss", "DistillCosineLoss", "DistillEuclideanLoss", "DistillKLDivergenceLoss", "DistillLoss",
    "ElasticFaceLoss", "FaceLoss", "KerasLoss", "MagFaceLoss", "MarginLoss", "MarginSoftmax", "MultiSimilarityLoss",
    "NormFaceLoss", "OfflineArcTripletLoss", "OfflineTripletLoss", "PairLoss", "SemiHardTripletLoss",
    "SoftMarginTripletLoss", "SoftmaxLoss", "SphereFaceLoss", "SphereFaceRLoss", "SupConLoss", "TripletLoss",
    "TripletLossWapper", "cross_entropy", "distiller_loss_cosine", "distiller_loss_euclidean", "get", "register", "sparse",
]  # fmt: skip

TripletLossWapper = TripletLoss  # the seed's spelling

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
    "triplet": BatchHardTripletLoss,
    "circle": CircleLoss,
    "multi_similarity": MultiSimilarityLoss,
    "supcon": SupConLoss,
    "distill": DistillCosineLoss,
}
FUNCTIONS = {distiller_loss_cosine: DistillCosineLoss, distiller_loss_euclidean: DistillEuclideanLoss}


def get(loss) -> FaceLoss:
    """What stands under "loss" in a schedule → a FaceLoss.

    A FaceLoss or its class, the name of one, a Keras loss, or a function of (one-hot labels, probabilities).
    """
    if isinstance(loss, str):
        return _by_name(loss)
    if isinstance(loss, FaceLoss):
        return loss.fresh()
    if isinstance(loss, type) and issubclass(loss, (FaceLoss, keras.losses.Loss)):
        return get(loss())
    if isinstance(loss, (keras.losses.CategoricalCrossentropy, keras.losses.SparseCategoricalCrossentropy)):
        return SoftmaxLoss(loss.get_config().get("label_smoothing", 0))
    if callable(loss):
        return FUNCTIONS[loss]() if loss in FUNCTIONS else KerasLoss(loss)
    raise ValueError(f"expected a loss object, its class or its name. Received: {loss!r}")


def _by_name(name):
    known = {**REGISTRY, **STRINGS}
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(sorted(known))}."
        raise ValueError(f"unknown loss {name!r}. {hint}")
    return known[name]()
