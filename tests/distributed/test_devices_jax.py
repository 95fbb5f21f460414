"""Many devices on JAX: whatever they share, the numbers are those of one."""

import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from benchmarks.kill_machines import free_port

pytestmark = pytest.mark.long
pytest.importorskip("jax")
pytest.importorskip("orbax.checkpoint")
RUN = os.path.join(os.path.dirname(__file__), "run.py")


def run(devices, out, *arguments, check=True):
    call = [sys.executable, RUN, str(devices), out, *map(str, arguments)]
    done = subprocess.run(call, capture_output=True, text=True, timeout=270)
    assert done.returncode == 0 or not check, done.stderr[-3000:]
    return np.load(out) if done.returncode == 0 else done


def test_losses_and_gradients_are_those_of_one_device(workdir):
    """101 classes on 4 devices; a weight after a few steps is a sum of gradients."""
    one, four = run(1, "one.npz", "losses"), run(4, "four.npz", "losses")
    assert set(one.files) == set(four.files) and len(one.files) > 20
    for name in one.files:
        np.testing.assert_allclose(four[name], one[name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_a_run_goes_on_on_other_devices(workdir, record, bin_file):
    shutil.copytree(record, "record")
    shutil.copyfile(bin_file, "drawn.bin")
    whole = run(1, "whole.npz", "train")
    shutil.rmtree("checkpoints")
    run(4, "broken.npz", "train", 6)
    assert os.path.exists("checkpoints/run.state.json") and not os.path.exists("checkpoints/run.state.npz")
    shutil.copytree("checkpoints", "kept")
    for devices in (1, 3):
        resumed = run(devices, "resumed.npz", "train")
        assert os.path.exists("checkpoints/run.state.npz") == (devices == 1)
        assert set(resumed.files) == set(whole.files)
        for name in whole.files:
            np.testing.assert_allclose(resumed[name], whole[name], rtol=2e-4, atol=2e-5, err_msg=name)
        shutil.rmtree("checkpoints")
        shutil.copytree("kept", "checkpoints")


def test_what_a_step_sends_and_draws(workdir):
    found = run(4, "parts.npz", "parts")
    for case in found.files:
        if case.startswith("split"):
            assert found[case].max() < 10007 // 4, case  # neither the classes nor a device's part of them
    drawn, labels, columns = found["drawn"], found["labels"], found["columns"]
    np.testing.assert_allclose(found["scores"], found["expected"], atol=1e-6)
    np.testing.assert_array_equal(drawn[columns], labels)
    assert len(set(drawn.tolist())) == len(drawn) == 4 * 8 and drawn.max() <= 100
    check_drawn_rows(found)
    blocks = [name for name in found.files if name.startswith("blocks/") and "/4/" in name]
    assert len(blocks) > 15
    for name in blocks:
        np.testing.assert_allclose(found[name], found[name.replace("/4/", "/1/")], rtol=1e-5, atol=1e-6, err_msg=name)
    parts = found["images"].reshape(4, -1, 5)
    normal = (parts - parts.mean(1, keepdims=True)) / np.sqrt(parts.var(1, keepdims=True) + 1e-3)
    np.testing.assert_allclose(found["normal"].reshape(4, -1, 5), normal, atol=1e-5)
    np.testing.assert_allclose(found["mean"], 0.5 * parts.mean((0, 1)), atol=1e-5)


def check_drawn_rows(found):
    """The first step is that of the whole table; later ones move the drawn rows alone, whatever the optimizer remembers."""
    for name in ("sgd", "momentum", "adam"):
        rows, steps = found[f"{name}/before"], [found[f"{name}/rows/{step}"] for step in range(2)]
        if name != "adam":  # with sam_rho the whole table climbs along all classes
            np.testing.assert_allclose(steps[0], found[f"{name}/all/0"], atol=2e-6, err_msg=name)
        moved = [np.abs(b - a).max(1) > 0 for a, b in zip([rows, *steps], steps, strict=False)]
        assert [each.sum() for each in moved] == [64, 64] and (moved[0] != moved[1]).any(), name
    np.testing.assert_allclose(found["sgd/rows/1"], found["sgd/all/1"], atol=2e-6)


RECIPE = """
import keras
from facetrainer import losses
keras.utils.set_random_seed(0)
inputs = keras.Input((16, 16, 3))
x = keras.layers.Dense(16, name="E_dense")(keras.layers.Flatten()(keras.layers.AveragePooling2D(4)(inputs)))
basic_model = keras.Model(inputs, keras.layers.BatchNormalization(momentum=0.9, name="embedding")(x))
data_path, save_path, eval_paths, report, verbose = "record", "run.keras", ["drawn.bin"], False, 2
batch_size, lr_base, seed, random_status, checkpoint_freq = globals().get("batch_size", 6), 0.01, 3, 2, 1
sch = [{"loss": losses.ArcfaceLoss(scale=8), "epoch": 3, "centerloss": 0.01, "optimizer": keras.optimizers.SGD(0.01)}]
"""


def start(process, port):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=1"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    call = [sys.executable, "-m", "facetrainer", "train", "recipe.py"]
    call += (
        ["--shard-classes", "--machines", f"127.0.0.1:{port}", "--machine", f"{process}/2"]
        if port
        else ["--set", "batch_size=12"]
    )
    return subprocess.Popen(call, stdout=open(f"{process}.log", "w"), stderr=subprocess.STDOUT, env=environment)


def test_a_lost_process_ends_the_other_and_the_run_goes_on(workdir, record, bin_file):
    shutil.copytree(record, "record")
    shutil.copyfile(bin_file, "drawn.bin")
    with open("recipe.py", "w") as file:
        file.write(RECIPE)
    port = free_port()
    both = [start(process, port) for process in range(2)]
    deadline = time.time() + 120
    while "Epoch 2/3" not in open("0.log").read() and time.time() < deadline:
        time.sleep(0.1)
    both[1].kill()
    begin = time.time()
    assert both[0].wait(60) == 1 and time.time() - begin < 30, open("0.log").read()[-2000:]
    assert "Epoch" not in open("1.log").read()  # process 0 speaks for all
    assert json.load(open("checkpoints/run.state.json"))["states"]["progress"]["epoch"] >= 1
    assert start(0, 0).wait(200) == 0, open("0.log").read()[-2000:]
    assert "resumed from checkpoints/run.state" in open("0.log").read()
    resumed = json.load(open("checkpoints/run_hist.json"))["loss"]
    shutil.rmtree("checkpoints")
    assert start(0, 0).wait(200) == 0
    np.testing.assert_allclose(resumed, json.load(open("checkpoints/run_hist.json"))["loss"], rtol=1e-5)
