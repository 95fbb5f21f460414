"""What a schedule would do: stages, classes, steps, learning rate and memory, without reading an image."""

import numpy as np
import pandas as pd

from facetrainer import distributed
from facetrainer.heads import PartialNormDense
from facetrainer.training.callbacks.schedules import read_schedule

MIB = 2**20


def plan(trainer, sch: list[dict]) -> dict:
    """What a schedule would do.

    Args:
        trainer: `Train`; nothing of it is changed but that the data are indexed.
        sch: The schedule.

    Returns:
        Model and data, and a dict for each of the "stages".
    """
    rows, epoch, rates = [], 0, None
    for spec in trainer.plan(sch):
        faces = trainer.trainer.data.open(spec)
        rates = rates or read_schedule(**trainer.config.lr, steps_per_epoch=faces.steps)
        span = {"epochs": f"{epoch + 1}–{epoch + spec.epochs}", "lr": _rates(rates, epoch, spec, faces)}
        rows.append({**_row(trainer, spec, faces), **span})
        epoch += spec.epochs
    model = trainer.basic_model
    return {
        "model": model.name, "parameters": model.count_params(), "input": model.input_shape[1:], "embedding": model.output_shape[-1],
        "classes": faces.classes, "batch": trainer.batch_size, "devices": _devices(), "stages": rows,
    }  # fmt: skip


def describe(found: dict) -> str:
    """A plan as text."""
    head = "{model}: {parameters:,} parameters, input {input}, embedding {embedding}\n{classes:,} classes, batch {batch}{devices}\n"
    return head.format(**found) + pd.DataFrame(found["stages"]).to_string(index=False)


def _devices():
    """What a batch is spread over, in words."""
    found = distributed.current()
    if found is None:
        return ""
    split = "; classes split over them" if found.shard_classes else ""
    return f" over {found.count} devices{split}; head and logits are those of one device"


def _row(trainer, spec, faces):
    width, centers = trainer.basic_model.output_shape[-1], spec.options.sub_centers
    devices, sharded = distributed.current(), distributed.sharding()
    parts = sharded.count if sharded else 1
    images = trainer.batch_size // (devices.count if devices and not sharded else 1)
    head = 4 * width * -(-faces.classes // parts) * centers / MIB if spec.head else 0
    columns = _columns(trainer, spec, faces.classes, images) / parts * centers
    logits = 4 * images / trainer.config.logit_blocks * columns / MIB
    return {
        "loss": " + ".join(f"{type(one.loss).__name__}×{one.weight:g}" for one in spec.losses),
        "steps": faces.steps,
        "first loss": _first_loss(spec, faces.classes, width),
        "head": f"{head:.1f} MiB",
        "logits": f"{logits:.1f} MiB",
        "besides": ", ".join(f"{key} {value}" for key, value in spec.options.changed().items()) or "–",
    }


def _columns(trainer, spec, classes, images):
    """How many classes a step's scores have."""
    if spec.head == "arcface" and spec.options.sample_rate < 1:
        return PartialNormDense(classes, sample_rate=spec.options.sample_rate).sample_size(images)
    return classes if spec.head else 0


def _first_loss(spec, classes, width):
    """What the losses with a formula give at random weights: a run that begins far from it has something wrong."""
    known = [(one.loss.expected(classes, width), one.weight) for one in spec.losses]
    return f"{sum(w * value for value, w in known if value is not None):.1f}"


def _rates(rates, epoch, spec, faces):
    """Learning rate at the beginning, middle and end of a stage."""
    at = np.linspace(epoch, epoch + spec.epochs - 1 / faces.steps, 3) if spec.epochs else [epoch]
    return " → ".join(f"{rates(float(e)):.3g}" for e in at)
