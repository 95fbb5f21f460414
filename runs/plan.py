"""What a schedule would do: stages, classes, steps, learning rate and memory, without reading an image."""

import numpy as np
import pandas as pd

import train

MIB = 2**20


def describe(trainer: "train.Train", sch: list[dict]) -> str:
    """Text of `--dry-run`."""
    rows, epoch = [], 0
    for stage in train.read_plan(sch):
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
    width, centers = trainer.basic_model.output_shape[-1], faces.classes * stage.sub_centers
    head = 4 * width * centers / MIB if stage.head else 0
    logits = 4 * trainer.batch_size * centers / MIB if stage.head else 0
    return {
        "loss": " + ".join(f"{type(t).__name__}×{w:g}" for t, w in zip(stage.terms, stage.weights, strict=True)),
        "steps": faces.steps,
        "first loss": _first_loss(stage, faces.classes, width),
        "head": f"{head:.1f} MiB",
        "logits": f"{logits:.1f} MiB",
    }


def _first_loss(stage, classes, width):
    """What the terms with a formula give at random weights: a run that begins far from it has something wrong."""
    known = [(t.expected(classes, width), w) for t, w in zip(stage.terms, stage.weights, strict=True)]
    return f"{sum(w * value for value, w in known if value is not None):.1f}"


def _rates(trainer, epoch, stage):
    """Learning rate at the beginning, middle and end of a stage."""
    at = np.linspace(epoch, epoch + stage.epoch - 1 / trainer.faces.steps, 3) if stage.epoch else [epoch]
    return " → ".join(f"{trainer.schedule(float(e)):.3g}" for e in at)
