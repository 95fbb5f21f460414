"""Keras_insightface: r34 on CASIA-WebFace."""

import keras

from facetrainer import losses, models
from facetrainer.recipes.published import Published, setting

published = Published(
    source="leondgarse/Keras_insightface 520a9da, README",
    data="faces_casia",
    images=490_623,
    identities=10_572,
    batch=512,
    results={"LFW": 99.4667, "CFP-FP": 94.9143, "AgeDB-30": 94.95},
)  # fmt: skip
globals().update(setting(published, "casia_r34_kif"))
basic_model = models.buildin_models(
    "r34", dropout=0.4, emb_shape=512, output_layer="E", bn_momentum=0.9, bn_epsilon=2e-5
)
basic_model = models.add_l2_regularizer_2_model(basic_model, 1e-3, apply_to_batch_normal=True)
lr_base, lr_decay, lr_decay_steps, random_status, output_weight_decay = 0.1, 0.1, [20, 30], 0, 1
sch = [
    {"loss": losses.ArcfaceLoss(scale=32), "epoch": 1, "optimizer": keras.optimizers.SGD(0.1, momentum=0.9)},
    {"loss": losses.ArcfaceLoss(scale=64), "epoch": 40},
]
