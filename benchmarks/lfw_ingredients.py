"""What each ingredient does for a small set of real faces: `lfw_small` with and without it, all else the same.

    python -m benchmarks.lfw_ingredients --data /data/lfw --epochs 26 --csv rows.csv
    python -m benchmarks.lfw_ingredients --data /data/lfw --only plain swa --seeds 0 1 2

Each row is a process of its own, on whatever backend `KERAS_BACKEND` names; `--jobs` of them run side by side. `lfw_dev.bin` is looked at
once, after training, with the plain cosine of the network, with PLDA learnt on the training people, and with texture patterns and PLDA.
"""

import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def with_loss(name, *inner, weight=0.1, **arguments):
    """One more loss beside the margin loss, or in its place at weight 0."""

    def change(keywords, stage):
        from facetrainer import losses

        loss = getattr(losses, name)(*(getattr(losses, one)() for one in inner), **arguments)
        beside = {"embLossTypes": [loss], "embLossWeights": [weight]} if weight else {"loss": loss}
        return keywords, [{**stage, **beside}]

    return change


def with_stage(**keys):
    return lambda keywords, stage: (keywords, [{**stage, **keys}])


def with_keywords(**changed):
    return lambda keywords, stage: ({**keywords, **changed}, [stage])


def with_images(add=(), leave=None):
    def change(keywords, stage):
        from facetrainer.data import augment

        kept = [one for one in keywords["augmentations"] if type(one).__name__ != leave]
        more = [one for name in add for one in getattr(augment, name)() if one is not augment.flip]
        return {**keywords, "augmentations": [*kept, *more]}, [stage]

    return change


def averaged(keywords, stage):
    return keywords, [{**stage, "swa": max(stage["epoch"] // 5, 1)}]


def class_means(keywords, stage):
    """A fifth of the epochs with softmax over cosines without a margin, then centers at the means."""
    from facetrainer import losses

    first = max(stage["epoch"] // 5, 1)
    begin = {**stage, "loss": losses.CosFaceLoss(margin=0.0, scale=24), "epoch": first}
    return keywords, [begin, {"loss": stage["loss"], "epoch": stage["epoch"] - first, "init_head": "mean"}]


def with_muon(keywords, stage):
    """Muon's decay of weights is its own: the recipe's penalty is taken off."""
    from facetrainer import models, optimizers

    net = models.add_l2_regularizer_2_model(keywords["basic_model"], 0)
    changed = {"basic_model": net, "lr_base": 0.03, "lr_min": 3e-5}
    return {**keywords, **changed}, [{**stage, "optimizer": optimizers.Muon(0.03), "clip": 5}]


def with_tail(output_layer, **arguments):
    """The same network with another end."""

    def change(keywords, stage):
        from facetrainer import models

        net = models.buildin_models(
            "r_tiny", dropout=0.1, emb_shape=256, output_layer=output_layer, bn_momentum=0.9, bn_epsilon=2e-5, scale=False, **arguments
        )  # fmt: skip
        return {**keywords, "basic_model": models.add_l2_regularizer_2_model(net, 1e-3)}, [stage]

    return change


def of_any_size(*sides):
    """A mean at the network's end in the place of a map of all places, images growing from side to side."""

    def change(keywords, stage):
        keywords, _ = with_tail("GAP", input_shape=(None, None, 3))(keywords, stage)
        part = stage["epoch"] // len(sides)
        epochs = [part] * (len(sides) - 1) + [stage["epoch"] - part * (len(sides) - 1)]
        stages = [{"loss": stage["loss"], "epoch": n, "image_size": s} for n, s in zip(epochs, sides, strict=True)]
        stages[0]["optimizer"] = stage["optimizer"]
        return keywords, stages

    return change


INGREDIENTS = {
    "plain": with_stage(),
    "swa": averaged,
    "class means": class_means,
    "uss": with_loss("USSLoss", weight=1),
    "cross-batch memory": with_loss("CrossBatchMemory", "SupConLoss", weight=0.1),
    "semi-siamese": with_loss("SemiSiameseLoss", weight=0, margin=0.25, scale=24.0, momentum=0.99),
    "repeats 2": with_stage(repeats=2),
    "ema 0.99": with_stage(ema=0.99),
    "sam 0.05": with_stage(sam_rho=0.05),
    "mixup 0.2": with_stage(mixup=0.2),
    "balanced 0.5": with_stage(balanced=0.5),
    "arcface": with_loss("ArcfaceLoss", weight=0, margin2=0.3, scale=24),
    "center": with_loss("CenterLoss", weight=0.01),
    "adaface's images": with_images(["adaface"]),
    "gridsample": with_images(["gridsample"]),
    "margin 0.15": with_loss("CosFaceLoss", weight=0, margin=0.15, scale=24),
    "margin 0.35": with_loss("CosFaceLoss", weight=0, margin=0.35, scale=24),
    "batch 32": with_keywords(batch_size=32),
    "batch 128": with_keywords(batch_size=128),
    "no affine": with_images(leave="Affine"),
    "no colour": with_images(leave="Colour"),
    "no erase": with_images(leave="Erase"),
    "muon": with_muon,
    "no last batch norm": with_tail("G", crop=8),
    "any size": of_any_size(112),
    "growing": of_any_size(64, 96, 112),
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "lfw_ingredients", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder with train.rec and lfw_dev.bin")
    parser.add_argument("--epochs", type=int, default=26, help="after one of warmup")
    parser.add_argument("--only", nargs="+", choices=list(INGREDIENTS), default=list(INGREDIENTS), metavar="NAME")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--policy", default="float32", help="Keras's policy of number formats")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--until", type=float, default=float("inf"), help="seconds after which no row is begun")
    parser.add_argument("--no-patterns", action="store_false", dest="patterns")
    parser.add_argument("--csv")
    parser.add_argument("--row", nargs=2, help=argparse.SUPPRESS)
    a = parser.parse_args(argv)
    if a.row:
        print("ROW " + json.dumps(row(a, a.row[0], int(a.row[1]))))
        return 0
    import pandas as pd

    begun = time.time()
    with concurrent.futures.ThreadPoolExecutor(a.jobs) as pool:
        waiting = [pool.submit(apart, a, name, seed, begun) for name in a.only for seed in a.seeds]
        rows = [one.result() for one in waiting]
    table = pd.DataFrame([one for one in rows if one])
    print(table.to_string(index=False))
    if a.csv:
        table.to_csv(a.csv, index=False)
    return 0


def apart(a, name, seed, begun):
    if time.time() - begun > a.until:
        return None
    call = [sys.executable, "-m", "benchmarks.lfw_ingredients", "--row", name, str(seed), "--data", a.data]
    call += ["--epochs", str(a.epochs), "--policy", a.policy, *([] if a.patterns else ["--no-patterns"])]
    done = subprocess.run(call, capture_output=True, text=True, cwd=ROOT)
    found = next((line[4:] for line in done.stdout.splitlines() if line.startswith("ROW ")), None)
    fault = {"fault": (done.stderr.strip().splitlines() or ["?"])[-1][:200]}
    about = {"ingredient": name, "seed": seed, **(json.loads(found) if found else fault)}
    print(json.dumps(about), flush=True)
    return about


def row(a, name, seed):
    """Trains and measures one."""
    import tempfile

    import keras

    from benchmarks import lfw_budget
    from facetrainer.cli import recipe

    keras.mixed_precision.set_dtype_policy(a.policy)
    settings = {"data_path": a.data, "eval_paths": [], "resume": False, "verbose": 0, "seed": seed}
    with tempfile.TemporaryDirectory() as folder:
        settings["save_path"] = os.path.join(folder, "one.keras")
        keywords, (stage,) = recipe.load("lfw_small", {**settings, "lr_decay_steps": a.epochs})
        begin = time.time(), lfw_budget.cpu()
        network = lfw_budget.trained(*INGREDIENTS[name](keywords, stage))
        seconds, spent = time.time() - begin[0], lfw_budget.cpu() - begin[1]
    about = argparse.Namespace(data=a.data, backend="plda", patterns=False, crops=False)
    found = dict(lfw_budget.results(about, network, *lfw_budget.finished(about, network)))
    if a.patterns:
        about.patterns = True
        found["patterns, plda"] = lfw_budget.results(about, network, *lfw_budget.finished(about, network))[-1][1]
    figures = {f"{what} {key}": round(float(value), 4) for what, one in found.items() for key, value in figures_of(one)}
    return {"policy": a.policy, "epochs": a.epochs, "seconds": round(seconds), "cpu": round(spent), **figures}


def figures_of(one):
    return (("10-fold", one.accuracy), ("AUC", one.auc), ("TAR@1e-2", one.tar[0.01]))


if __name__ == "__main__":
    raise SystemExit(main())
