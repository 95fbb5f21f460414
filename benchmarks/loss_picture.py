"""What margins do: the score of the right person over the angle to their center, drawn for docs/guides/losses.md.

python -m benchmarks.loss_picture docs/losses.png
"""

import argparse

import keras
import numpy as np
from matplotlib.figure import Figure

from facetrainer import losses

SHOWN = {
    "softmax over cosines": losses.NormFaceLoss(),
    "ArcFace 0.5": losses.ArcfaceLoss(),
    "CosFace 0.35": losses.CosFaceLoss(),
    "SphereFace-R 1.5": losses.SphereFaceRLoss(),
    "AirFace 0.4": losses.AirFaceLoss(),
}


def score(loss, degrees):
    """Score before the scale of the right person at an angle."""
    cosine = keras.ops.convert_to_tensor(np.cos(np.radians(degrees)).astype("float32"))
    return keras.ops.convert_to_numpy(loss.pull(cosine))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("loss_picture", description=__doc__)
    parser.add_argument("path", help="PNG to write")
    a = parser.parse_args(argv)
    degrees = np.linspace(0, 180, 721)
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, loss in SHOWN.items():
        axes.plot(degrees, score(loss, degrees), label=name, linewidth=1.6)
    axes.set(xlabel="angle between an embedding and its person's center, degrees", ylabel="score, before the scale")
    axes.set(xlim=(0, 180), xticks=range(0, 181, 30))
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    figure.savefig(a.path, dpi=110)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
