"""MagFace: r100 on MS1MV2."""

import keras

from facetrainer import losses, models
from facetrainer.recipes.published import Published, setting

published = Published(
    source="IrvingMeng/MagFace 99bae61, run.sh",
    data="faces_emore",
    images=5_822_653,
    identities=85_742,
    batch=512,
    results={},
)  # fmt: skip
globals().update(setting(published, "ms1mv2_r100_magface"))
basic_model = models.buildin_models(
    "r100", dropout=0, emb_shape=512, output_layer="E", use_bias=True, bn_momentum=0.9, bn_epsilon=1e-5
)
basic_model = models.add_l2_regularizer_2_model(basic_model, 5e-4, on="all")
lr_base, lr_decay, lr_decay_steps, random_status = 0.1, 0.1, [10, 18, 22], 0
sch = [
    {
        "loss": losses.MagFaceLoss(10, 110, 0.45, 0.8, scale=64, regularizer_loss_lambda=35),
        "epoch": 25,
        "optimizer": keras.optimizers.SGD(0.1, momentum=0.9),
    }
]
