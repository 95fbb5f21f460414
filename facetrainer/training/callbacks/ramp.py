"""A number that changes over a stage."""

import keras

from facetrainer.training.state import Progress


class Ramp(keras.callbacks.Callback):
    """Moves a variable in a straight line from `first` to `last` over a stage.

    Args:
        variable: Keras variable.
        first: Value at the first batch.
        last: Value at the end.
        progress: The run's clock.
        first_epoch: Number of the stage's first epoch.
        epochs: Length of the stage.
        steps: Batches of an epoch.
    """

    def __init__(
        self, variable, first: float, last: float, progress: Progress, first_epoch: int, epochs: int, steps: int
    ):
        super().__init__()
        self.variable, self.first, self.last, self.progress = variable, first, last, progress
        self.first_epoch, self.epochs, self.steps = first_epoch, epochs, steps

    def on_train_batch_begin(self, batch, logs=None):
        done = self.progress.epoch - self.first_epoch + self.progress.step / self.steps
        self.variable.assign(self.first + (self.last - self.first) * min(done / self.epochs, 1.0))
