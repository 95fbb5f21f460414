"""A run in TensorBoard, while it trains."""

import math
import time

import cv2
import keras
import numpy as np

from facetrainer.data.images import sheet
from facetrainer.reporting import plots
from facetrainer.utils.optional import need

MOST_POINTS = 500  # images of an evaluation set in the projector


class Board(keras.callbacks.Callback):
    """Writes what TensorBoard shows: numbers by step and epoch, images as the network sees them, ROC, embeddings, the schedule.

    Args:
        folder: Of the logs.
        every: Steps between two points of a curve. Defaults to `10`.

    Raises:
        ImportError: tensorboardX is not installed.
    """

    def __init__(self, folder: str, every: int = 10):
        super().__init__()
        writer = need("tensorboardX", "tensorboardX", "tensorboard=")
        self.folder, self.every, self.steps, self.trainer = folder, every, 0, None
        self._open = lambda: writer.SummaryWriter(folder)
        self.writer = None

    # --------------------------------------------------------------------------------------------------- a stage

    def on_train_begin(self, logs=None):
        self.writer = self.writer or self._open()
        stage = self.trainer.stage
        tag, epoch = f"sch {stage.spec.index}", self.trainer.progress.epoch
        self.writer.add_text(f"schedule/{tag}", _as_table(stage), self.steps)
        self.writer.add_image(f"images/{tag}", _batch(stage.faces, epoch), self.steps, dataformats="HWC")

    def on_train_end(self, logs=None):
        for one in self.trainer.evaluations[-1:]:
            if one.embs is not None:
                self._embeddings(one)
        self.writer.flush()

    def _embeddings(self, one):
        """As many images as fill a square sprite."""
        count = math.isqrt(min(MOST_POINTS, len(one.images))) ** 2
        rows = np.linspace(0, len(one.images) - 1, count).astype(int)
        names = [_name(one.pairs, i) for i in rows]
        self.writer.add_embedding(one.embs[rows], names, _sprites(one.images[rows]), self.steps, one.test_names)

    # ---------------------------------------------------------------------------------------------------- numbers

    def on_epoch_begin(self, epoch, logs=None):
        self.marks = [(time.perf_counter(), self.steps)] * 2  # begin of the epoch, last point of the curves

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        self.last = time.perf_counter(), self.steps
        if self.steps % self.every == 0:
            values = {"learning rate": self._rate(), "images a second": self._speed(self.marks[1])}
            self._numbers("step", {**(logs or {}), **values}, self.steps)
            self.marks[1] = self.last

    def on_epoch_end(self, epoch, logs=None):
        self._numbers("epoch", {**(logs or {}), "images a second": self._speed(self.marks[0])}, epoch + 1)
        for one in self.trainer.evaluations:
            if one.scores is not None:
                figure = plots.roc({one.test_names: (one.scores, one.pairs.same, one.pairs.people)})
                self.writer.add_image(f"ROC/{one.test_names}", _pixels(figure), epoch + 1, dataformats="HWC")
        self.writer.flush()

    def _numbers(self, where, values, step):
        for name, value in values.items():
            if np.isfinite(value):
                self.writer.add_scalar(f"{where}/{name}".replace("@", "_at_"), float(value), step)

    def _rate(self):
        return float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def _speed(self, mark):
        """Of training since a (time, step), without evaluation."""
        return (self.last[1] - mark[1]) * self.trainer.config.batch_size / (self.last[0] - mark[0])

    def state_dict(self) -> dict:
        """Steps so far: curves go on where they were."""
        return {"steps": self.steps}

    def load_state_dict(self, state: dict) -> None:
        """Goes on from what `state_dict` gave."""
        self.steps = state["steps"]


def _as_table(stage):
    """A stage in Markdown."""
    options = stage.spec.options.changed().items()
    rows = [("losses", stage.spec.describe()), ("epochs", stage.spec.epochs), ("people", stage.faces.classes)]
    rows += [("steps an epoch", stage.faces.steps), *options, ("taken over", "; ".join(stage.carried))]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


def _batch(faces, epoch, most=32):
    """Images of an epoch's first batch, as they come out of augmentation."""
    images = np.asarray(next(iter(faces.batches(epoch)))[0])[:most]
    images = images if images.dtype == np.uint8 else np.clip(np.rint(images * 128 + 127.5), 0, 255).astype(np.uint8)
    return sheet(list(images), 8, images.shape[1:3])


def _name(pairs, i):
    return pairs.names[i] if pairs.names else f"pair {i // 2}, {'same' if pairs.same[i // 2] else 'different'}"


def _sprites(images, side=64):
    """(n, H, W, C) → (n, 3, side, side), 0 to 1."""
    small = np.stack([cv2.resize(image, (side, side)).reshape(side, side, -1) for image in images])
    return np.broadcast_to(small, (*small.shape[:3], 3)).transpose(0, 3, 1, 2) / 255


def _pixels(figure):
    """A figure as RGB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]
