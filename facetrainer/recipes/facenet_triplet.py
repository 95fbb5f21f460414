"""facenet's train_tripletloss.py, from photos to LFW's pairs: crops of 160 pixels, P×K batches, semi-hard triplets.

    FACE_PHOTOS=CASIA-FaceV5 FACE_LFW=lfw python train.py facenet_triplet

`FACE_PHOTOS` is a folder of photos, a folder a person; `FACE_LFW` one with pairs.txt in it. Both are aligned once, into `…_160` beside
them: pip install mtcnn. Without them faces are drawn. Afterwards `python evals.py -m checkpoints/facenet_triplet_basic_model_latest.keras
-t lfw_160` prints facenet's lines. facenet had 45 people with 40 images each in a batch, and ADAGRAD at 0.1; its margin 0.2 of squared
distances is 0.1 of cosines.
"""

import os
import shutil

import keras

from facetrainer import losses, models
from facetrainer.data import augment
from facetrainer.data import synthetic as draw
from facetrainer.data.alignment import LAYOUTS
from facetrainer.preparing.align import align

keras.utils.set_random_seed(666)


def aligned(photos):
    """The folder's crops, made unless they are there."""
    home = os.path.normpath(photos) + "_160"
    if not os.path.exists(home):
        align(photos, home, LAYOUTS["facenet"].sized(160, 160, 32), workers=os.cpu_count() or 1)
    for pairs in ("pairs.txt", "pairs.csv"):
        if os.path.exists(os.path.join(photos, pairs)):
            shutil.copy(os.path.join(photos, pairs), home)
    return home


if "FACE_PHOTOS" in os.environ:
    data_path = aligned(os.environ["FACE_PHOTOS"])
    eval_paths = [aligned(os.environ["FACE_LFW"])] if "FACE_LFW" in os.environ else []
    people_per_batch, images_per_person, epoch_size, epochs = 45, 40, 100, 100
    basic_model = models.buildin_models(
        "inception_resnet_v1", emb_shape=128, input_shape=(160, 160, 3), output_layer="GAP"
    )
else:
    data_path, held_out = draw.dataset(train_people=100, held_out_people=40, images=7)
    eval_paths, (people_per_batch, images_per_person, epoch_size, epochs) = [held_out], (8, 4, 40, 3)
    basic_model = models.buildin_models(
        "r_tiny", emb_shape=128, output_layer="GAP", bn_momentum=0.9, widths=(24, 48, 96)
    )

save_path = "facenet_triplet.keras"
augmentations = [augment.flip, augment.Affine(10, 0, 0)]
lr_base, lr_decay, lr_decay_steps = 0.05, 0.1, [epochs * 3 // 4]

sch = [
    {
        "loss": losses.SemiHardTripletLoss(alpha=0.1),
        "epoch": epochs,
        "optimizer": "adagrad",
        "ema": 0.99 if epochs < 10 else 0.9999,
        "prelogits_norm_loss_factor": 1e-5,
    }
]
