"""The main job in small: three stages on drawn faces, measured on people never trained on. Two to three minutes on 2 cores."""

import keras

from facetrainer import losses, models, optimizers
from facetrainer.data import augment
from facetrainer.data import synthetic as draw

keras.utils.set_random_seed(0)

data_path, held_out = draw.dataset(train_people=450, held_out_people=60, images=7)
eval_paths = [held_out]
save_path = "drawn_faces.keras"
basic_model = models.buildin_models(
    "r_tiny", dropout=0, emb_shape=128, output_layer="E", bn_momentum=0.9, widths=(24, 48, 96)
)
batch_size = 32
augmentations = [augment.flip, augment.Affine(5, 0.06, 0.03)]
lr_base, lr_decay, lr_decay_steps, lr_min = 0.05, 1e-3, 7, 5e-5

sch = [
    {"loss": "softmax", "centerloss": 0.01, "epoch": 1, "optimizer": optimizers.SGDW(5e-4, 0.05, momentum=0.9)},
    {"loss": losses.ArcfaceLoss(scale=16, margin2=0.2), "epoch": 4},
    {"loss": losses.ArcfaceLoss(scale=16, margin2=0.3), "triplet": 1, "alpha": 0.3, "epoch": 2},
]
