"""Ends a stage that no longer gets better."""

import logging

import keras

log = logging.getLogger("facetrainer")


class Patience(keras.callbacks.Callback):
    """Stops `fit` once an accuracy has not risen for some epochs.

    Args:
        epochs: How many.
        name: Of the accuracy in the logs.
    """

    def __init__(self, epochs: int, name: str):
        super().__init__()
        self.epochs, self.name, self.best, self.waited = epochs, name, float("-inf"), 0

    @property
    def is_over(self) -> bool:
        """Whether the stage has ended."""
        return self.waited >= self.epochs

    def on_epoch_end(self, epoch, logs=None):
        value = float((logs or {})[self.name])
        self.waited = 0 if value > self.best else self.waited + 1
        self.best = max(value, self.best)
        if self.is_over:
            log.warning("%s has not risen above %.4f for %d epochs", self.name, self.best, self.epochs)
            self.model.stop_training = True

    def state_dict(self) -> dict:
        """What a resumed run needs to wait on."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from what `state_dict` gave."""
        self.best, self.waited = state["best"], state["waited"]
