"""Callbacks of `import myCallbacks` for `fit` without `Train`, which sets the rate itself.

Without a model they only tell the rate, so that a schedule can be drawn: `scheduler.on_epoch_begin(12)`.
"""

import logging
import os

import keras

from facetrainer.legacy.refused import refused
from facetrainer.models import saving
from facetrainer.training.callbacks import Cosine, Gently_stop_callback, LearningRate, My_history, Steps, read_schedule

log = logging.getLogger("facetrainer")

VPLUpdateQueue = refused("myCallbacks.VPLUpdateQueue", "NormDenseVPL remembers by itself: leave the callback out.")


class Scheduler(keras.callbacks.Callback):
    """Sets the rate of the model that it is given to, by epoch or by batch, and returns it.

    Args:
        schedule: Function of epochs, or of batches where `by_batch`.
        by_batch: Whether the schedule counts batches of the whole training.
        steps_per_epoch: Batches of an epoch; 0 asks `fit`.
    """

    def __init__(self, schedule, by_batch: bool = False, steps_per_epoch: int = 0):
        super().__init__()
        self.schedule, self.by_batch, self.steps, self.epoch = schedule, by_batch, max(steps_per_epoch, 0), 0

    def on_train_begin(self, logs=None):
        self.steps = self.steps or self.params["steps"]

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        return self._set(epoch * self.steps if self.by_batch else epoch)

    def on_train_batch_begin(self, batch, logs=None):
        if self.by_batch:
            return self._set(self.epoch * self.steps + batch)
        return self._set(self.epoch + batch / self.steps) if self.steps else None

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            logs["lr"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def _set(self, place):
        rate = keras.ops.convert_to_tensor(self.schedule(place), "float32")
        if getattr(self, "model", None) is not None:
            self.model.optimizer.learning_rate = rate
        return rate


def _cosine(lr_base, first_restart_step, m_mul, t_mul, lr_min, lr_warmup, warmup_steps, cooldown_steps):
    if lr_warmup >= 0 and lr_warmup != lr_min:
        raise ValueError(f"lr_warmup: a warmup begins at lr_min, {lr_min}. Received: {lr_warmup}. Leave it out.")
    return Cosine(lr_base, first_restart_step, m_mul, lr_min, warmup_steps, t_mul, cooldown_steps)


class CosineLrScheduler(Scheduler):
    """Half cosines with restarts.

    Args:
        lr_base: First rate.
        first_restart_step: Length of the first cosine, in epochs; from 500 on in batches, as are the other lengths.
        steps_per_epoch: Batches of an epoch; without it those of `fit`. Defaults to `-1`.
        m_mul: Factor of the rate at each restart. Defaults to `0.5`.
        t_mul: Factor of the length. Defaults to `2`.
        lr_min: Lowest rate, and where the warmup begins. Defaults to `1e-5`.
        lr_warmup: Has to be `lr_min`, if given.
        warmup_steps: Length of the warmup. Defaults to `0`.
        cooldown_steps: Length at the lowest rate before a restart. Defaults to `1`.
        warmup_iters: An older name of `warmup_steps`.

    Raises:
        ValueError: `lr_warmup` is another rate than `lr_min`.
    """

    def __init__(
        self, lr_base, first_restart_step, steps_per_epoch=-1, m_mul=0.5, t_mul=2.0, lr_min=1e-5, lr_warmup=-1,
        warmup_steps=0, cooldown_steps=1, warmup_iters=None,
    ):  # fmt: skip
        warmup = warmup_steps if warmup_iters is None else warmup_iters
        schedule = _cosine(lr_base, first_restart_step, m_mul, t_mul, lr_min, lr_warmup, warmup, cooldown_steps)
        super().__init__(schedule, first_restart_step >= 500, steps_per_epoch)


class CosineLrSchedulerEpoch(Scheduler):
    """`CosineLrScheduler` that changes the rate once an epoch; all lengths are in epochs.

    Args:
        lr_base: First rate.
        first_restart_step: Length of the first cosine.
        m_mul: Factor of the rate at each restart. Defaults to `0.5`.
        t_mul: Factor of the length. Defaults to `2`.
        lr_min: Lowest rate. Defaults to `1e-6`.
        lr_warmup: Has to be `lr_min`, if given.
        warmup_steps: Length of the warmup. Defaults to `0`.
        cooldown_steps: Length at the lowest rate before a restart. Defaults to `1`.
    """

    def __init__(
        self, lr_base, first_restart_step, m_mul=0.5, t_mul=2.0, lr_min=1e-6, lr_warmup=-1, warmup_steps=0,
        cooldown_steps=1,
    ):  # fmt: skip
        super().__init__(
            _cosine(lr_base, first_restart_step, m_mul, t_mul, lr_min, lr_warmup, warmup_steps, cooldown_steps)
        )

    def on_train_batch_begin(self, batch, logs=None):
        return None


class ConstantDecayScheduler(Scheduler):
    """`lr_base`, times `decay_rate` after each of `lr_decay_steps` epochs.

    Args:
        lr_base: First rate.
        lr_decay_steps: Epochs.
        decay_rate: The factor. Defaults to `0.1`.
    """

    def __init__(self, lr_base, lr_decay_steps, decay_rate=0.1):
        super().__init__(Steps(lr_base, tuple(lr_decay_steps), decay_rate))


class OptimizerWeightDecay(keras.callbacks.Callback):
    """Not needed: `optimizers.SGDW` and `AdamW` keep weight decay / learning rate as it is. Says so.

    Args:
        lr_base: Not used.
        wd_base: Not used.
        is_lr_on_batch: Not used.
    """

    def __init__(self, lr_base=None, wd_base=None, is_lr_on_batch=False):
        super().__init__()
        log.warning("OptimizerWeightDecay is not needed: SGDW and AdamW keep weight_decay / learning_rate as it is")


class Saver(keras.callbacks.Callback):
    """Saves the model at the end of every epoch.

    Args:
        path: `.keras` or `.h5`.
    """

    def __init__(self, path: str):
        super().__init__()
        self.path = path

    def on_epoch_end(self, epoch, logs=None):
        saving.save(self.model, self.path)


def basic_callbacks(
    checkpoint="keras_checkpoints.h5", evals=(), lr=0.001, lr_decay=0.05, lr_min=0, lr_decay_steps=0, lr_warmup_steps=0
) -> list[keras.callbacks.Callback]:
    """The callbacks that a `fit` without `Train` wants.

    Args:
        checkpoint: Name of the model's file in `checkpoints/`.
        evals: `eval_callback`s.
        lr: First rate. Defaults to `0.001`.
        lr_decay: See `read_schedule`. Defaults to `0.05`.
        lr_min: Lowest rate. Defaults to `0`.
        lr_decay_steps: See `read_schedule`. Defaults to `0`.
        lr_warmup_steps: Length of the warmup. Defaults to `0`.

    Returns:
        Evaluations, learning rate, history, checkpoint, gentle stop.
    """
    os.makedirs("checkpoints", exist_ok=True)
    path = os.path.join("checkpoints", checkpoint)
    history = My_history(os.path.splitext(path)[0] + "_hist.json", evals)
    rate = LearningRate(read_schedule(lr, lr_decay, lr_decay_steps, lr_min, lr_warmup_steps))
    return [*evals, rate, history, Saver(path), Gently_stop_callback()]  # the history keeps what stands before it
