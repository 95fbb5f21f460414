"""A small model from a good one: LFW's training images, the embeddings of a teacher, and nothing else to learn from.

    python data_distiller.py -D $FACE_DATA/lfw -M $FACE_DATA/teacher/mobilefacenet_192.tflite --save_npz -d lfw_teacher.npz
    python train.py recipes/lfw_distilled.py

The student's embedding is as wide as the teacher's, so that no map stands between. No batch norm comes after it ("G"): the cosine
leaves an embedding's length free, and behind a batch norm one image in a hundred grows until it fills the batch's statistics and is
learnt no more. `--set lr_decay_steps=N` changes the number of epochs.
"""

import os

import keras

from facetrainer import models, optimizers
from facetrainer.data import augment

keras.utils.set_random_seed(globals().get("seed", 0))

data_path, save_path = "lfw_teacher.npz", "lfw_distilled.keras"
eval_paths = [os.path.join(os.environ.get("FACE_DATA", "."), "lfw", "lfw_dev.bin")]
basic_model = models.buildin_models(
    "r_tiny", dropout=0, emb_shape=192, output_layer="G", bn_momentum=0.9, bn_epsilon=2e-5, crop=8
)
batch_size = 64
augmentations = [augment.flip, augment.Affine(6, 0.08, 0.03)]
lr_base, lr_decay, lr_min, lr_warmup_steps = 0.03, 1e-3, 3e-5, 1
lr_decay_steps = globals().get("lr_decay_steps", 24)

sch = [
    {
        "loss": "distill",
        "lossWeight": 32,
        "epoch": lr_decay_steps + lr_warmup_steps,
        "optimizer": optimizers.Muon(lr_base, weight_decay=0.1),
    }
]
