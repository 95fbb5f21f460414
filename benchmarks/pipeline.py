"""The input pipeline from a record file, shards and folders, beside the barest loop of TensorFlow over the same bytes.

    python -m benchmarks.pipeline --data /data/lfw

Images per CPU-second and per second, medians of rounds in turn in one process. The bare loop holds all bytes in memory and does
`tf.io.decode_jpeg` and batch, nothing else: no reading, no order, no augmentation.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def bare(images, batch_size):
    """Endless dataset of decoded batches."""
    import tensorflow as tf

    dataset = tf.data.Dataset.from_tensor_slices(images).repeat()
    dataset = dataset.map(lambda one: tf.io.decode_jpeg(one, 3), num_parallel_calls=tf.data.AUTOTUNE)
    return dataset.batch(batch_size, drop_remainder=True).prefetch(2)


def ours(path, status, batch_size):
    """Endless dataset of `open_faces`."""
    from facetrainer import data
    from facetrainer.data import augment

    return data.open_faces(path, batch_size, augmentations=augment.from_status(status)).batches()


def rate(dataset, batches, batch_size):
    """→ images per CPU-second, images per second; the first batches are not counted."""
    walk = iter(dataset)
    for _ in range(5):
        next(walk)
    times, begin = os.times(), time.perf_counter()
    for _ in range(batches):
        next(walk)
    after, count = os.times(), batches * batch_size
    return count / (after.user + after.system - times.user - times.system), count / (time.perf_counter() - begin)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "pipeline", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder with train.rec")
    parser.add_argument("--batches", type=int, default=100)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    a = parser.parse_args(argv)
    sys.path.insert(0, ROOT)
    import pandas as pd

    from facetrainer.data import sources
    from facetrainer.preparing.convert import convert
    from facetrainer.utils import memory

    memory.keep_freed_memory()  # as train.py does, for both sides: a batch's pages are not handed back and cleared again each time

    with tempfile.TemporaryDirectory() as home:
        source = sources.open_source(a.data)
        for kind in ("folder", "tfrecord"):
            convert(source, os.path.join(home, kind), kind, shards=4)
        runs = {("bare decode_jpeg", ""): lambda: bare([source.read(i) for i in range(len(source))], a.batch_size)}
        for name, path in (("rec", a.data), ("shards", f"{home}/tfrecord"), ("folder", f"{home}/folder")):
            for status in (0, 2, 100):
                runs[name, status] = lambda path=path, status=status: ours(path, status, a.batch_size)
        found = {key: [] for key in runs}
        for _ in range(a.rounds):
            for key, make in runs.items():
                found[key].append(rate(make(), a.batches, a.batch_size))
    medians = {key: [statistics.median(values) for values in zip(*rates, strict=True)] for key, rates in found.items()}
    cpu_bare, wall_bare = medians["bare decode_jpeg", ""]
    columns = ("source", "random_status", "images/CPU-s", "images/s", "of bare, CPU", "of bare, wall")
    rows = [
        (*key, round(cpu), round(wall), round(cpu / cpu_bare, 2), round(wall / wall_bare, 2))
        for key, (cpu, wall) in medians.items()
    ]
    table = pd.DataFrame(rows, columns=columns)
    print(table.to_string(index=False))
    print(
        "Keras_insightface from folders, another machine: 2,425 and 1,901 images/CPU-s at 0 and 2, 0.41 and 0.32 of the bare loop there"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
