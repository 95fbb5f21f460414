"""Cleaning by sub-centers where the truth is known: labels of LFW flipped at random, how many of them are found.

    python -m benchmarks.subcenter_cleaning --data /data/lfw

10 % of the images change their labels with one another. `recipes/lfw_small.py`'s network is trained on the result with three
sub-centers, and `data_drop_top_k` says what it would leave out. Counted twice: all images, and those labelled as a person with many
images, as sub-centers need a majority.
"""

import argparse
import logging
import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def flipped(data_path, share, dest):
    """Write an npz list of `data_path`'s images, `share` of the labels exchanged → labels written, mask of the wrong ones."""
    import numpy as np

    from facetrainer import data

    source, rng = data.open_source(data_path), np.random.default_rng(0)
    labels, chosen = source.labels.copy(), rng.choice(len(source), int(share * len(source)), replace=False)
    labels[chosen] = source.labels[np.roll(rng.permutation(chosen), 1)]
    os.makedirs("images", exist_ok=True)
    names = [os.path.abspath(f"images/{i:05d}.jpg") for i in range(len(source))]
    for i, name in enumerate(names):
        with open(name, "wb") as file:
            file.write(source.read(i))
    np.savez(dest, image_names=names, image_classes=labels)
    return labels, labels != source.labels


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "subcenter_cleaning", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder with train.rec")
    parser.add_argument("--share", type=float, default=0.1, help="of the labels that are flipped")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--least", type=int, default=10, help="images of a person with many")
    parser.add_argument("--degrees", type=float, nargs="+", default=[67.5, 75], help="thresholds")
    arguments = parser.parse_args(argv)
    sys.path.insert(0, ROOT)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    import numpy as np
    import pandas as pd

    from facetrainer import losses
    from facetrainer import training as train
    from facetrainer.cli import recipe
    from facetrainer.preparing import clean as data_drop_top_k

    labels, wrong = flipped(arguments.data, arguments.share, "flipped.npz")
    settings = {"data_path": "flipped.npz", "eval_paths": [], "save_path": "cleaning.keras", "verbose": 2,
                "lr_decay_steps": arguments.epochs - 1, "resume": False}  # fmt: skip
    keywords, (stage,) = recipe.load("lfw_small", settings)
    trainer = train.Train(**keywords)
    trainer.train({**stage, "loss": losses.ArcfaceLoss(scale=24, margin2=0.25), "lossTopK": 3})
    many = np.bincount(labels)[labels] >= arguments.least
    rows = []
    for degrees in arguments.degrees:
        data_drop_top_k.data_drop_top_k(trainer.model, "flipped.npz", "clean.npz", degrees)
        names = pd.read_csv("clean_dropped.csv")["image"]
        dropped = np.isin(np.arange(len(labels)), [int(os.path.basename(name)[:-4]) for name in names])
        for what, mask in (
            ("all images", np.ones(len(labels), bool)),
            (f"of people with {arguments.least} or more", many),
        ):
            rows.append({
                "degrees": degrees, "counted": what, "images": mask.sum(), "flipped": (mask & wrong).sum(),
                "flipped dropped": f"{dropped[mask & wrong].mean():.3f}", "clean dropped": f"{dropped[mask & ~wrong].mean():.3f}",
            })  # fmt: skip
    print(pd.DataFrame(rows).to_string(index=False))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
