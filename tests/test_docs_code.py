"""Every code block of README and the docs runs, on drawn faces and small networks in the place of what it names.

The README's, the quickstart's, the loss's and those without this package run in every test run, see test_docs.py; these with -m notebook.
"""

import os
import re
import subprocess
import sys
import types

import cv2
import keras
import numpy as np
import pytest
from helpers import ROOT, tiny_model
from pages import CODE, code_with, run_small

import facetrainer
from facetrainer import losses, models
from facetrainer.data.images import decode

pytestmark = [pytest.mark.notebook, pytest.mark.timeout(400)]
RUN = {
    "README.md": ["faces_emore"],
    "docs/quickstart.md": ["sets/train"],
    "docs/architecture.md": ["basic_model=net"],
    "docs/migrating.md": ["use_flat_names"],
    "docs/guides/losses.md": ["class KindMarginLoss"],
    "docs/guides/models.md": ["face.onnx", "face.tflite"],
    "docs/guides/training.md": ["MobileNet", "teacher_model_interf", "data_drop_top_k"],
    "docs/guides/evaluation.md": ["evaluate_model"],
    "docs/guides/recognition.md": ["recognition.Gallery"],
    "docs/guides/devices.md": ["MirroredStrategy", "glint360k"],
    "docs/guides/watching.md": ["wandb"],
}


def test_every_block_is_run_below():
    found = {(page, code) for page, code in CODE}
    assert found == {(page, code_with(page, words)) for page, all_words in RUN.items() for words in all_words}


def test_the_schedule_of_the_architecture(record, bin_file, workdir):
    code = "from facetrainer import Train, models\nnet = models.buildin_models('x')\n" + code_with(
        "docs/architecture.md", "basic_model=net"
    )
    run_small(code, **{'"faces"': repr(record), '"lfw.bin"': repr(bin_file)})
    assert os.path.exists("checkpoints/run_basic_model_latest.keras")


def test_flat_names_of_migrating(workdir):
    code = code_with("docs/migrating.md", "use_flat_names") + "import losses, models\nprint(losses.ArcfaceLoss())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 0 and "ArcfaceLoss" in done.stdout, done.stderr


def test_training_distillation_and_cleaning(record, bin_file, workdir, monkeypatch):
    folder = "/datasets/faces_emore"
    sets = {f"{folder}/{name}.bin": bin_file for name in ("lfw", "cfp_fp", "agedb_30")}
    run_small(code_with("docs/guides/training.md", "MobileNet"), **sets, **{folder: record})
    assert os.path.exists("checkpoints/mobilenet_emore_basic_model_latest.keras")
    models.save(models.buildin_models("r_tiny", emb_shape=16), "teacher.keras")
    names = {
        "Train": facetrainer.Train, "losses": losses, "optimizer": keras.optimizers.SGD(0.01), "data_path": record,
        "student": models.buildin_models("r_tiny", emb_shape=16),
    }  # fmt: skip
    for words in ("teacher_model_interf", "data_drop_top_k"):
        code = code_with("docs/guides/training.md", words).replace("r100.onnx", "teacher.keras")
        code = code.replace("basic_model=student", "basic_model=student, batch_size=16")
        exec(re.sub(r'"epoch": \d+', '"epoch": 1', code), names)
        if words == "teacher_model_interf":
            names["tt"].train(names["sch"])
    assert os.path.exists(names["clean"]) and names["tt"].data_path == names["clean"]


def test_a_model_is_evaluated(bin_file, workdir, capsys):
    os.makedirs("checkpoints")
    tiny_model().save("checkpoints/x_basic_agedb_30_epoch_39_0.942500.keras")
    exec(code_with("docs/guides/evaluation.md", "evaluate_model").replace("lfw.bin", bin_file), {})
    assert "10-fold accuracy" in capsys.readouterr().out


def test_who_is_this(people, workdir, monkeypatch, capsys):
    """Photos are crops here, for which no detector is needed."""
    from facetrainer.recognition.reader import FaceReader

    begin = FaceReader.__init__
    monkeypatch.setattr(FaceReader, "__init__", lambda self, model, *_, **__: begin(self, model, "aligned"))
    models.save(models.buildin_models("r_tiny", emb_shape=16), "face.keras")
    for path, image in {
        "a.jpg": people[0][0],
        "b.jpg": people[0][1],
        "party.jpg": people[1][0],
        "photos/ann/1.jpg": people[2][0],
    }.items():
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        assert cv2.imwrite(path, np.ascontiguousarray(decode(image, (112, 112))[:, :, ::-1]))
    names = {}
    exec(code_with("docs/guides/recognition.md", "recognition.Gallery").replace("face.tflite", "face.keras"), names)
    assert names["verdict"].cosine <= 1 and len(names["gallery"]) == 1 and "party.jpg" in capsys.readouterr().out


def test_a_strategy_of_tensorflow(record, workdir):
    import tensorflow as tf

    net = "models.buildin_models('r_tiny', emb_shape=16)"
    code = code_with("docs/guides/devices.md", "MirroredStrategy").replace("basic_model = ...", f"basic_model = {net}")
    code = code.replace(
        "Train(..., batch_size=512)", f"Train({record!r}, 'mirrored.keras', basic_model=basic_model, batch_size=16)"
    )
    sch = [{"loss": "arcface", "optimizer": "sgd", "epoch": 1}]
    exec(code, {"tf": tf, "models": models, "Train": facetrainer.Train, "sch": sch})
    assert os.path.exists("checkpoints/mirrored_basic_model_latest.keras")


def test_devices_of_jax(record, workdir):
    pytest.importorskip("jax")
    code = code_with("docs/guides/devices.md", "glint360k").replace("/datasets/glint360k", record)
    small = 'models.buildin_models("lenets", emb_shape=8, input_shape=(28, 28, 3), output_layer="H")'
    code = code.replace('models.buildin_models("r50")', small)
    code = code.replace("batch_size=128", "batch_size=8, epoch_size=2").replace('"epoch": 20', '"epoch": 1')
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": ROOT},
    )
    assert done.returncode == 0 and os.path.exists("checkpoints/r50_basic_model_latest.keras"), done.stderr


def test_logs_and_trackers(record, workdir, monkeypatch):
    """wandb is a stand-in: what it does with logs is its own."""
    wandb = types.ModuleType("wandb")
    wandb.init = lambda **_: None
    inner = types.ModuleType("wandb.integration.keras")
    inner.WandbMetricsLogger = keras.callbacks.Callback
    for name, module in {
        "wandb": wandb,
        "wandb.integration": types.ModuleType("wandb.integration"),
        inner.__name__: inner,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)
    code = code_with("docs/guides/watching.md", "wandb")
    code = code.replace("Train(...,", f"Train({record!r}, 'run.keras', basic_model=net, batch_size=16,")
    names = {"net": models.buildin_models("r_tiny", emb_shape=16)}
    exec(code, names)
    names["tt"].train([{"loss": "arcface", "optimizer": "sgd", "epoch": 1}])
    assert os.path.exists("run.csv") and os.listdir("logs")
