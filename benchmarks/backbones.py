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
    import backbones

    names = arguments.names or backbones.names()
    rows = {}
    for name in names:
        rows[name] = row = measure(name, arguments.times)
        print(f"| `{name}` | " + " | ".join(row.values()) + " |", flush=True)
    if arguments.counts:
        write_table(rows)
    return 0


def measure(name, times):
    """→ texts of a row, by column."""
    import backbones
    import models
    from backbones import count

    shape = (112, 112, 3)
    tail = backbones.TAILS.get(name, "GDC")
    stem = backbones.build(name, shape)
    bare = count.parameters(stem)
    model = models.buildin_models(stem, 0, 512, shape, tail, use_bias=tail in ("E", "H"))
    row = {"tail": tail, "parameters": f"{count.parameters(model):,}", "macs": f"{count.macs(model) / 1e6:,.1f} M"}
    row["peer"] = f"{WHOLE[name]:,}" if name in WHOLE else ""
    if name in WITHOUT_TAIL:
        row["peer"] = f"{WITHOUT_TAIL[name]:,} (ours without tail: {bare:,})"
    return {**row, **timed(model)} if times else row


def timed(model):
    import numpy as np
    import tensorflow as tf

    found, run = {}, tf.function(lambda x: model(x, training=False))
    for column, size, rounds in (("ms, batch 1", 1, 15), ("images/s, batch 64", 64, 3)):
        images, spent = tf.zeros((size, *model.input_shape[1:])), []
        run(images)
        for _ in range(rounds):
            begin = time.perf_counter()
            run(images).numpy()
            spent.append(time.perf_counter() - begin)
            if sum(spent) > LONGEST:
                break
        middle = float(np.median(spent))
        found[column] = f"{1000 * middle:.1f}" if size == 1 else f"{size / middle:.1f}"
    return found


def write_table(rows):
    lines = [
        f'    "{name}": ("{row["tail"]}", {int(row["parameters"].replace(",", "")):_}, '
        f"{round(float(row['macs'][:-2].replace(',', '')) * 1e6):_}),\n"
        for name, row in rows.items()
    ]
    with open(os.path.join(ROOT, "backbones", "table.py"), "w", encoding="utf-8") as file:
        file.write(HEAD + "".join(lines) + "}\n")


if __name__ == "__main__":
    raise SystemExit(main())
