"""`lfw_small` with a teacher: what a small model gains from a good one, from the same images.

python data_distiller.py -D $FACE_DATA/lfw -M $FACE_DATA/teacher/mobilefacenet_192.tflite --save_npz -d lfw_teacher.npz
python train.py recipes/lfw_distilled.py
"""

import os

lr_decay_steps = globals().get("lr_decay_steps", 24)

from recipes import lfw_small  # noqa: E402  its own lr_decay_steps is not ours

basic_model, augmentations, batch_size = lfw_small.basic_model, lfw_small.augmentations, lfw_small.batch_size
lr_base, lr_decay, lr_min, lr_warmup_steps = (
    lfw_small.lr_base,
    lfw_small.lr_decay,
    lfw_small.lr_min,
    lfw_small.lr_warmup_steps,
)
data_path, save_path = "lfw_teacher.npz", "lfw_distilled.keras"
eval_paths = [os.path.join(os.environ.get("FACE_DATA", "."), "lfw", "lfw_dev.bin")]
sch = [{**lfw_small.sch[0], "distill": 64, "epoch": lr_decay_steps + lr_warmup_steps}]
