"""Every backbone: parameters beside a peer's, multiply-additions, and time on this CPU.

    python -m benchmarks.backbones --counts                    # writes backbones/table.py
    python -m benchmarks.backbones r50 mobilefacenet --times   # ms an image one by one, images a second in batches of 64

Peers' counts: arcface_torch's own (512-d, whole model); timm 1.0's and facenet-pytorch's without classifier, which are compared
with ours without tail.
"""

import argparse
import os
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
WHOLE = {
    "r18": 24_025_600, "r34": 34_139_328, "r50": 43_590_848, "r100": 65_156_160, "r200": 118_833_920, "mbf": 2_059_520,
    "mbf_large": 6_314_880,
}  # fmt: skip
WITHOUT_TAIL = {
    "se_resnext50": 25_510_896, "se_resnext101": 46_906_416, "resnest50": 25_434_240, "resnest101": 46_226_016,
    "inception_resnet_v1": 22_564_096, "mobilenet_m1": 3_206_976, "efficientnetb0": 4_007_548,
}  # fmt: skip
LONGEST = 3  # seconds a model and batch size: a slow one is run fewer times
HEAD = '''"""Tail, trainable parameters and multiply-additions of every basic model of 512 dimensions, 112×112 pixels.

Written by `python -m benchmarks.backbones --counts`.
"""

TABLE = {
'''


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "backbones", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="default: all")
    parser.add_argument("--counts", action="store_true", help="count, and write backbones/table.py")
    parser.add_argument("--times", action="store_true")
    arguments = parser.parse_args(argv)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.path.insert(0, ROOT)
    from facetrainer import backbones
    from facetrainer.backbones.table import TABLE

    counted = {}
    for name in arguments.names or backbones.names():
        model, peer = build(name)
        counted[name] = tail, parameters, macs = counts(name, model)
        times = timed(model) if arguments.times else []
        print(
            "|",
            " | ".join([f"`{name}`", tail, f"{parameters:,}", f"{macs / 1e6:,.1f} M", peer, *times]),
            "|",
            flush=True,
        )
    if arguments.counts:
        write_table({**TABLE, **counted})
    return 0


def build(name):
    """→ basic model, and what a peer counts."""
    from facetrainer import backbones, models
    from facetrainer.backbones import count

    shape, tail = (112, 112, 3), backbones.TAILS.get(name, "GDC")
    stem = backbones.build(name, shape)
    peer = f"{WHOLE[name]:,}" if name in WHOLE else ""
    if name in WITHOUT_TAIL:
        peer = f"{WITHOUT_TAIL[name]:,} (ours without tail: {count.parameters(stem):,})"
    return models.buildin_models(stem, 0, 512, shape, tail, use_bias=tail in ("E", "H")), peer


def counts(name, model):
    """→ tail, parameters, multiply-additions."""
    from facetrainer import backbones
    from facetrainer.backbones import count

    return backbones.TAILS.get(name, "GDC"), count.parameters(model), count.macs(model)


def timed(model):
    """→ texts: milliseconds at batch 1, images a second at batch 64."""
    import numpy as np
    import tensorflow as tf

    found, run = [], tf.function(lambda x: model(x, training=False))
    for size, rounds in ((1, 15), (64, 3)):
        images, spent = tf.zeros((size, *model.input_shape[1:])), []
        run(images)
        while len(spent) < rounds and sum(spent) < LONGEST:
            begin = time.perf_counter()
            run(images).numpy()
            spent.append(time.perf_counter() - begin)
        middle = float(np.median(spent))
        found.append(f"{1000 * middle:.1f}" if size == 1 else f"{size / middle:.1f}")
    return found


def write_table(table):
    lines = [
        f'    "{name}": ("{tail}", {parameters:_}, {macs:_}),\n' for name, (tail, parameters, macs) in table.items()
    ]
    with open(os.path.join(ROOT, "backbones", "table.py"), "w", encoding="utf-8") as file:
        file.write(HEAD + "".join(lines) + "}\n")


if __name__ == "__main__":
    raise SystemExit(main())
