"""Which learning rate to begin with: the loss while the rate grows from batch to batch."""

import dataclasses
import os
import tempfile

import keras
import numpy as np

from facetrainer.training.legacy import Train

SMOOTHING, DIVERGED, DOWN = 0.9, 1.5, 0.25


@dataclasses.dataclass(frozen=True)
class Rates:
    """What the loss did.

    Attributes:
        rates: Learning rate of each batch `(n,)`.
        losses: Running mean of the loss `(n,)`.
        best: A rate to begin with: a quarter of that at which the loss was least.
    """

    rates: np.ndarray
    losses: np.ndarray

    @property
    def best(self) -> float:
        """The rate to begin with: `DOWN` times the one where the smoothed loss is lowest."""
        return float(self.rates[int(np.argmin(self.losses))] * DOWN)


class _Growing(keras.callbacks.Callback):
    """Multiplies the rate after every batch, and ends where the loss has gone up for good."""

    def __init__(self, lowest, highest, steps):
        super().__init__()
        self.grid, self.rates, self.losses, self.mean, self.last = (
            np.geomspace(lowest, highest, steps),
            [],
            [],
            0.0,
            0.0,
        )

    def on_train_batch_begin(self, batch, logs=None):
        self.model.optimizer.learning_rate = float(self.grid[min(batch, len(self.grid) - 1)])

    def on_train_batch_end(self, batch, logs=None):
        total = float(logs["loss"]) * (batch + 1)  # Keras tells the mean over the epoch so far
        loss, self.last = total - self.last, total
        self.mean = SMOOTHING * self.mean + (1 - SMOOTHING) * loss
        smooth = self.mean / (1 - SMOOTHING ** (batch + 1))
        self.rates.append(float(self.grid[min(batch, len(self.grid) - 1)]))
        self.losses.append(smooth)
        if not np.isfinite(smooth) or (batch > 10 and smooth > DIVERGED * min(self.losses)):
            self.model.stop_training = True


def find_rate(keywords: dict, stage: dict, lowest: float = 1e-5, highest: float = 1.0, steps: int = 200) -> Rates:
    """Trains a stage on so many batches while its rate grows; nothing of it is kept.

    Args:
        keywords: Of `Train`.
        stage: Of its schedule, with an optimizer.
        lowest: First rate. Defaults to `1e-5`.
        highest: Last rate. Defaults to `1.0`.
        steps: Batches. Defaults to `200`.

    Returns:
        Rates and losses.

    Raises:
        ValueError: The stage is not one, or the loss is not finite from the first batch on.

    Reference:
        Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, arXiv:1506.01186, section 3.3.
    """
    with tempfile.TemporaryDirectory() as folder:
        here = {
            **keywords,
            "save_path": os.path.join(folder, "rate.keras"),
            "eval_paths": [],
            "resume": False,
            "report": False,
        }
        trainer = Train(**here)
        before = trainer.basic_model.get_weights()
        trainer.train({**stage, "epoch": 0})  # builds it
        growing = _Growing(lowest, highest, steps)
        given = {"steps_per_epoch": steps, "epochs": 1, "callbacks": [growing], "verbose": 0, "shuffle": False}
        trainer.model.fit(_endless(trainer.faces), **given)
        trainer.basic_model.set_weights(before)
    kept = np.isfinite(growing.losses)
    if not kept.any():
        raise ValueError(f"the loss is not finite at a rate of {lowest:g} already: look at the data and the stage.")
    return Rates(np.array(growing.rates)[kept], np.array(growing.losses)[kept])


def _endless(faces):
    while True:
        yield from faces.batches()
