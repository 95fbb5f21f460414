"""Kill a three-stage run at random times, run it again, compare with the run that was left alone.

    python -m benchmarks.kill_resume --kills 20

Each trial starts the run in a process of its own, sends it SIGKILL after a random part of the time that a whole run takes, starts
the same again and lets it end. Equal means every weight and optimizer slot to the last bit, and the whole history.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RUN = """
import os, sys
sys.path.insert(0, {root!r})
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
from facetrainer.data import augment
from facetrainer import losses
from facetrainer import models
from facetrainer import optimizers
from facetrainer import training as train
import keras
from facetrainer.data import synthetic as draw
keras.utils.set_random_seed(0)
data_path, held_out = draw.dataset(train_people=24, held_out_people=20, images=6)
model = models.buildin_models("r_tiny", dropout=0.2, emb_shape=32, input_shape=(48, 48, 3), output_layer="E",
                              bn_momentum=0.9, widths=(8, 16))
tt = train.Train(data_path, sys.argv[1], [held_out], basic_model=model, batch_size=12, lr_base=0.05, lr_decay_steps=6,
                 random_status=3, checkpoint_freq=3, verbose=0)
tt.train([
    {{"loss": "softmax", "centerloss": 0.01, "epoch": 2, "optimizer": optimizers.SGDW(5e-4, 0.05, momentum=0.9)}},
    {{"loss": losses.ArcfaceLoss(scale=16), "epoch": 2, "lossTopK": 2}},
    {{"loss": losses.ArcfaceLoss(scale=16), "epoch": 2, "triplet": 1, "lossTopK": 2}},
])
"""


def start(name):
    return subprocess.Popen(
        [sys.executable, "-c", RUN.format(root=ROOT), name], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def finish(process, most=600):
    """Wait for the end; a run that hangs is a failure as well."""
    error = process.communicate(timeout=most)[1]
    if process.returncode:
        raise RuntimeError(error.decode()[-3000:])


def state(name):
    with np.load(os.path.join("checkpoints", f"{name}.state.npz")) as file:
        return {key: file[key] for key in file.files if not key.startswith("metric")}


def equal(first, second):
    return first.keys() == second.keys() and all(np.array_equal(_value(first, k), _value(second, k)) for k in first)


def _value(arrays, key):
    """Evaluation states name files of their own run."""
    return str(arrays[key]).split('"evals"')[0] if key == "about" else arrays[key]


def trial(number, whole, begin, end):
    name, wait = f"killed{number}", random.uniform(begin, end)
    process = start(f"{name}.keras")
    time.sleep(wait)
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    reached = state(name)["about"] if os.path.exists(f"checkpoints/{name}.state.npz") else "nothing saved"
    finish(start(f"{name}.keras"))
    same = equal(whole, state(name))
    where = str(reached).split('"journal"')[0][-40:] if reached != "nothing saved" else reached
    print(
        f"{number}: killed after {wait:.1f} s{'' if alive else ' (had ended)'}, state at …{where} equal: {same}",
        flush=True,
    )
    return same


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "kill_resume", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--begin", type=float, default=0.3, help="earliest kill, part of a whole run's time")
    arguments = parser.parse_args(argv)
    random.seed(0)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        finish(start("warm.keras"))
        begin = time.time()
        finish(start("whole.keras"))
        length = time.time() - begin
        whole = state("whole")
        print(f"a whole run takes {length:.1f} s; two whole runs equal: {equal(whole, state('warm'))}", flush=True)
        same = sum(trial(n, whole, arguments.begin * length, length) for n in range(1, arguments.kills + 1))
        print(f"{same} of {arguments.kills} ended equal to the uninterrupted run")
    return 0 if same == arguments.kills else 1


if __name__ == "__main__":
    raise SystemExit(main())
