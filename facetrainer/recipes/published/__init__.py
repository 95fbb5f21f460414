"""Recipes as others have published them, a file each: source, data, settings to the digit, and what they report.

    facetrainer recipes                              all of them, with what is expected
    FACE_DATA=/datasets facetrainer train ms1mv3_r50

`FACE_DATA` is the folder in which the training set lies, under the name that the recipe gives; with `lfw.bin`, `cfp_fp.bin` and
`agedb_30.bin` in it those are evaluated. Rates are for the published batch: on other devices, or with `--set batch_size=128`, those of
sources that scale with the batch follow it.
"""

from __future__ import annotations

import dataclasses
import os

import keras

from facetrainer import distributed, losses, models


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """What a source states.

    Attributes:
        source: Project, file and commit, or paper.
        data: Training set, the folder in `FACE_DATA`.
        images: Of the training set.
        identities: Of the training set.
        batch: Images of a step, of all devices together.
        results: Numbers by what they are of, in percent unless their name says otherwise; `{}` where none are published.
        hours: Time and machine, where published.
    """

    source: str
    data: str
    images: int
    identities: int
    batch: int
    results: dict[str, float]
    hours: str = ""


def setting(published: Published, name: str, scales: bool = False) -> dict:
    """Keywords of `Train` that every recipe shares.

    Args:
        published: What the source states.
        name: Of the run's files.
        scales: Whether the source's rate follows the batch. Defaults to `False`.

    Returns:
        `data_path`, `eval_paths`, `save_path`, `batch_size` of each device, and `lr_batch`.
    """
    data_path = os.path.join(os.environ.get("FACE_DATA", "."), published.data)
    bins = [os.path.join(data_path, one) for one in ("lfw.bin", "cfp_fp.bin", "agedb_30.bin")]
    devices = distributed.strategy().num_replicas_in_sync
    return {
        "published": published,
        "data_path": data_path,
        "eval_paths": [one for one in bins if os.path.exists(one)],
        "save_path": f"{name}.keras",
        "batch_size": max(published.batch // devices, 1),
        "lr_batch": published.batch if scales else 0,
    }


INSIGHTFACE = "deepinsight/insightface 7fadd420, recognition/arcface_torch/configs/{}.py"


def arcface_torch(
    config: str, data: str, images: int, identities: int, network: str, margin_list: tuple[float, float, float], lr: float,
    weight_decay: float, batch_size: int, gpus: int, num_epoch: int, results: dict, warmup_epoch: int = 0, sample_rate: float = 1.0,
    interclass_filtering_threshold: float = 0.0, optimizer: str = "sgd", gradient_acc: int = 1, hours: str = "",
) -> dict:  # fmt: skip
    """A recipe of arcface_torch; arguments are called as in its configurations.

    What all share: embedding 512, no dropout, mirroring alone, scale 64, weight decay of all parameters, the backbone's gradient
    clipped to 5, the rate rising to `lr` and falling in a straight line to 0. They compute in float16:
    `keras.config.set_dtype_policy("mixed_float16")`.

    Args:
        config: Name of the configuration.
        data: Folder of the training set.
        images: Of it.
        identities: Of it.
        network: Name for `buildin_models`, ViT with rates as `vit_t_dp005_mask_005`.
        margin_list: m1, m2, m3.
        lr: For `batch_size * gpus` images.
        weight_decay: Of all parameters.
        batch_size: Of each GPU.
        gpus: Number of GPUs.
        num_epoch: Epochs, the warmup among them.
        results: What is reported.
        warmup_epoch: Epochs of warmup. Defaults to `0`.
        sample_rate: Part of the classes that a step sees. Defaults to `1.0`.
        interclass_filtering_threshold: See `ArcfaceLoss`. Defaults to `0.0`.
        optimizer: `"sgd"` or `"adamw"`. Defaults to `"sgd"`.
        gradient_acc: Batches of a step. Defaults to `1`.
        hours: Time and machine, where published.

    Returns:
        Names of a recipe.
    """
    published = Published(
        source=INSIGHTFACE.format(config), data=data, images=images, identities=identities, batch=batch_size * gpus,
        results=results, hours=hours,
    )  # fmt: skip
    model = _torch_network(network)
    if optimizer == "sgd":
        model = models.add_l2_regularizer_2_model(model, weight_decay, on="all")
        chosen = keras.optimizers.SGD(lr, momentum=0.9)
    else:
        chosen = keras.optimizers.AdamW(lr, weight_decay=weight_decay, epsilon=1e-8)
    margin1, margin2, margin3 = margin_list
    loss = losses.ArcfaceLoss(margin1, margin2, margin3, interclass_filtering_threshold=interclass_filtering_threshold)
    return {
        **setting(published, config, scales=True),
        "basic_model": model, "lr_base": lr, "lr_decay": "linear", "lr_decay_steps": num_epoch - warmup_epoch, "lr_min": 0.0,
        "lr_warmup_steps": warmup_epoch, "random_status": 0, "partial_fc_sample_rate": sample_rate, "seed": 2048,
        "sch": [{"loss": loss, "epoch": num_epoch, "optimizer": chosen, "clip_embedder": 5, "accumulate": gradient_acc}],
    }  # fmt: skip


def _torch_network(name):
    """arcface_torch's networks by their names there; `dp005` and `mask_005` are rates of a ViT's dropped branches and hidden patches."""
    options = {"emb_shape": 512, "dropout": 0, "bn_momentum": 0.9}
    if name.startswith("vit_"):
        size, _, rates = name.partition("_dp")
        drop, _, hidden = rates.partition("_mask")
        rates = {"drop_path": _rate(drop), "mask_ratio": _rate(hidden.lstrip("_"))}
        return models.buildin_models(size, output_layer="F", bn_epsilon=2e-5, **options, **rates)
    tail = {"output_layer": "GDC"} if name.startswith("mbf") else {"output_layer": "E", "use_bias": True}
    return models.buildin_models(name, bn_epsilon=1e-5, **tail, **options)


def _rate(digits):
    """Digits behind the point, "005" → 0.05."""
    return float(f"{digits[0]}.{digits[1:]}") if digits else 0.0
