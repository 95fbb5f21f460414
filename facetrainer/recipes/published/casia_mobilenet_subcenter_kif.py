"""Keras_insightface: MobileNet on CASIA-WebFace with three sub-centers, the first half of cleaning it.

    facetrainer train casia_mobilenet_subcenter_kif
    facetrainer clean -M checkpoints/casia_mobilenet_subcenter_kif.keras -D $FACE_DATA/faces_casia -d faces_casia_clean.npz
    facetrainer train casia_mobilenet_subcenter_kif --set data_path=faces_casia_clean.npz save_path=cleaned.keras

The last line trains on the cleaned list; make it `lossTopK` 1 in a copy, as the source does. Without cleaning and with one center it
reports 98.22, 86.94 and 86.95.
"""

from facetrainer import losses, models, optimizers
from facetrainer.recipes.published import Published, setting

published = Published(
    source="leondgarse/Keras_insightface 520a9da, README, Sub Center ArcFace",
    data="faces_casia",
    images=490_623,
    identities=10_572,
    batch=256,
    results={"LFW": 98.78, "CFP-FP": 89.20, "AgeDB-30": 88.57},
)  # fmt: skip
globals().update(setting(published, "casia_mobilenet_subcenter_kif"))
basic_model = models.buildin_models("mobilenet", dropout=0, emb_shape=256, output_layer="E")
lr_base, lr_decay, lr_decay_steps, random_status, output_weight_decay = 0.1, 0.1, [20, 30], 0, 1
sch = [
    {
        "loss": losses.ArcfaceLoss(scale=16),
        "epoch": 5,
        "optimizer": optimizers.SGDW(5e-4, 0.1, momentum=0.9),
        "lossTopK": 3,
    },
    {"loss": losses.ArcfaceLoss(scale=32), "epoch": 5, "lossTopK": 3},
    {"loss": losses.ArcfaceLoss(scale=64), "epoch": 40, "lossTopK": 3},
]
