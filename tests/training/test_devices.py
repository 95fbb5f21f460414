"""Several devices: each option equals one device with the double batch, or is refused while the schedule is read."""

import subprocess
import sys

import numpy as np
import pytest
from helpers import ON_TENSORFLOW, ROOT

from facetrainer.training import StageOptions, parse_schedule

CODE = """
import sys
sys.path[:0] = [{root!r}, {root!r} + "/tests"]
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from facetrainer import Train, losses, optimizers
from helpers import tiny_model
plain = {{"loss": losses.ArcfaceLoss(scale=16, margin2=0.2), "epoch": 2, "optimizer": keras.optimizers.SGD(0.02, momentum=0.9)}}
stages = {{"all": {{**plain, "scale": (8, 32), "margin": (0, 0.3), "clip": 0.5, "centerloss": 0.1, "ema": 0.8}},
          "muon": {{**plain, "epoch": 1, "clip": 0.5, "optimizer": optimizers.Muon(0.02)}}}}
for replicas in (1, 2):
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]) if replicas == 2 else tf.distribute.get_strategy()
    found = {{}}
    for name, stage in stages.items():
        with strategy.scope():
            keras.utils.set_random_seed(0)
            model = tiny_model(bn_momentum=0.9)
            for layer in model.layers:
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.trainable = False  # statistics of half a batch differ by nature
            tt = Train({record!r}, name + str(replicas) + ".keras", [{bin!r}], basic_model=model, batch_size=16 // replicas,
                       lr_base=0.02, random_status=-1, verbose=0)
            tt.train([stage])
        assert tt.batch_size == 16
        for i, weight in enumerate([*tt.model.embedder.weights, *tt.model.head.weights, *tt.model.terms[-1].weights]):
            found[name + str(i)] = weight.numpy()
        found[name + " loss"] = np.array(tt.my_history.history["loss"])
        found[name + " accuracy"] = np.array(tt.my_history.history["drawn"])
    np.savez(f"{{replicas}}.npz", **found)
"""


@pytest.mark.long
@ON_TENSORFLOW
def test_two_devices_equal_one_with_the_double_batch(record, bin_file, workdir):
    code = CODE.format(root=ROOT, record=record, bin=bin_file)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=270)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [np.load(f"{replicas}.npz") for replicas in (1, 2)]
    assert set(found[0]) == set(found[1])
    for name in found[0]:
        if name.endswith("accuracy"):
            np.testing.assert_allclose(found[0][name], found[1][name], atol=0.05, err_msg=name)
        else:
            scale = max(np.abs(found[0][name]).max(), 1.0)
            # Muon makes a direction that was small by chance as long as the others
            close = 1e-3 if name.startswith("muon") else 1e-5
            np.testing.assert_allclose(found[0][name] / scale, found[1][name] / scale, atol=close, err_msg=name)


@pytest.mark.parametrize(
    ("stage", "defaults", "text"),
    [
        ({"accumulate": 2}, {}, "'accumulate' works on one device. Received: 2 devices. Use a larger batch_size"),
        ({"sam_rho": 0.05}, {}, "'sam_rho' works on one device"),
        (
            {},
            {"sample_rate": 0.5},
            "partial_fc_sample_rate below 1 works on one device. Received: 2 devices. Leave it at 1",
        ),
    ],
)
def test_what_one_device_alone_can_do_is_refused(stage, defaults, text):
    with pytest.raises(ValueError) as error:
        parse_schedule({"loss": "arcface", "epoch": 1, **stage}, StageOptions(**defaults), replicas=2)
    assert str(error.value).startswith("sch[0]: ") and text in str(error.value)
