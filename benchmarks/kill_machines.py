"""Kills processes of a run of two, and goes on: with two, or on another number of devices.

    python -m benchmarks.kill_machines --kills 20

Each time a run of two processes, classes split over them, is killed at a random moment: one of the two, or both. The same command goes on,
every fourth time on one device or on three. Losses and weights at the end are compared with those of a run on one device that nobody
killed. Of the process that is left: seconds until it ends.
"""

import argparse
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RECIPE = """
import keras
from facetrainer import losses, models
keras.utils.set_random_seed(0)
data_path, save_path, eval_paths, report, verbose = "record", "run.keras", ["drawn.bin"], False, 2
basic_model = models.buildin_models("r_tiny", emb_shape=16, input_shape=(32, 32, 3), widths=(8, 16), output_layer="E", bn_momentum=0.9)
batch_size, lr_base, seed, random_status, checkpoint_freq = globals().get("batch_size", 6), 0.01, 3, 2, 2
sch = [
    {"loss": "softmax", "epoch": 1, "optimizer": keras.optimizers.SGD(0.01, momentum=0.9)},
    {"loss": losses.ArcfaceLoss(scale=8), "epoch": 3, "centerloss": 0.01, "ema": 0.8},
]
"""


def start(process: int, port: int, devices: int = 1):
    """A process of a run of two, or with port 0 of one."""
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "PYTHONPATH": ROOT}
    call = [sys.executable, "-m", "facetrainer", "train", "recipe.py"]
    if port:
        call += ["--shard-classes", "--machines", f"127.0.0.1:{port}", "--machine", f"{process}/2"]
    else:
        call += ["--set", f"batch_size={12 // devices}", *(["--shard-classes"] if devices > 1 else [])]
    return subprocess.Popen(call, stdout=open(f"{process}.log", "w"), stderr=subprocess.STDOUT, env=environment)


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def both() -> list:
    """A run of two processes."""
    port = free_port()
    return [start(process, port) for process in range(2)]


def result():
    """Losses of all epochs, and the weights of the basic model."""
    import h5py
    import numpy as np

    with open("checkpoints/run_hist.json") as file:
        losses = json.load(file)["loss"]
    shutil.unpack_archive("checkpoints/run_basic_model_latest.keras", "model", "zip")
    found = []
    with h5py.File("model/model.weights.h5") as file:
        file.visititems(lambda _, one: found.append(one[()].ravel()) if isinstance(one, h5py.Dataset) else None)
    return np.array(losses), np.concatenate(found)


def one(number: int, luck: random.Random) -> dict:
    """A run that is killed and goes on."""
    shutil.rmtree("checkpoints", ignore_errors=True)
    running = both()
    while not os.path.exists("checkpoints/run.state.json"):
        time.sleep(0.05)
    time.sleep(luck.uniform(0, 6))
    victims = luck.choice([[0], [1], [0, 1]])
    if any(process.poll() is not None for process in running):
        raise SystemExit("the run ended before it was killed: make it longer")
    for k in victims:
        running[k].kill()
    begin = time.time()
    left = [running[k].wait(120) for k in range(2) if k not in victims]
    seconds = time.time() - begin
    devices = luck.choice([1, 3]) if number % 4 == 3 else 2
    again = both() if devices == 2 else [start(0, 0, devices)]
    codes = [process.wait(300) for process in again]
    return {"killed": victims, "codes": left, "seconds": round(seconds, 2), "went on": devices, "ended": codes}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "kill_machines", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0, help="of the moments and victims")
    a = parser.parse_args(argv)
    sys.path.insert(0, ROOT)
    import numpy as np

    from facetrainer.data import synthetic as draw
    from facetrainer.io import evalbin, recordio

    os.chdir(tempfile.mkdtemp())
    os.makedirs("record")
    recordio.write_faces("record/train", draw.people(13, 12, seed=1))
    chosen, others = draw.pairs(6, 4, 2, seed=3, pairs_a_fold=5), draw.people(6, 4, seed=2)
    images = [image for p, i, q, j in chosen for image in (others[p][i], others[q][j])]
    evalbin.write_bin("drawn.bin", images, [p == q for p, _, q, _ in chosen])
    with open("recipe.py", "w") as file:
        file.write(RECIPE)
    assert start(0, 0).wait(300) == 0
    losses, weights = result()
    luck, worst = random.Random(a.seed), 0.0
    for number in range(a.kills):
        about = one(number, luck)
        found, now = result()
        difference = max(float(np.abs(found - losses).max()), float(np.abs(now - weights).max()))
        worst = max(worst, difference)
        print({**about, "largest difference": f"{difference:.1e}"}, flush=True)
    print(f"{a.kills} kills, largest difference of losses and weights {worst:.1e}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
