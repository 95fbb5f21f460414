"""A table of a run that other programs read, whatever its stages log."""

import csv
import io
import json
import os

import keras

from facetrainer.utils.files import replacing


class EpochLog(keras.callbacks.Callback):
    """Writes a row an epoch, for `custom_callbacks`.

    Keras's CSVLogger fixes its columns at the first epoch and loses what later stages log; here a new number is a new column, empty above.
    A run that goes on goes on in the file: rows of epochs that are trained again are replaced.

    Args:
        path: `.csv`, or `.jsonl` for a JSON object a line.

    Raises:
        ValueError: The path is of another kind.
    """

    def __init__(self, path: str):
        super().__init__()
        if not path.endswith((".csv", ".jsonl")):
            raise ValueError(f"EpochLog: expected a path ending in .csv or .jsonl. Received: {path}")
        self.path, self.rows = path, None

    def on_epoch_end(self, epoch, logs=None):
        rows = self._stored() if self.rows is None else self.rows
        numbers = {name: float(value) for name, value in (logs or {}).items()}
        self.rows = [row for row in rows if int(float(row["epoch"])) <= epoch] + [{"epoch": epoch + 1, **numbers}]
        with replacing(self.path) as part, open(part, "w", encoding="utf-8", newline="") as file:
            file.write(self._text())

    def _stored(self):
        """Rows of the file that is there; those of something else are left out."""
        if not os.path.exists(self.path):
            return []
        with open(self.path, encoding="utf-8", newline="") as file:
            text = file.read()
        rows = (
            list(csv.DictReader(io.StringIO(text)))
            if self.path.endswith(".csv")
            else map(json.loads, text.splitlines())
        )
        return [
            {name: value for name, value in row.items() if value not in ("", None)} for row in rows if row.get("epoch")
        ]

    def _text(self):
        if self.path.endswith(".jsonl"):
            return "".join(json.dumps(row) + "\n" for row in self.rows)
        out = io.StringIO(newline="")
        writer = csv.DictWriter(
            out, list(dict.fromkeys(name for row in self.rows for name in row)), lineterminator="\n"
        )
        writer.writeheader()
        writer.writerows(self.rows)
        return out.getvalue()
