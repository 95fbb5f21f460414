"""Losses and weights that are not finite any more."""

import numpy as np

from facetrainer import distributed
from facetrainer.training.callbacks.clock import Timed
from facetrainer.training.state import Progress
from facetrainer.utils.finite import NotFiniteError


class NanError(NotFiniteError):
    """A loss or a weight is not finite any more; the message says where, what, and what to do.

    Args:
        where: Stage, epoch, batch and term.
    """

    def __init__(self, where: str):
        super().__init__(
            f"{where}. The last state is from before: try a lower lr_base, a warmup, or a smaller scale, and run the same call "
            "again; look at the batch's images if it stops there again."
        )
        self.where = where


class ExitOnNaN(Timed):
    """Raises `NanError` naming stage, epoch, batch and term when a number in `logs` or a weight stops being finite.

    Weights are looked at before anything is done at an epoch's end: a poisoned model is neither measured nor saved.

    Args:
        clock: The run's `Progress`; one of its own unless given.
    """

    def __init__(self, clock: Progress | None = None):
        super().__init__(clock)

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        bad = [name for name, value in (logs or {}).items() if not np.isfinite(value)]
        if bad:
            raise NanError(f"{self.where()}: {', '.join(bad)} is not finite")

    def on_epoch_end(self, epoch, logs=None):
        bad = next((v.path for v in self.model.weights if not distributed.is_finite(v)), None)
        if bad:
            raise NanError(f"{self.where()}: {bad} is not finite")

    def where(self) -> str:
        """Place of the last batch."""
        return f"sch[{self.clock.stage}], epoch {self.clock.epoch + 1}, batch {self.clock.step}"
