"""What TensorBoard gets, read back from the event files."""

import glob
import os
import sys

import cv2
import numpy as np
import pytest
from helpers import make, sgd
from tensorboardX.proto.event_pb2 import Event

from facetrainer import losses
from facetrainer.io import tfrecord

STAGE = {"loss": losses.ArcfaceLoss(scale=16), "epoch": 2}


def events(folder):
    found = {}
    for path in sorted(glob.glob(f"{folder}/events*")):
        whole = open(path, "rb").read()
        for begin, length in tfrecord.index(path):
            event = Event.FromString(whole[begin : begin + length])
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, value))
    return found


def test_a_run_in_tensorboard(workdir, record, bin_file):
    trainer = make(record, eval_paths=[bin_file], tensorboard="logs", steps_per_execution=1)
    trainer.trainer.board.every = 2
    trainer.train([{**STAGE, "optimizer": sgd()}, {**STAGE, "epoch": 1}])
    found = events("logs")
    for name in ("loss", "accuracy", "learning_rate", "images_a_second"):
        assert [step for step, _ in found[f"step/{name}"]] == [2, 4, 6, 8]
    assert [v.simple_value for _, v in found["step/learning_rate"]] == pytest.approx([0.05] * 4, rel=0.2)
    assert [step for step, _ in found["epoch/loss"]] == [1, 2, 3] == [step for step, _ in found["epoch/drawn_10fold"]]
    assert all(v.simple_value > 10 for _, v in found["epoch/images_a_second"])
    assert [step for step, _ in found["ROC/drawn"]] == [1, 2, 3] and [s for s, _ in found["images/sch_0"]] == [0]
    image = cv2.imdecode(np.frombuffer(found["images/sch_1"][0][1].image.encoded_image_string, np.uint8), 1)
    assert image.shape == (2 * 32, 8 * 32, 3) and image.std() > 20
    text = next(
        v.tensor.string_val[0].decode() for tag, rows in found.items() if "schedule/sch 0" in tag for _, v in rows
    )
    assert "| losses | ArcfaceLoss" in text and "| people | 8 |" in text
    (sprite,) = {p for p in glob.glob("logs/*/drawn/sprite.png") if "00009" in p}
    rows = open(os.path.join(os.path.dirname(sprite), "tensors.tsv")).read().splitlines()
    assert len(rows) == 36 and np.loadtxt(rows[0].split("\t")).shape == (16,)


def test_curves_go_on_after_a_kill(workdir, record):
    make(record, tensorboard="logs").train([{**STAGE, "epoch": 1, "optimizer": sgd()}])
    again = make(record, tensorboard="logs")
    again.trainer.board.every = 1
    again.train([{**STAGE, "epoch": 2, "optimizer": sgd()}])
    assert [step for step, _ in events("logs")["step/loss"]] == [4, 5, 6]


def test_a_missing_package_is_told_when_the_run_is_made(workdir, record, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"tensorboard= needs tensorboardX: pip install tensorboardX"):
        make(record, tensorboard="logs")
