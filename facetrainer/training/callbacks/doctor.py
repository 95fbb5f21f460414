"""A look at the first batches of a stage."""

import dataclasses
import logging

import keras
import numpy as np

from facetrainer.optimizers import inner_of
from facetrainer.training.state import Progress

log = logging.getLogger("facetrainer")


@dataclasses.dataclass(frozen=True)
class Expected:
    """What the numbers of a stage should be at its begin.

    Attributes:
        loss: Loss of an untrained model, None where no formula tells it.
        least: Lower bound of the initial loss, 0 where nothing is known.
        alpha: Margin of the triplet loss, None without one.
    """

    loss: float | None = None
    least: float = 0.0
    alpha: float | None = None


class Doctor(keras.callbacks.Callback):
    """Says in one line each, in the first batches of a stage, what looks wrong and what to change.

    A loss that is level is given more time while the embeddings still spread or the targets' cosines still rise.

    Args:
        expected: What the numbers should be.
        progress: The run's clock.
        first_epoch: Number of the stage's first epoch.
        steps: Batches of an epoch.

    Attributes:
        findings: What was said.
    """

    BATCHES, MOST, WINDOW = 100, 400, 10

    def __init__(self, expected: Expected, progress: Progress, first_epoch: int, steps: int):
        super().__init__()
        self.expected, self.progress, self.first_epoch, self.steps = expected, progress, first_epoch, steps
        self.begin = self._batches()
        self.rows, self.findings, self.judged, self.due = [], [], self.begin > 0, self.BATCHES
        self.seen = dict.fromkeys(("loss", "embedding_spread", "target_cosine"), (0, 0.0))

    def _batches(self):
        """Batches of the stage that are done."""
        return (self.progress.epoch - self.first_epoch) * self.steps + self.progress.step

    def on_epoch_begin(self, epoch, logs=None):
        self.seen = dict.fromkeys(self.seen, (0, 0.0))

    def on_train_batch_end(self, batch, logs=None):
        if self.judged or not logs:
            return
        logs = {**logs, "loss": logs["loss"] - logs.get("regular_loss", 0.0)}
        self.rows.append({name: self._new(name, logs[name]) for name in self.seen if name in logs})
        if len(self.rows) == 1:
            self._first()
        if self._batches() >= self.due:
            self._judge(logs)

    def _new(self, name, mean):
        """Logs are means over the epoch → mean of the batches since the last look."""
        count, total = self.seen[name]
        self.seen[name] = self.progress.step, mean * self.progress.step
        return (self.seen[name][1] - total) / max(self.progress.step - count, 1)

    def _judge(self, logs):
        if self.due == self.BATCHES:
            self._spread(logs)
        if self._is_level() and self._moves() and self.due < self.MOST:
            self.due += self.BATCHES
            return
        self.judged = True
        if self._is_level():
            self._level()

    def _window(self, name, rows):
        return float(np.mean([row.get(name, 0.0) for row in rows]))

    def _is_level(self):
        first, last = (self._window("loss", rows) for rows in (self.rows[: self.WINDOW], self.rows[-self.WINDOW :]))
        return last > 0.98 * first and 0 < 0.9 * self.expected.least < last

    def _moves(self):
        """Whether the embeddings still spread, or targets still come nearer."""
        half, last = self.rows[-max(self.BATCHES // 2, self.WINDOW) :][: self.WINDOW], self.rows[-self.WINDOW :]
        return any(
            self._window(name, last) > self._window(name, half) + 0.005
            for name in ("embedding_spread", "target_cosine")
        )

    def _say(self, text, *values):
        self.findings.append(text % values)
        log.warning(f"sch[{self.progress.stage}]: {text}", *values)

    def _first(self):
        loss = self.rows[0]["loss"]
        if self.expected.loss and loss > 1.5 * self.expected.loss + 1:
            self._say("the first loss is %.1f, an untrained model has about %.1f: are the images normalised, (x - 127.5) / 128, and "
                      "the labels right?", loss, self.expected.loss)  # fmt: skip
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        if isinstance(inner_of(self.model.optimizer), keras.optimizers.Adam) and rate > 0.01:
            self._say("learning rate %g is high for Adam: use lr_base=0.001, or SGD for rates like 0.1", rate)

    def _level(self):
        self._say(
            "the loss has not begun to fall in %d batches: %.2f, then %.2f (an untrained model has %.1f or more). Accuracy 0 is normal at "
            "first with a margin, a level loss is not: try a softmax stage first, 'scale': (16, 64), 'margin': (0, 0.5), or a "
            "lower lr_base", self._batches(), self._window("loss", self.rows[: self.WINDOW]),
            self._window("loss", self.rows[-self.WINDOW :]), self.expected.least,
        )  # fmt: skip

    def _spread(self, logs):
        spread, active = logs.get("embedding_spread", 1.0), logs.get("active_triplets")
        triplet = logs.get("triplet_loss", logs["loss"])
        if spread < 0.02:
            self._say("all faces fall on nearly one point (embedding_spread %.3f, 1 is wide): lower lr_base, or train with softmax "
                      "before", spread)  # fmt: skip
        elif (
            active is not None
            and active > 0.95
            and self.expected.alpha
            and abs(triplet / self.expected.alpha - 1) < 0.03
        ):
            self._say("the triplet loss equals its margin %g: the embeddings collapse. Train with softmax or arcface before, use "
                      "SemiHardTripletLoss, or a lower lr_base", self.expected.alpha)  # fmt: skip
        elif active is not None and active < 0.01:
            self._say("only %.1f %% of the triplets are active: raise alpha, or use BatchHardTripletLoss", 100 * active)
