"""CurricularFace: r100 on MS1MV2."""

import keras

from facetrainer import losses, models
from facetrainer.recipes.published import Published, setting

published = Published(
    source="HuangYG123/CurricularFace 68c8727",
    data="faces_emore",
    images=5_822_653,
    identities=85_742,
    batch=512,
    results={"LFW": 99.80, "CFP-FP": 98.36, "AgeDB-30": 98.37, "IJB-C 1e-4": 96.15},
)  # fmt: skip
globals().update(setting(published, "ms1mv2_r100_curricularface"))
basic_model = models.buildin_models(
    "r100", dropout=0.4, emb_shape=512, output_layer="E", use_bias=True, bn_momentum=0.9, bn_epsilon=1e-5
)
basic_model = models.add_l2_regularizer_2_model(basic_model, 5e-4, on="weights")
lr_base, lr_decay, lr_decay_steps, random_status = 0.1, 0.1, [10, 18, 22], 0
sch = [
    {
        "loss": losses.CurricularFaceLoss(margin=0.5, scale=64),
        "epoch": 24,
        "optimizer": keras.optimizers.SGD(0.1, momentum=0.9),
    }
]
