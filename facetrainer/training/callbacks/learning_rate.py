"""Sets the optimizer's learning rate."""

import keras

from facetrainer.training.callbacks.clock import Timed
from facetrainer.training.callbacks.schedules import Exponential, Listed, Steps
from facetrainer.training.state import Progress


class LearningRate(Timed):
    """Sets the optimizer's rate before each batch to `factor` times a schedule.

    Args:
        schedule: Function of a fractional epoch.
        steps_per_epoch: Batches of an epoch.
        clock: The run's `Progress`; one of its own unless given.
    """

    def __init__(self, schedule, steps_per_epoch: int = 1, clock: Progress | None = None):
        super().__init__(clock)
        self.schedule, self.steps_per_epoch, self.factor = schedule, steps_per_epoch, 1.0

    def on_epoch_begin(self, epoch, logs=None):
        super().on_epoch_begin(epoch, logs)
        self._set()

    def on_train_batch_begin(self, batch, logs=None):
        super().on_train_batch_begin(batch, logs)
        if not isinstance(self.schedule, (Exponential, Steps, Listed)) or self.schedule.warmup:
            self._set()

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["lr"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def _set(self):
        epoch = self.clock.epoch + self.clock.step / self.steps_per_epoch
        self.model.optimizer.learning_rate = self.schedule(epoch) * self.factor

    def state_dict(self) -> dict:
        """The factor, which a roll-back after NaN halves."""
        return {"factor": self.factor}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from what `state_dict` gave."""
        self.factor = state["factor"]
