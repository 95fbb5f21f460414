"""Keras_insightface: MobileNet on MS1MV2, its main recipe."""

from facetrainer import losses, models, optimizers
from facetrainer.recipes.published import Published, setting

published = Published(
    source="leondgarse/Keras_insightface 520a9da, README",
    data="faces_emore",
    images=5_822_653,
    identities=85_742,
    batch=512,
    results={},
)  # fmt: skip
globals().update(setting(published, "emore_mobilenet_kif"))
basic_model = models.buildin_models("MobileNet", dropout=0, emb_shape=256, output_layer="GDC")
lr_base, lr_decay, lr_decay_steps, lr_min, random_status = 0.1, 0.5, 16, 1e-5, 2
sch = [
    {"loss": losses.ArcfaceLoss(scale=16), "epoch": 5, "optimizer": optimizers.SGDW(5e-5, 0.1, momentum=0.9)},
    {"loss": losses.ArcfaceLoss(scale=32), "epoch": 5},
    {"loss": losses.ArcfaceLoss(scale=64), "epoch": 40},
]
