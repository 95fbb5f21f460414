"""AdaFace: r100 on MS1MV2; images are BGR there, which makes no difference to a network that starts anew."""

import keras

from facetrainer import losses, models
from facetrainer.data import augment
from facetrainer.recipes.published import Published, setting

published = Published(
    source="mk-minchul/AdaFace c60eaa7, scripts/run_ir101_ms1mv2.sh; results of arXiv:2204.00964",
    data="faces_emore",
    images=5_822_653,
    identities=85_742,
    batch=512,
    results={"LFW": 99.82, "CFP-FP": 98.49, "AgeDB-30": 98.05, "IJB-C 1e-4": 96.89},
)  # fmt: skip
globals().update(setting(published, "ms1mv2_r100_adaface"))
basic_model = models.buildin_models(
    "r100", dropout=0.4, emb_shape=512, output_layer="E", use_bias=True, bn_momentum=0.9, bn_epsilon=1e-5
)
basic_model = models.add_l2_regularizer_2_model(basic_model, 5e-4, on="weights")
augmentations = augment.adaface()
lr_base, lr_decay, lr_decay_steps = 0.1, 0.1, [12, 20, 24]
loss = losses.AdaFaceLoss(margin=0.4, margin_alpha=0.333, mean_std_alpha=0.01, scale=64)
sch = [{"loss": loss, "epoch": 26, "optimizer": keras.optimizers.SGD(0.1, momentum=0.9)}]
