"""CPU-seconds and peak memory of one training step of the head alone: one-hot labels as in Keras_insightface, ours, ours sampled.

    python -m benchmarks.head_cost --classes 200000

Embeddings (128, 512), ArcFace, SGD. Each side runs in a process of its own, in turn, all with the C library's memory kept as `Train`
keeps it.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BATCH, WIDTH = 128, 512
SIDES = ("one-hot", "full", "sampled 0.1", "one-hot, momentum", "full, momentum", "sampled 0.1, momentum")


def one_hot(classes, momentum):
    """Head and loss in the form of Keras_insightface: the table is normalised, labels are (B, C) int32."""
    import keras
    import tensorflow as tf

    w = keras.Variable(keras.random.normal((WIDTH, classes), stddev=0.01))
    optimizer = keras.optimizers.SGD(0.1, momentum=momentum)
    optimizer.build([w])

    @tf.function
    def step(x, labels):
        hot = tf.one_hot(labels, classes, dtype=tf.int32)
        with tf.GradientTape() as tape:
            cosine = tf.nn.l2_normalize(x, -1) @ tf.nn.l2_normalize(w.value, 0)
            place = tf.where(hot != 0)
            target = tf.gather_nd(cosine, place)
            pulled = tf.cos(tf.acos(target) + 0.5)
            cosine = tf.tensor_scatter_nd_update(cosine, place, pulled)
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(tf.cast(hot, tf.float32), 64 * cosine))
        optimizer.apply(tape.gradient(loss, [w.value]), [w])
        return loss

    return step


def ours(classes, momentum, rate):
    """The same as a `FaceModel` whose embedder does nothing."""
    import keras

    from facetrainer import losses, models

    inputs = keras.layers.Input((WIDTH,))
    embedder = keras.Model(inputs, keras.layers.Activation("linear", name="embedding")(inputs))
    head = models.PartialNormDense(classes, sample_rate=rate) if rate < 1 else models.NormDense(classes)
    model = models.FaceModel(embedder, head, [losses.ArcfaceLoss()])
    model.compile(keras.optimizers.SGD(0.1, momentum=momentum))
    return lambda x, labels: model.train_on_batch(x, {"labels": labels})


def measure(side, classes, steps):
    """Prints the median CPU-seconds of a step and the process's peak memory in GB."""
    sys.path.insert(0, ROOT)
    import numpy as np
    import tensorflow as tf

    from facetrainer.utils.memory import keep_freed_memory

    keep_freed_memory()
    momentum = 0.9 if "momentum" in side else 0.0
    rate = 0.1 if "sampled" in side else 1.0
    step = one_hot(classes, momentum) if side.startswith("one-hot") else ours(classes, momentum, rate)
    rng, times = np.random.default_rng(0), []
    for _ in range(steps + 2):
        x = tf.constant(rng.normal(size=(BATCH, WIDTH)).astype("float32"))
        labels = tf.constant(rng.integers(0, classes, BATCH).astype("int32"))
        begin = sum(os.times()[:2])
        step(x, labels)
        times.append(sum(os.times()[:2]) - begin)
    print(statistics.median(times[2:]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "head_cost", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--classes", type=int, default=200_000)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.side:
        measure(arguments.side, arguments.classes, arguments.steps)
        return 0
    found = {side: [] for side in SIDES}
    for _ in range(arguments.rounds):
        for side in SIDES:
            call = [sys.executable, os.path.abspath(__file__), "--classes", str(arguments.classes)]
            call += ["--steps", str(arguments.steps), "--side", side]
            answer = subprocess.run(call, capture_output=True, text=True, check=True).stdout.split()
            found[side].append([float(value) for value in answer[-2:]])
    for side, values in found.items():
        step, memory = (statistics.median(column) for column in zip(*values, strict=True))
        reference = [
            statistics.median(c) for c in zip(*found["one-hot" + ", momentum" * ("momentum" in side)], strict=True)
        ]
        print(
            f"{side:24s} {step:6.3f} CPU-s a step ({reference[0] / step:.2f}× cheaper), {memory:.2f} GB ({memory / reference[1]:.2f})"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
