"""Sets the optimizer's learning rate."""

import logging

import keras

from facetrainer.training.callbacks.clock import Timed
from facetrainer.training.callbacks.schedules import Cosine, Exponential, Steps
from facetrainer.training.state import Progress

log = logging.getLogger("facetrainer")


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
        if not isinstance(self.schedule, (Exponential, Steps)) or self.schedule.warmup:
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
        self.factor = state["factor"]


class CosineLrScheduler(LearningRate):
    """Cosine with restarts as a callback of its own, for `keras.Model.fit`; lengths in epochs (`steps_per_epoch` ≤ 0) or
    in batches."""

    def __init__(
        self, lr_base, first_restart_step, steps_per_epoch=-1, m_mul=0.5, t_mul=2.0, lr_min=1e-5, lr_warmup=-1,
        warmup_steps=0, cooldown_steps=1,
    ):  # fmt: skip
        if lr_warmup >= 0 and lr_warmup != lr_min:
            raise ValueError("CosineLrScheduler: lr_warmup is lr_min here. Leave it out.")
        super().__init__(
            Cosine(lr_base, first_restart_step, m_mul, lr_min, warmup_steps, t_mul, cooldown_steps),
            max(steps_per_epoch, 1),
        )


class OptimizerWeightDecay(keras.callbacks.Callback):
    """Kept for old notebooks: our SGDW and AdamW follow the learning rate by themselves, so this changes nothing."""

    def __init__(self, lr_base=None, wd_base=None, is_lr_on_batch=False):
        super().__init__()
        log.warning(
            "OptimizerWeightDecay is not needed: optimizers.SGDW and AdamW keep weight_decay / learning_rate constant"
        )
