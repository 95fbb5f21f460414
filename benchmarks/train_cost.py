"""CPU-seconds of a training image: the whole `Train` run beside a bare Keras `fit` on arrays, in turn, in one process.

    python -m benchmarks.train_cost
    python -m benchmarks.train_cost --bare-only      # also runs in an environment with TensorFlow 2.15 / Keras 2

Batch 64, 112×112, 1,000 classes, ArcFace, embedding 256, SGD with momentum. "Keras's own operations" are its
batch normalisation and PReLU; the other bare `fit` has ours, as `FaceModel` compiles itself.
"""

import argparse
import os
import statistics
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
BATCH, CLASSES = 64, 1000


def cpu() -> float:
    now = os.times()
    return now.user + now.system


def bare_keras2(name, rounds, steps):
    """The same backbone with a cosine head in whatever Keras `tensorflow` brings."""
    import numpy as np
    import tensorflow as tf

    keras = tf.keras

    class Head(keras.layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(name="w", shape=(shape[-1], CLASSES), initializer="random_normal")

        def call(self, x):
            return tf.matmul(tf.math.l2_normalize(x, -1), tf.math.l2_normalize(self.w, 0))

    def arcface(labels, cosine):
        hot = tf.one_hot(tf.cast(tf.reshape(labels, (-1,)), tf.int32), CLASSES)
        angle = tf.acos(tf.clip_by_value(cosine, -1 + 1e-7, 1 - 1e-7))
        return tf.nn.softmax_cross_entropy_with_logits(hot, 64 * tf.where(hot > 0, tf.cos(angle + 0.5), cosine))

    if name == "mobilenet":
        stem = keras.applications.MobileNet(input_shape=(112, 112, 3), include_top=False, weights=None)
    else:
        stem = _keras2_mobilefacenet(keras.layers)(input_shape=(112, 112, 3))
    x = keras.layers.DepthwiseConv2D(stem.output.shape[1], use_bias=False)(stem.output)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.Flatten()(keras.layers.Conv2D(256, 1, use_bias=False)(x))
    model = keras.Model(stem.input, Head()(keras.layers.BatchNormalization()(x)))
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9), arcface)
    images = np.random.default_rng(0).normal(size=(BATCH * steps, 112, 112, 3)).astype("float32")
    labels = np.random.default_rng(1).integers(0, CLASSES, BATCH * steps)
    model.fit(images[: 2 * BATCH], labels[: 2 * BATCH], batch_size=BATCH, verbose=0)
    found = []
    for _ in range(rounds):
        begin = cpu()
        model.fit(images, labels, batch_size=BATCH, verbose=0)
        found.append(BATCH * steps / (cpu() - begin))
    median = statistics.median(found)
    print(f"TensorFlow {tf.__version__}, {name}, bare fit: {median:.1f} images a CPU-second", flush=True)


def compare(name, rounds, steps):
    """Rounds of bare plain and bare fused in turn, then as many epochs of Train → median images a CPU-second of each."""
    import keras
    import numpy as np

    from facetrainer import losses, models
    from facetrainer.backbones import fused_norm, fused_prelu

    smooth = images(steps)
    arrays = (np.stack(smooth).astype("float32") - 127.5) / 128
    labels = {"labels": np.random.default_rng(1).integers(0, CLASSES, BATCH * steps).astype("int32")}

    def bare(fused):
        model = models.FaceModel(
            models.buildin_models(name, emb_shape=256), models.NormDense(CLASSES), [losses.ArcfaceLoss()]
        )
        model.compile(keras.optimizers.SGD(0.01, momentum=0.9))
        if not fused:
            fused_norm.set_fused(model, False)
            fused_prelu.set_fused(model, False)
        model.fit(arrays[: 2 * BATCH], {"labels": labels["labels"][: 2 * BATCH]}, batch_size=BATCH, verbose=0)
        return lambda: model.fit(arrays, labels, batch_size=BATCH, verbose=0)

    sides = {"bare fit, Keras's own operations": bare(False), "bare fit": bare(True)}
    found = {side: [] for side in sides}
    for _ in range(rounds):
        for side, run in sides.items():
            begin = cpu()
            run()
            found[side].append(BATCH * steps / (cpu() - begin))
    found["Train"] = whole(name, rounds, smooth)
    medians = {side: statistics.median(values) for side, values in found.items()}
    ratio = medians["Train"] / medians["bare fit"]
    print(name, {side: f"{value:.1f}" for side, value in medians.items()}, f"Train / bare fit {ratio:.3f}", flush=True)


def _keras2_mobilefacenet(layers):
    """The function of our file, with plain Keras 2 in the place of the package around it, which needs Keras 3."""
    import runpy
    import types

    around = types.ModuleType("facetrainer.backbones")
    around.parts = types.SimpleNamespace(
        norm=lambda x, name, **options: layers.BatchNormalization(name=name, **options)(x),
        activate=lambda x, kind, name: layers.PReLU(shared_axes=[1, 2], name=name)(x),
    )
    around.register = lambda *names, **options: lambda build: build
    sys.modules |= {"facetrainer": types.ModuleType("facetrainer"), "facetrainer.backbones": around}
    return runpy.run_path(os.path.join(ROOT, "facetrainer", "backbones", "mobile_facenet.py"))["build"]


def images(steps):
    """Smooth pictures, as many as an epoch has."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    return [cv2.resize(rng.integers(0, 256, (8, 8, 3)).astype(np.uint8), (112, 112)) for _ in range(BATCH * steps)]


def whole(name, rounds, smooth):
    """Images a CPU-second of each epoch of a `Train` run but the first."""
    import cv2
    import keras

    from facetrainer import Train, losses, models
    from facetrainer.io import recordio

    class Clock(keras.callbacks.Callback):
        found = []

        def on_epoch_begin(self, epoch, logs=None):
            self.begin = cpu()

        def on_epoch_end(self, epoch, logs=None):
            self.found.append(len(smooth) / (cpu() - self.begin))

    jpegs = [cv2.imencode(".jpg", image)[1].tobytes() for image in smooth]
    # 1,000 classes, whatever the number of images: the others appear in the id range only as single images
    recordio.write_faces("train", [jpegs[i::CLASSES] or [jpegs[i % len(jpegs)]] for i in range(CLASSES)])
    model = models.buildin_models(name, emb_shape=256)
    trainer = Train(".", f"{name}.keras", basic_model=model, batch_size=BATCH, verbose=0, resume=False)
    trainer.custom_callbacks.append(Clock())
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    trainer.train({"loss": losses.ArcfaceLoss(), "epoch": rounds + 1, "optimizer": optimizer})
    return Clock.found[-rounds:]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "train_cost", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--bare-only", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=16)
    arguments = parser.parse_args(argv)
    if arguments.bare_only:
        for name in ("mobilenet", "mobilefacenet"):
            bare_keras2(name, arguments.rounds, arguments.steps)
        return 0
    sys.path.insert(0, ROOT)
    from facetrainer.utils.memory import keep_freed_memory

    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for name in ("mobilenet", "mobilefacenet"):
            compare(name, arguments.rounds, arguments.steps)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
