"""AdaFace: r50 on CASIA-WebFace; images are BGR there, which makes no difference to a network that starts anew."""

import keras

from facetrainer import losses, models
from facetrainer.data import augment
from facetrainer.recipes.published import Published, setting

published = Published(
    source="mk-minchul/AdaFace c60eaa7, scripts/run_ir50_casia.sh",
    data="faces_casia",
    images=490_623,
    identities=10_572,
    batch=512,
    results={"LFW": 99.42, "CFP-FP": 96.41, "AgeDB-30": 94.38},
)  # fmt: skip
globals().update(setting(published, "casia_r50_adaface"))
basic_model = models.buildin_models(
    "r50", dropout=0.4, emb_shape=512, output_layer="E", use_bias=True, bn_momentum=0.9, bn_epsilon=1e-5
)
basic_model = models.add_l2_regularizer_2_model(basic_model, 5e-4, on="weights")
augmentations = augment.adaface()
lr_base, lr_decay, lr_decay_steps = 0.1, 0.1, [12, 20, 24]
loss = losses.AdaFaceLoss(margin=0.4, margin_alpha=0.333, mean_std_alpha=0.01, scale=64)
sch = [{"loss": loss, "epoch": 26, "optimizer": keras.optimizers.SGD(0.1, momentum=0.9)}]
