"""Code and command lines of Keras_insightface's README, as they stand there, on drawn people.

python -m benchmarks.keras_insightface_readme README.txt --csv blocks.csv

Each block runs in a process of its own, in one folder. What is changed: `tensorflow_addons` is this package's `optimizers`, /datasets and
/media/SD are folders of drawn people, epochs are 1, batches are small, "..." in calls is filled in, MXNet's pretrained models are a Keras
model, ImageNet's weights are none.
"""

import argparse
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time

import numpy as np
import pandas as pd

from facetrainer import models
from facetrainer.data import sources
from facetrainer.data import synthetic as draw
from facetrainer.io import evalbin, recordio
from facetrainer.preparing import convert

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# name: first and last line of the block
CODE = {
    "resnet34 as MXNet's": ("# import tensorflow_addons as tfa", "tt.train(sch, 0)"),
    "default import": ("import os", "tf.config.experimental.set_memory_growth(gpu, True)"),
    "training example": ("from tensorflow import keras\nimport losses, train, models\nimport tensorflow_addons", "tt.train(sch, 0)"),
    "add_l2_regularizer": ("# Will add keras.regularizers.L2(5e-4)", "basic_model = models.add_l2"),
    "scheduler examples": ("# Scheduler examples", "]"),
    "softmax + triplet": ("# `softmax` / `arcface` + `triplet`\n", "sch ="),
    "triplet + centerloss": ("# `triplet` + `centerloss`", 'sch = [{"loss": losses.CenterLoss'),
    "all three": ("# `softmax` / `arcface` + `triplet` + `centerloss`", "sch ="),
    "continue training": ("''' Continue training from last saved file '''", "tt.train(sch, 45)"),
    "evaluation": ("import evals\nbasic_model =", "ee.on_epoch_end(0)"),
    "eval_freq": ("# Change evaluating strategy", "tt = train.Train("),
    "learning rate arguments": ("# Exponential, lr_decay_steps == 0", "tt = train.Train(..., lr_base=0.1"),
    "learning rate curves": ("from myCallbacks import exp_scheduler", "plt.tight_layout()"),
    "efficientnet": ("from backbones import efficientnet", "[ii.name for ii in mm.layers[:3]]"),
    "SGDW and AdamW": ("import tensorflow_addons as tfa\noptimizer = tfa.optimizers.SGDW", "optimizer = tfa.optimizers.AdamW("),
    "weight decay follows": ("opt = tfa.optimizers.AdamW", "sch ="),
    "MirroredStrategy": ("with tf.distribute.MirroredStrategy", "tt.train(sch, 0)"),
    "sub-centers": ("import tensorflow_addons as tfa\nimport train, losses, models\n\ndata_basic_path", "tt.train(sch, 0)", 2),
    "distillation": ("import train, losses, models\nimport tensorflow_addons", "tt.train(sch, 0)"),
}  # fmt: skip
COMMAND = re.compile(
    r"^(?:\$ )?(?:CUDA_VISIBLE_DEVICES='-?\d' )?(?:python |\./)((?:prepare_data|data_\w+|IJB_evals)\.py.*)$"
)
BEFORE = """
import os, sys, types
import numpy as np
import keras
import tensorflow as tf
import matplotlib
matplotlib.use("agg")
import matplotlib.pyplot as plt
import optimizers, losses, models, train
tfa = types.SimpleNamespace(optimizers=optimizers)
data_path, eval_paths = "{root}/datasets/faces_emore_112x112_folders", ["{root}/datasets/faces_emore/lfw.bin"]
small = lambda: models.buildin_models("r_tiny", emb_shape=256, output_layer="E")
basic_model = small()
"""
TRAIN = "\ntt = train.Train(data_path, 'short.h5', eval_paths, basic_model=small(), batch_size=16)\ntt.train(sch, 0)\n"
AFTER = {name: TRAIN for name in ("softmax + triplet", "triplet + centerloss", "all three", "weight decay follows")}
AFTER["scheduler examples"] = TRAIN
AFTER["learning rate curves"] = "\nplt.savefig('rates.png')\n"


def lines_of(path):
    """Lines without the page's indentation."""
    with open(path, encoding="utf-8") as file:
        return [re.sub(r"^ {4}", "", line.rstrip("\n")) for line in file]


def block(text, first, last, times=1):
    """From a line that begins with `first` to the next, or the one after `times` − 1 others, that begins with `last`."""
    begin = re.search(r"^" + re.escape(first), text, re.M).start()
    ends = re.finditer(r"^ *" + re.escape(last) + r".*$", text[begin + len(first) :], re.M)
    return text[begin : begin + len(first) + list(ends)[times - 1].end()]


def made_small(code, root):
    """What is changed in a block."""
    for pattern, new in (
        (r"^import tensorflow_addons as tfa$", ""), (r"^from tensorflow import keras$", "import keras"),
        (r"['\"]/datasets/", lambda m: f"{m[0][0]}{root}/datasets/"), (r"batch_size=\d+", "batch_size=16"),
        (r'"epoch": \d+', '"epoch": 1'), (r"os\.parh", "os.path"), (r"weights='imagenet'", "weights=None"),
        (r"train\.Train\(\.\.\., (.*), \.\.\.\)", r"train.Train(data_path, 'x.h5', basic_model=small(), \1)"),
        (r"basic_model = \.\.\.$", "basic_model = small()"), (r"sch = \[\.\.\.\]", "sch = [{'loss': losses.ArcfaceLoss(), 'epoch': 1}]"),
        (r"tt\.train\(sch, 45\)", "tt.train(sch, 1)"),
        (r"'checkpoints/keras_mobilefacenet_256_basic_agedb_30_epoch_39_0.942500.h5'", "'basic_model.h5'"),
        (r"faces_casia_112x112_folders_shuffle_label_embs_512_fp16.tfrecord", "distilled.tfrecord"),
    ):  # fmt: skip
        code = re.sub(pattern, new, code, flags=re.M)
    return code


def prepare(root):
    """/datasets, /media/SD and the models that the document takes for there."""
    from test_ijb import ijb_set

    people = draw.people(12, 4, seed=1)
    for name in ("faces_emore", "faces_casia"):
        home = os.path.join(root, "datasets", name)
        os.makedirs(home)
        recordio.write_faces(os.path.join(home, "train"), people)
        convert.convert(sources.open_source(home), f"{home}_112x112_folders", "folder", 1, 1, name)
        for number, test in enumerate(("lfw", "cfp_fp", "agedb_30")):
            chosen = draw.pairs(12, 4, 2, seed=number, pairs_a_fold=5)
            images = [image for p, a, q, b in chosen for image in (people[p][a], people[q][b])]
            evalbin.write_bin(os.path.join(home, f"{test}.bin"), images, [p == q for p, _, q, _ in chosen])
    ijb = ijb_set(os.path.join(root, "media", "IJB_release"))
    os.makedirs(os.path.join(ijb, "IJBB", "result"))
    same = np.loadtxt(os.path.join(ijb, "IJBB", "meta", "ijbb_template_pair_label.txt"))[:, 2]
    np.save(os.path.join(ijb, "IJBB", "result", "r100.npy"), np.random.default_rng(0).normal(size=len(same)) + same)
    os.makedirs(os.path.join(root, "checkpoints"))
    model = models.buildin_models("r_tiny", emb_shape=256, output_layer="E")
    for path in ("basic_model.h5", "checkpoints/basic_model.h5", "teacher.keras"):
        models.save(model, os.path.join(root, path))


def run(name, arguments, root):
    """One block → a row."""
    environment = {**os.environ, "PYTHONPATH": ROOT, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    begin = time.time()
    done = subprocess.run(
        [sys.executable, *arguments], cwd=root, env=environment, capture_output=True, text=True, timeout=1800
    )
    last = "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["?"])[-1][:200]
    print(f"{'runs ' if done.returncode == 0 else 'FAILS'} {time.time() - begin:6.0f} s  {name}  {last}", flush=True)
    return {"block": name, "runs": done.returncode == 0, "seconds": round(time.time() - begin, 1), "why not": last}


def command(line, root):
    """A command line on the drawn data."""
    for theirs, ours in (
        ("/datasets/", f"{root}/datasets/"), ("/media/SD/IJB_release/pretrained_models/MS1MV2-ResNet100-Arcface/model,0", "teacher.keras"),
        ("/media/SD", f"{root}/media"), ("subcenter-arcface-logs/r100-arcface-msfdrop75/model,0", "teacher.keras"),
        ("IJB_result/MS1MV2-ResNet100-Arcface_IJBB.npz", "IJB_result/basic_model_IJBB_11.npz"),
    ):  # fmt: skip
        line = line.replace(theirs, ours)
    words = shlex.split(line)
    return [os.path.join(ROOT, words[0]), *words[1:]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("document")
    parser.add_argument("--csv", default="blocks.csv")
    parser.add_argument("--only", nargs="*", help="names of blocks, or parts of command lines")
    a = parser.parse_args()
    lines, rows = lines_of(a.document), []
    with tempfile.TemporaryDirectory() as root:
        prepare(root)
        commands = [m[1] for m in map(COMMAND.match, lines) if m]
        wanted = lambda name: not a.only or any(part in name for part in a.only)  # noqa: E731
        early = [c for c in commands if c.startswith("prepare_data")]
        distilled = [
            "data_distiller.py -M teacher.keras -D /datasets/faces_casia_112x112_folders -d distilled.tfrecord --use_fp16"
        ]
        for one in filter(wanted, early + (distilled if wanted("distillation") else [])):
            rows.append(run(one, command(one, root), root))
        for name in filter(wanted, CODE):
            code = made_small(block("\n".join(lines), *CODE[name]), root)
            if name == "sub-centers":  # fewer steps clean nearly everything away
                code = code.replace('"epoch": 1', '"epoch": 12').replace("batch_size=16", "batch_size=6")
            with open(os.path.join(root, "block.py"), "w", encoding="utf-8") as file:
                file.write(BEFORE.format(root=root) + code + AFTER.get(name, ""))
            rows.append(run(name, ["block.py"], root))
        for one in filter(wanted, [c for c in commands if c not in early]):
            rows.append(run(one, command(one, root), root))
    table = pd.DataFrame(rows)
    table.to_csv(a.csv, index=False)
    print(f"{table.runs.sum()} of {len(table)} run")


if __name__ == "__main__":
    main()
