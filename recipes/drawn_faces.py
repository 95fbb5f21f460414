"""The main job in small: three stages on drawn faces, measured on people never trained on. Two to three minutes on 2 cores."""

import keras

import augment
import losses
import models
import optimizers
from faces import draw

keras.utils.set_random_seed(0)

data_path, held_out = draw.dataset(train_people=300, held_out_people=80, images=10)
eval_paths = [held_out]
save_path = "drawn_faces.keras"
basic_model = models.buildin_models("ir_tiny", dropout=0, emb_shape=128, output_layer="E", widths=(16, 32, 64, 128))
batch_size = 60
augmentations = [augment.flip, augment.Affine(), augment.Colour(balance=0.15)]
lr_base, lr_decay, lr_decay_steps, lr_min = 0.05, 1e-3, 6, 5e-5

sch = [
    {"loss": "softmax", "centerloss": 0.01, "epoch": 1, "optimizer": optimizers.SGDW(5e-4, 0.05, momentum=0.9)},
    {"loss": losses.ArcfaceLoss(scale=16, margin2=0.2), "epoch": 3},
    {"loss": losses.ArcfaceLoss(scale=16, margin2=0.3), "triplet": 1, "alpha": 0.3, "epoch": 2},
]
