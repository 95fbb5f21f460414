"""Losses and weights of every head x loss on one device, on four, and in several processes.

    python -m benchmarks.equality

20 steps of 16 images, 101 classes; ArcFace, CosFace with triplets and centers, ArcFace with distillation. Prints the largest differences
from one device.
"""

import os
import subprocess
import sys
import tempfile

import numpy as np

from benchmarks.kill_machines import ROOT, free_port

RUN = os.path.join(ROOT, "tests", "distributed", "run.py")
PLACES = {"1 x 4": (1, 4), "2 x 1": (2, 1), "2 x 2": (2, 2)}


def results(processes: int, devices: int, folder: str) -> dict:
    """What process 0 of a run measures."""
    port, out = free_port(), [os.path.join(folder, f"{processes}x{devices}-{k}.npz") for k in range(processes)]
    more = [[f"127.0.0.1:{port}", f"{k}/{processes}"] if processes > 1 else [] for k in range(processes)]
    calls = [[sys.executable, RUN, str(devices), out[k], "every", *more[k]] for k in range(processes)]
    runs = [subprocess.Popen(call, cwd=ROOT) for call in calls]
    if any([run.wait() for run in runs]):
        raise SystemExit(f"{processes} x {devices} failed")
    return dict(np.load(out[0]))


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        one = results(1, 1, folder)
        for place, (processes, devices) in PLACES.items():
            many = results(processes, devices, folder)
            far = {name: np.abs(many[name] - one[name]).max() for name in one}
            for name in [name for name in one if "/weights" not in name]:
                weights = max((far[n] for n in far if n.startswith(f"{name}/weights")), default=0.0)
                print(f"{place}  {name:40} loss {far[name]:.1e}  weights {weights:.1e}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
