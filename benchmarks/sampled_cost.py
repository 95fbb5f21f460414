"""What a step of the sampled head costs as the number of people grows and the sample does not: on JAX, classes split over CPU devices.

    python -m benchmarks.sampled_cost --classes 125000 1000000 --sample 12500

CPU-seconds of a step, the median; embeddings (128, 512), ArcFace, SGD with and without momentum. Each case is a process of its own.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BATCH, WIDTH = 128, 512


def measure(classes: int, sample: int, momentum: float, steps: int) -> None:
    """Prints the median CPU-seconds of a step."""
    sys.path.insert(0, ROOT)
    import keras
    import numpy as np

    import facetrainer
    from facetrainer import heads, losses, models

    with facetrainer.devices(shard_classes=True):
        inputs = keras.layers.Input((WIDTH,))
        embedder = keras.Model(inputs, keras.layers.Activation("linear", name="embedding")(inputs))
        head = heads.PartialNormDense(classes, sample_rate=sample / classes)
        model = models.FaceModel(embedder, head, [losses.ArcfaceLoss()])
        model.compile(keras.optimizers.SGD(0.1, momentum=momentum))
        rng, times = np.random.default_rng(0), []
        for _ in range(steps + 2):
            x = rng.normal(size=(BATCH, WIDTH)).astype("float32")
            labels = rng.integers(0, classes, BATCH).astype("int32")
            begin = time.process_time()
            model.train_on_batch(x, {"labels": labels})
            times.append(time.process_time() - begin)
    print(statistics.median(times[2:]))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("sampled_cost", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--classes", type=int, nargs="+", default=[125_000, 1_000_000])
    parser.add_argument("--sample", type=int, default=12_500, help="classes of a step, all devices together")
    parser.add_argument("--devices", type=int, default=2)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    a = parser.parse_args(argv)
    if a.case:
        measure(int(a.case[0]), a.sample, float(a.case[1]), a.steps)
        return 0
    flags = f"--xla_force_host_platform_device_count={a.devices}"
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    for momentum in (0.0, 0.9):
        found = []
        for classes in a.classes:
            call = [sys.executable, "-m", "benchmarks.sampled_cost", "--sample", str(a.sample), "--steps", str(a.steps)]
            done = subprocess.run(
                [*call, "--case", str(classes), str(momentum)],
                capture_output=True,
                text=True,
                env=environment,
                cwd=ROOT,
                check=True,
            )
            found.append(float(done.stdout))
        print(f"momentum {momentum:g}:", ", ".join(f"{c:,} people {s:.3f}" for c, s in zip(a.classes, found, strict=True)),
              f"CPU-s a step, ratio {found[0] / found[-1]:.2f}", flush=True)  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
