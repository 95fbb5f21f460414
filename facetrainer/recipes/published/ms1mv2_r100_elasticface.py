"""ElasticFace-Arc: r100 on MS1MV2."""

import keras

from facetrainer import losses, models
from facetrainer.recipes.published import Published, setting

published = Published(
    source="fdbtrs/ElasticFace 5496ec0, config.py",
    data="faces_emore",
    images=5_822_653,
    identities=85_742,
    batch=512,
    results={},
)  # fmt: skip
globals().update(setting(published, "ms1mv2_r100_elasticface"))
basic_model = models.buildin_models(
    "r100", dropout=0, emb_shape=512, output_layer="E", use_bias=True, bn_momentum=0.9, bn_epsilon=1e-5
)
basic_model = models.add_l2_regularizer_2_model(basic_model, 5e-4, on="all")
lr_base, lr_decay, lr_decay_steps, random_status = 0.1, 0.1, [8, 14, 20, 25], 0
sch = [
    {
        "loss": losses.ElasticFaceLoss(margin=0.5, std=0.05, scale=64),
        "epoch": 26,
        "optimizer": keras.optimizers.SGD(0.1, momentum=0.9),
    }
]
