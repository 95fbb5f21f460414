"""What a schedule would do: stages, classes, steps, learning rate and memory, without reading an image."""

import numpy as np
import pandas as pd

import models
import train

MIB = 2**20


def describe(trainer: "train.Train", sch: list[dict]) -> str:
    """Text of `--dry-run`."""
    rows, epoch = [], 0
    for stage in trainer.plan(sch):
        faces = trainer.open_data(stage)
        rows.append(
            {
                **_row(trainer, stage, faces),
                "epochs": f"{epoch + 1}–{epoch + stage.epoch}",
                "lr": _rates(trainer, epoch, stage),
            }
        )
        epoch += stage.epoch
    model = trainer.basic_model
    head = f"{model.name}: {model.count_params():,} parameters, input {model.input_shape[1:]}, embedding {model.output_shape[-1]}"
    return "\n".join(
        [head, f"{faces.classes:,} classes, batch {trainer.batch_size}", pd.DataFrame(rows).to_string(index=False)]
    )


def _row(trainer, stage, faces):
    width = trainer.basic_model.output_shape[-1]
    head = 4 * width * faces.classes * stage.sub_centers / MIB if stage.head else 0
    logits = 4 * trainer.batch_size * _columns(trainer, stage, faces.classes) * stage.sub_centers / MIB
    options = {**stage.options(), "mixup": stage.mixup or None, "sam_rho": stage.sam_rho or None}
    return {
        "loss": " + ".join(f"{type(t).__name__}×{w:g}" for t, w in zip(stage.terms, stage.weights, strict=True)),
        "steps": faces.steps,
        "first loss": _first_loss(stage, faces.classes, width),
        "head": f"{head:.1f} MiB",
        "logits": f"{logits:.1f} MiB",
        "besides": ", ".join(f"{key} {value}" for key, value in options.items() if value is not None) or "–",
    }


def _columns(trainer, stage, classes):
    """How many classes a step's scores have."""
    if stage.head == "arcface" and trainer.partial < 1:
        return models.PartialNormDense(classes, sample_rate=trainer.partial).sample_size(trainer.batch_size)
    return classes if stage.head else 0


def _first_loss(stage, classes, width):
    """What the terms with a formula give at random weights: a run that begins far from it has something wrong."""
    known = [(t.expected(classes, width), w) for t, w in zip(stage.terms, stage.weights, strict=True)]
    return f"{sum(w * value for value, w in known if value is not None):.1f}"


def _rates(trainer, epoch, stage):
    """Learning rate at the beginning, middle and end of a stage."""
    at = np.linspace(epoch, epoch + stage.epoch - 1 / trainer.faces.steps, 3) if stage.epoch else [epoch]
    return " → ".join(f"{trainer.schedule(float(e)):.3g}" for e in at)
