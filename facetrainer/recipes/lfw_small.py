"""A few thousand people with few images each, on a CPU: LFW's own training images, 112×112, from scratch.

    FACE_DATA=/data python train.py recipes/lfw_small.py

`FACE_DATA` holds `lfw/train.rec` and `lfw/lfw_dev.bin`. `--set lr_decay_steps=N` changes the number of epochs.
"""

import os

import keras

from facetrainer import losses, models
from facetrainer.data import augment

keras.utils.set_random_seed(globals().get("seed", 0))

data_path = os.path.join(os.environ.get("FACE_DATA", "."), "lfw")
eval_paths = [os.path.join(data_path, "lfw_dev.bin")]
save_path = "lfw_small.keras"
basic_model = models.buildin_models(
    "r_tiny", dropout=0.1, emb_shape=256, output_layer="E", bn_momentum=0.9, bn_epsilon=2e-5, scale=False, crop=8
)
basic_model = models.add_l2_regularizer_2_model(basic_model, 1e-3)
batch_size = 64
augmentations = [augment.flip, augment.Affine(10, 0.12, 0.05), augment.Colour(), augment.Erase(0.5)]
lr_base, lr_decay, lr_min, lr_warmup_steps = 0.1, 1e-3, 1e-4, 1
lr_decay_steps = globals().get("lr_decay_steps", 24)

sch = [
    {
        "loss": losses.CosFaceLoss(margin=0.25, scale=24),
        "epoch": lr_decay_steps + lr_warmup_steps,
        "optimizer": keras.optimizers.SGD(lr_base, momentum=0.9, nesterov=True),
    }
]
