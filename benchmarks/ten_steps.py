"""Networks of Keras_insightface and arcface_torch at their published sizes: ten steps on drawn faces, the loss before and after.

python -m benchmarks.ten_steps            all of NETWORKS
python -m benchmarks.ten_steps r18
"""

import argparse
import os
import tempfile
import time

import keras
import numpy as np

from facetrainer import Train, backbones, losses, models
from facetrainer.data import synthetic as draw
from facetrainer.io import recordio

NETWORKS = {
    **{name: (112, 96, 3) for name in ("sphereface4", "sphereface20", "sphereface36", "sphereface64", "mobilenet_sphereface")},
    "inception_resnet_v1": (160, 160, 3), "r18": (112, 112, 3), "resnet50": (112, 112, 3), "r34": (112, 112, 3),
    "mobilenet": (112, 112, 3), "mobilefacenet": (112, 112, 3), "se_resnext": (112, 112, 3), "lenets": (28, 28, 1),
}  # fmt: skip


class Steps(keras.callbacks.Callback):
    """Losses by step; the logs hold running means."""

    def on_train_begin(self, logs=None):
        self.means = []

    def on_train_batch_end(self, batch, logs=None):
        self.means.append(logs["loss"])

    def losses(self):
        counts = np.arange(1, len(self.means) + 1)
        return np.diff(np.array(self.means) * counts, prepend=0)


def trained(name, shape, home):
    tail = backbones.TAILS.get(backbones.ALIASES.get(name, name), "GDC")
    model = models.buildin_models(name, emb_shape=128, input_shape=shape, output_layer=tail, use_bias=tail == "H")
    tt = Train(
        f"{home}/rec",
        f"{name}.keras",
        basic_model=model,
        batch_size=8,
        epoch_size=10,
        verbose=0,
        report=False,
        lr_base=0.01,
    )
    steps = Steps()
    tt.custom_callbacks.append(steps)
    tt.train(
        [{"loss": losses.CosFaceLoss(scale=8, margin=0.1), "epoch": 1, "optimizer": keras.optimizers.SGD(0.01, 0.9)}]
    )
    return model.count_params(), steps.losses()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(NETWORKS))
    with tempfile.TemporaryDirectory() as home:
        os.chdir(home)
        os.makedirs("rec")
        recordio.write_faces("rec/train", draw.people(6, 8, seed=1))
        print("| network | input | parameters | first loss | tenth | s |\n| --- | --- | --: | --: | --: | --: |")
        for name in parser.parse_args().names:
            begin = time.time()
            count, found = trained(name, NETWORKS[name], home)
            row = (
                name,
                "×".join(map(str, NETWORKS[name])),
                f"{count:,}",
                f"{found[0]:.3f}",
                f"{found[-1]:.3f}",
                f"{time.time() - begin:.0f}",
            )
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
