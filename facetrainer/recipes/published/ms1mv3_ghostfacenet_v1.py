"""GhostFaceNet V1-1.3-1 on MS1MV3, a fork of Keras_insightface."""

import keras

from facetrainer import losses, models
from facetrainer.recipes.published import Published, setting

published = Published(
    source="HamadYA/GhostFaceNets 513b9f5, training_scripts.ipynb",
    data="ms1m-retinaface-t1",
    images=5_179_510,
    identities=93_431,
    batch=128,
    results={"LFW": 99.73, "CFP-FP": 96.83, "AgeDB-30": 98.00, "IJB-C 1e-4": 94.94},
)  # fmt: skip
globals().update(setting(published, "ms1mv3_ghostfacenet_v1"))
basic_model = models.buildin_models(
    "ghostnet", dropout=0, emb_shape=512, output_layer="GDC", bn_momentum=0.9, bn_epsilon=1e-5, width=1.3, strides=1
)
basic_model = models.add_l2_regularizer_2_model(basic_model, 5e-4, on="weights")
basic_model = models.replace_ReLU_with_PReLU(basic_model)
lr_base, lr_decay, lr_decay_steps, lr_min, random_status, output_weight_decay = 0.1, 0.5, 45, 1e-5, 0, 1
sch = [
    {"loss": losses.ArcfaceLoss(scale=32), "epoch": 1, "optimizer": keras.optimizers.SGD(0.1, momentum=0.9)},
    {"loss": losses.ArcfaceLoss(scale=64), "epoch": 50},
]
