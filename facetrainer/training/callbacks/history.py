"""Every number of every epoch."""

import json
import os

import keras

from facetrainer.utils.files import write_json


class My_history(keras.callbacks.Callback):
    """Lists of every number of every epoch in `history`, written to `initial_file` as JSON.

    An existing file is read up to epoch `initial_epoch`: a new run with an old name does not continue its curves.
    """

    def __init__(self, initial_file=None, evals=None, initial_epoch=0):
        super().__init__()
        self.file, self.history = initial_file, {}
        if initial_file and initial_epoch and os.path.exists(initial_file):
            with open(initial_file) as file:
                self.history = {key: values[:initial_epoch] for key, values in json.load(file).items()}

    def on_epoch_end(self, epoch, logs=None):
        rows = max((len(values) for values in self.history.values()), default=0)
        for key, value in self._row(logs or {}).items():
            values = self.history.setdefault(key, [])
            values += [None] * (rows - len(values)) + [value]
        self.write()

    def _row(self, logs):
        """`loss` without its regularisation, as Keras_insightface kept it."""
        row = {key: float(value) for key, value in logs.items()}
        if "regular_loss" in row:
            row["loss"] -= row["regular_loss"]
        return row

    def write(self):
        """Writes the file."""
        if self.file:
            write_json(self.file, self.history)

    def state_dict(self) -> dict:
        """The history, for a resumed run."""
        return {"history": self.history}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from what `state_dict` gave."""
        self.history = state["history"]
