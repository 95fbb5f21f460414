"""The run's clock, and what goes by it."""

import contextlib
import logging
from collections.abc import Callable

import keras

from facetrainer.training.state import Progress, variables
from facetrainer.utils.keras_compat import put_state_back

log = logging.getLogger("facetrainer")


class Timed(keras.callbacks.Callback):
    """A callback that reads a clock. Without one it keeps its own, so that it works in any `fit`.

    Args:
        clock: The run's `Progress`.
    """

    def __init__(self, clock: Progress | None = None):
        super().__init__()
        self.clock, self.has_own = clock or Progress(), clock is None

    def on_epoch_begin(self, epoch, logs=None):
        if self.has_own:
            self.clock.epoch, self.clock.step = epoch, 0

    def on_train_batch_begin(self, batch, logs=None):
        if self.has_own:
            self.clock.step = batch

    def on_train_batch_end(self, batch, logs=None):
        if self.has_own:
            self.clock.step = batch + 1


class Clock(keras.callbacks.Callback):
    """Moves the run's clock; the first callback of all.

    `fit` clears the running metrics at the begin of each epoch; an epoch that goes on in the middle gets them back here.

    Args:
        progress: The clock.
        steps: Batches of an epoch.
        metrics: Values of the metrics of the begun epoch, where it goes on in the middle.
    """

    def __init__(self, progress: Progress, steps: int, metrics: list | None = None):
        super().__init__()
        self.progress, self.steps, self.metrics = progress, steps, metrics

    def on_epoch_begin(self, epoch, logs=None):
        self.progress.epoch, self.first = epoch, self.progress.step
        if self.metrics is not None:
            for v, value in zip(variables(self.model)["metrics"], self.metrics, strict=True):
                v.assign(value)
            self.metrics = None

    def on_train_batch_end(self, batch, logs=None):
        put_state_back(self.model)
        self.progress.step = min(self.first + batch + 1, self.steps)


class NextEpoch(keras.callbacks.Callback):
    """Moves the clock to the next epoch, once all that is done at an epoch's end is done.

    Keras's EarlyStopping ends the stage; another callback that sets `model.stop_training` ends the call of `train`.

    Args:
        progress: The clock.
        users: The user's callbacks.
        is_over: Tells whether the stage has ended for a reason of its own.
    """

    def __init__(self, progress: Progress, users: list[keras.callbacks.Callback], is_over: Callable[[], bool]):
        super().__init__()
        self.progress, self.users, self.is_over = progress, users, is_over

    def on_epoch_end(self, epoch, logs=None):
        if any(isinstance(one, keras.callbacks.EarlyStopping) and one.stopped_epoch for one in self.users):
            self.progress.ended = True
            log.warning("EarlyStopping ends sch[%d] after epoch %d", self.progress.stage, epoch + 1)
        elif self.model.stop_training and not self.is_over() and not any(hasattr(one, "asked") for one in self.users):
            log.warning("a callback ends this call of train after epoch %d; the same call again goes on", epoch + 1)
        self.progress.epoch, self.progress.step = epoch + 1, 0


class Every(keras.callbacks.Callback):
    """Calls `action()` every `batches` batches and at the end of each epoch.

    Not after an epoch's last batch: what belongs to the end of the epoch still follows it.

    Args:
        action: Function without arguments.
        progress: The run's clock.
        steps: Batches of an epoch.
        batches: How many batches; 0 for the ends of epochs alone.
    """

    def __init__(self, action: Callable[[], None], progress: Progress, steps: int, batches: int = 0):
        super().__init__()
        self.action, self.progress, self.steps, self.batches = action, progress, steps, batches

    def on_train_batch_begin(self, batch, logs=None):
        self.before = self.progress.step

    def on_train_batch_end(self, batch, logs=None):
        now = self.progress.step
        if self.batches and now < self.steps and now // self.batches > self.before // self.batches:
            self.action()

    def on_epoch_end(self, epoch, logs=None):
        self.action()


class Within(keras.callbacks.Callback):
    """Callbacks whose ends of epochs run inside a context, such as running means in the place of the weights.

    Args:
        context: Gives the context manager.
        callbacks: The callbacks, in order.
    """

    def __init__(self, context: Callable[[], contextlib.AbstractContextManager], callbacks: list):
        super().__init__()
        self.context, self.callbacks = context, callbacks

    def set_model(self, model):
        """Hands the model on."""
        super().set_model(model)
        for one in self.callbacks:
            one.set_model(model)

    def set_params(self, params):
        """Hands Keras's parameters on."""
        super().set_params(params)
        for one in self.callbacks:
            one.set_params(params)

    def on_epoch_end(self, epoch, logs=None):
        with self.context():
            for one in self.callbacks:
                one.on_epoch_end(epoch, logs)


def _each(hook):
    def call(self, *args, **kwargs):
        for one in self.callbacks:
            getattr(one, hook)(*args, **kwargs)

    call.__doc__ = f"Hands {hook} on."
    return call


for _hook in ("on_train_begin", "on_train_end", "on_epoch_begin", "on_train_batch_begin", "on_train_batch_end"):
    setattr(Within, _hook, _each(_hook))
