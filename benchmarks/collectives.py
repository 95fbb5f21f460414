"""What goes between devices in a compiled training step, and what it keeps on each: read off XLA's program, nothing is computed.

    python -m benchmarks.collectives --classes 1000000 --batch 1024 --devices 8 --csv benchmarks/collectives.csv

The embedder is one dense layer, so that the head is what counts. Devices are of the CPU, made by XLA.
"""

import argparse
import os
import re

COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "collective-permute", "reduce-scatter", "collective-broadcast")
CASES = (
    "data parallel",
    "split",
    "split, sub-centers",
    "split, sampled",
    "split, softmax",
    "split, VPL",
    "split, center",
    "split, sub-centers, 8 blocks",
    "split, 8 blocks",
    "split, sampled, 8 blocks",
)


def collectives(text: str) -> list[tuple[str, tuple[int, ...]]]:
    """Kind and shape of everything that a program sends between devices.

    Args:
        text: HLO.
    """
    found = []
    for line in text.splitlines():
        kind = re.search(r"= (.*?) (" + "|".join(COLLECTIVES) + r")(?:-start)?\(", line)
        if kind:
            shapes = re.findall(r"\w+\[([\d,]*)\]", kind.group(1))
            found += [(kind.group(2), tuple(int(n) for n in shape.split(",") if n)) for shape in shapes]
    return found


def compiled(model, batch: int, width: int):
    """The training step of a model for a batch of images `(batch, width)`, compiled and not run."""
    import jax
    import numpy as np

    from facetrainer import distributed

    model.optimizer.build(model.trainable_variables) if not model.optimizer.built else None
    model._symbolic_build(data_batch=(np.zeros((batch, width), "float32"), {"labels": np.zeros(batch, "int32")}))
    state = model._get_jax_state(
        trainable_variables=True, non_trainable_variables=True, optimizer_variables=True, metrics_variables=True
    )
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state)
    devices = distributed.current()
    layout = None if devices is None else devices.get_data_layout((batch, width)).backend_layout
    labels = None if devices is None else devices.get_data_layout((batch,)).backend_layout
    data = (
        jax.ShapeDtypeStruct((batch, width), "float32", sharding=layout),
        {"labels": jax.ShapeDtypeStruct((batch,), "int32", sharding=labels)},
    )
    out = None if devices is None else (None, model._get_state_sharding_spec())
    return jax.jit(model.train_step, donate_argnums=0, out_shardings=out).lower(like, data).compile()


def made(case: str, classes: int, width: int, rate: float):
    """The model of a case; "…, 8 blocks" computes the scores in so many."""
    import keras

    from facetrainer import heads, losses, models

    case, _, blocks = case.replace(" blocks", "").rpartition(", ") if case.endswith(" blocks") else (case, "", 1)
    inputs = keras.Input((width,))
    embedder = keras.Model(inputs, keras.layers.Dense(width, use_bias=False, name="embedding")(inputs))
    kinds = {
        "split, sub-centers": lambda: heads.NormDense(classes, loss_top_k=3),
        "split, sampled": lambda: heads.PartialNormDense(classes, sample_rate=rate),
        "split, softmax": lambda: heads.SoftmaxHead(classes),
        "split, VPL": lambda: heads.NormDenseVPL(None, classes),
    }
    loss = [losses.SoftmaxLoss()] if case == "split, softmax" else [losses.ArcfaceLoss()]
    loss += [losses.CenterLoss()] if case == "split, center" else []
    model = models.FaceModel(embedder, kinds.get(case, lambda: heads.NormDense(classes))(), loss)
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    model.split_logits(int(blocks))
    return model


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("collectives", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--classes", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--batch", type=int, default=1024, help="of all devices together")
    parser.add_argument("--devices", type=int, default=8)
    parser.add_argument("--rate", type=float, default=0.1, help="of the sampled head")
    parser.add_argument("--cases", nargs="+", default=CASES)
    parser.add_argument("--csv")
    a = parser.parse_args(argv)
    os.environ["KERAS_BACKEND"], os.environ["JAX_PLATFORMS"] = "jax", "cpu"
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={a.devices}"
    import pandas as pd

    rows = [_row(case, a) for case in a.cases]
    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    if a.csv:
        table.to_csv(a.csv, index=False)
    return 0


def _row(case, a):
    import facetrainer

    with facetrainer.devices(shard_classes=case != "data parallel"):
        program = compiled(made(case, a.classes, a.width, a.rate), a.batch, a.width)
    memory, sent = program.memory_analysis(), collectives(program.as_text())
    largest = max(sent, key=lambda one: _size(one[1]))
    bad = [one for one in sent if any(n >= a.classes // a.devices for n in one[1])]
    gb = {"state": memory.argument_size_in_bytes / 1e9, "temporary": memory.temp_size_in_bytes / 1e9}
    return {"case": case, **{f"{name} GB a device": round(value, 3) for name, value in gb.items()},
            "numbers sent a step": sum(_size(shape) for _, shape in sent), "largest": f"{largest[0]} {largest[1]}",
            "with classes in their shape": len(bad)}  # fmt: skip


def _size(shape):
    size = 1
    for n in shape:
        size *= n
    return size


if __name__ == "__main__":
    raise SystemExit(main())
