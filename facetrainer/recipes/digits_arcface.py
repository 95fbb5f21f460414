"""Digits on a plane by ArcFace: classes are narrow rays, with room between them. Compare `digits_softmax`.

    python train.py digits_arcface

Trains on scikit-learn's digits, or on the MNIST file (npz of x and y) that MNIST names. The picture shows embeddings as they are.
"""

import os

import keras

from facetrainer import losses, models
from facetrainer.data.arrays import digits

keras.utils.set_random_seed(0)

data_path, _ = digits(os.environ.get("MNIST"))
save_path = "digits_arcface.keras"
basic_model = models.buildin_models(
    "lenets", widths=(16, 32, 64), emb_shape=2, input_shape=(28, 28, 1), output_layer="H"
)
batch_size, random_status = 64, -1
lr_base, lr_decay, lr_decay_steps, lr_min = 0.01, 1e-3, 24, 1e-5

optimizer = keras.optimizers.SGD(lr_base, momentum=0.9)
sch = [  # in two dimensions cosines have no gradient where all embeddings point one way: softmax parts the classes first
    {"loss": "softmax", "epoch": 8, "optimizer": optimizer, "clip": 5},
    {"loss": losses.ArcfaceLoss(scale=16), "margin": (0.0, 0.3), "epoch": 16, "clip": 5},
]
