"""UniTSFace: r50 on CASIA-WebFace, CosFace and from the second epoch the unified threshold.

Batches of 128, four of them a step, there; 512 at once here, which the memory of people sees as one batch.
"""

import keras

from facetrainer import losses, models
from facetrainer.recipes.published import Published, setting

published = Published(
    source="CVI-SZU/UniTSFace a53e97e, train.py, head.py, backbone.py",
    data="faces_casia",
    images=490_623,
    identities=10_572,
    batch=512,
    results={"LFW": 99.53, "MR-All": 50.25},
)  # fmt: skip
globals().update(setting(published, "casia_r50_unitsface"))
basic_model = models.buildin_models(
    "r50", dropout=0.4, emb_shape=512, output_layer="E", use_bias=True, bn_momentum=0.9, bn_epsilon=1e-5
)
basic_model = models.add_l2_regularizer_2_model(basic_model, 5e-4, on="all")
lr_base, lr_decay, lr_decay_steps, random_status = 0.1, 0.1, [16, 24], 0
cosface, uss = losses.CosFaceLoss(margin=0.4, scale=64), losses.USSLoss(margin=0.1, scale=64)
sch = [
    {"loss": cosface, "epoch": 1, "optimizer": keras.optimizers.SGD(0.1, momentum=0.9), "clip": 10},
    {"loss": cosface, "embLossTypes": [uss], "epoch": 27, "clip": 10},
]
