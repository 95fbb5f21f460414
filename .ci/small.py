"""The main job in a few seconds, for the lower bounds of what it needs."""

from facetrainer import losses, models
from facetrainer.data import synthetic as draw

data_path, held_out = draw.dataset(train_people=24, held_out_people=20, images=5)
eval_paths, save_path, batch_size = [held_out], "small.keras", 16
basic_model = models.buildin_models("r_tiny", emb_shape=16, output_layer="E", widths=(8, 16, 24))
sch = [
    {"loss": "softmax", "centerloss": 0.01, "optimizer": "sgd", "epoch": 1},
    {"loss": losses.ArcfaceLoss(scale=16), "triplet": 1, "epoch": 1},
]
