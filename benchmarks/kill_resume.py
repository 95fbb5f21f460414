"""Kill runs at random moments, run them again, compare with runs that were left alone.

    python -m benchmarks.kill_resume --kills 60

Each trial starts a run in a process of its own, sends it SIGKILL after a random part of the time that a whole run takes, starts the
same again and lets it end. Equal means every weight, optimizer slot, running mean and kept memory to the last bit, and the whole history.
The configurations are taken in turn.
"""

import argparse
import json
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
import sys
sys.path.insert(0, {root!r})
import keras
from facetrainer import Train, losses, models, optimizers
from facetrainer.data import synthetic
keras.utils.set_random_seed(0)
data_path, held_out = synthetic.dataset(train_people=24, held_out_people=20, images=6)
model = models.buildin_models("r_tiny", dropout=0.2, emb_shape=32, input_shape=(48, 48, 3), output_layer="E",
                              bn_momentum=0.9, widths=(8, 16))
options = dict(batch_size=12, lr_base=0.05, lr_decay_steps=6, random_status=3, verbose=0)
sgd, arc = keras.optimizers.SGD(0.05, momentum=0.9), {{"loss": losses.ArcfaceLoss(scale=16), "epoch": 2}}
{config}
tt = Train(data_path, sys.argv[1], [held_out], basic_model=model, **options)
tt.train(sch)
"""
CONFIGS = {
    "centers": """
options.update(checkpoint_freq=3)
sch = [{"loss": "softmax", "centerloss": 0.01, "epoch": 2, "optimizer": optimizers.SGDW(5e-4, 0.05, momentum=0.9)}, arc,
       {**arc, "triplet": 1, "centerloss": 0.01}]
""",
    "averages, mixup": """
options.update(checkpoint_freq=2)
sch = [{**arc, "loss": "softmax", "ema": 0.9, "mixup": 0.3, "optimizer": sgd}, {**arc, "ema": 0.8, "freeze": "stem_*"}]
""",
    "sampled head, ramps": """
options.update(partial_fc_sample_rate=0.5, checkpoint_freq=5, eval_freq=3)
sch = [{**arc, "scale": (8, 32), "lossTopK": 2, "optimizer": sgd}, {**arc, "loss": "adaface", "balanced": 0.7}]
""",
    "VPL, clip": """
options.update(vpl_start_iters=6, checkpoint_freq=1)
sch = [{**arc, "optimizer": "adam", "clip": 1.0}, {**arc, "loss": "curricularface"}]
""",
    "accumulation, steps_per_execution": """
options.update(steps_per_execution=5, checkpoint_freq=4)
sch = [{**arc, "accumulate": 3, "optimizer": sgd}, {**arc, "loss": losses.BatchHardTripletLoss(0.3)}, {**arc, "accumulate": 2}]
""",
    "float16, two centers": """
keras.config.set_dtype_policy("mixed_float16")
model = models.convert_to_mixed_float16(model)
options.update(checkpoint_freq=4)
sch = [{**arc, "embLossTypes": ["center", losses.CenterLoss(alpha=0.1)], "embLossWeights": 0.01, "optimizer": sgd},
       {**arc, "bottleneckOnly": True}, {**arc, "loss": "magface", "embLossTypes": "center", "embLossWeights": 0.01}]
""",
}


def start(config: str, name: str) -> subprocess.Popen:
    """The run of a configuration in a process of its own, writing to checkpoints/{name}.*."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    code = RUN.format(root=ROOT, config=CONFIGS[config])
    call = [sys.executable, "-c", code, f"{name}.keras"]
    return subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)


def finish(process: subprocess.Popen, most: float = 900) -> None:
    """Waits for the end; a run that hangs is a failure as well."""
    error = process.communicate(timeout=most)[1]
    if process.returncode:
        raise RuntimeError(error.decode()[-3000:])


def state(name: str) -> dict:
    """Arrays of a run's state, and what is said beside them but the names of files."""
    with np.load(os.path.join("checkpoints", f"{name}.state.npz")) as file:
        found = {key: file[key] for key in file.files}
    about = json.loads(str(found["about"]))
    about["states"].pop("evaluations")
    return {**found, "about": json.dumps(about, sort_keys=True)}


def equal(first: dict, second: dict) -> bool:
    """Whether two states are the same to the last bit."""
    return first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)


def trial(config, number, whole, length, begin):
    """One kill → whether the run ended as it should have."""
    name, wait = f"killed{number}", random.uniform(begin, 1.0) * length
    process = start(config, name)
    time.sleep(wait)
    alive = process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.communicate()
    reached = (
        json.loads(str(state(name)["about"]))["states"]["progress"]
        if os.path.exists(f"checkpoints/{name}.state.npz")
        else None
    )
    finish(start(config, name))
    same = equal(whole, state(name))
    print(
        f"{number} {config}: killed after {wait:.1f} s{'' if alive else ' (had ended)'}, at {reached}, equal: {same}",
        flush=True,
    )
    return same


def main(argv: list[str] | None = None) -> int:
    """0 when every run ended equal to the uninterrupted one."""
    parser = argparse.ArgumentParser(
        "kill_resume", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--begin", type=float, default=0.3, help="earliest kill, part of a whole run's time")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=CONFIGS, nargs="+", default=list(CONFIGS))
    arguments = parser.parse_args(argv)
    random.seed(arguments.seed)
    same = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for place, config in enumerate(arguments.only):
            finish(start(config, f"warm{place}"))
            begin = time.time()
            finish(start(config, f"whole{place}"))
            length, whole = time.time() - begin, state(f"whole{place}")
            print(
                f"{config}: a whole run takes {length:.1f} s; two are equal: {equal(whole, state(f'warm{place}'))}",
                flush=True,
            )
            kills = range(place, arguments.kills, len(arguments.only))
            same += sum(trial(config, number, whole, length, arguments.begin) for number in kills)
        print(f"{same} of {arguments.kills} ended equal to the uninterrupted run")
    return 0 if same == arguments.kills else 1


if __name__ == "__main__":
    raise SystemExit(main())
