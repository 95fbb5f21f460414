"""Keras_insightface: MobileNet on CASIA-WebFace, distilled from r100 with weight 128.

    facetrainer distill -D $FACE_DATA/faces_casia -M r100.onnx --use_fp16 -d $FACE_DATA/faces_casia_distill.tfrecord

Without the teacher the same recipe gives 98.38, 87.30 and 86.97.
"""

from facetrainer import losses, models, optimizers
from facetrainer.recipes.published import Published, setting

published = Published(
    source="leondgarse/Keras_insightface 520a9da, README, Knowledge distillation",
    data="faces_casia_distill.tfrecord",
    images=490_623,
    identities=10_572,
    batch=400,
    results={"LFW": 99.55, "CFP-FP": 93.76, "AgeDB-30": 94.65},
)  # fmt: skip
globals().update(setting(published, "casia_mobilenet_distill_kif"))
basic_model = models.buildin_models("mobilenet", dropout=0.4, emb_shape=512, output_layer="E")
lr_base, lr_decay, lr_decay_steps, random_status = 0.1, 0.1, [20, 30], 0
sch = [
    {
        "loss": losses.ArcfaceLoss(scale=16),
        "epoch": 5,
        "optimizer": optimizers.SGDW(5e-4, 0.1, momentum=0.9),
        "distill": 128,
    },
    {"loss": losses.ArcfaceLoss(scale=32), "epoch": 5, "distill": 128},
    {"loss": losses.ArcfaceLoss(scale=64), "epoch": 40, "distill": 128},
]
