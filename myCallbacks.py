"""Learning rate over time, history, stopping, checkpoints in time.

A schedule is a pure function of a fractional epoch: `schedule(12.25)` is the rate a quarter into the thirteenth epoch. It
can be plotted without a model, and stays right when the number of steps an epoch changes between stages.
"""

import bisect
import dataclasses
import json
import logging
import math
import os
import signal
import threading

import keras
import numpy as np

log = logging.getLogger("face")


# ---------------------------------------------------------------------------------------------------------- schedules


@dataclasses.dataclass(frozen=True)
class Exponential:
    """lr_base · e^(−decay · whole epochs), after a linear warmup from lr_min; never under lr_min."""

    lr_base: float
    decay: float = 0.05
    lr_min: float = 0.0
    warmup: float = 0

    def __call__(self, epoch: float) -> float:
        if epoch < self.warmup:
            return _warm(self, epoch)
        return max(self.lr_base * math.exp(-self.decay * (math.floor(epoch) - self.warmup)), self.lr_min)


@dataclasses.dataclass(frozen=True)
class Steps:
    """lr_base · decay^k after the k-th of `epochs`, after a linear warmup."""

    lr_base: float
    epochs: tuple[float, ...]
    decay: float = 0.1
    lr_min: float = 0.0
    warmup: float = 0

    def __call__(self, epoch):
        if epoch < self.warmup:
            return _warm(self, epoch)
        return max(self.lr_base * self.decay ** bisect.bisect_right(self.epochs, epoch - self.warmup), self.lr_min)


@dataclasses.dataclass(frozen=True)
class Cosine:
    """Half a cosine from lr_base to lr_min over `first` epochs, after a linear warmup.

    Then `cooldown` epochs at lr_min, and again from lr_base · m_mul over first · t_mul epochs, and so on (Loshchilov &
    Hutter, arXiv:1608.03983). Where the next start would not be above lr_min there is no restart: lr_min to the end.
    """

    lr_base: float
    first: float
    m_mul: float = 0.5
    lr_min: float = 1e-6
    warmup: float = 0
    t_mul: float = 2.0
    cooldown: float = 1

    def __call__(self, epoch):
        if epoch < self.warmup:
            return _warm(self, epoch)
        since, length, top = epoch - self.warmup, self.first, self.lr_base
        while since >= length + self.cooldown and self._above(top * self.m_mul):
            since, length, top = since - length - self.cooldown, length * self.t_mul, top * self.m_mul
        if since >= length:
            return self.lr_min
        return self.lr_min + (top - self.lr_min) * 0.5 * (1 + math.cos(math.pi * since / length))

    def _above(self, top):
        """lr_base · lr_decay == lr_min asks for no restart; products of floats are rarely equal to the last bit."""
        return top > self.lr_min and not math.isclose(top, self.lr_min, rel_tol=1e-6)


def _warm(schedule, epoch):
    return schedule.lr_min + (schedule.lr_base - schedule.lr_min) * epoch / schedule.warmup


def read_schedule(lr_base=0.001, lr_decay=0.05, lr_decay_steps=0, lr_min=1e-6, lr_warmup_steps=0, steps_per_epoch=1):
    """Train's `lr_*` arguments → schedule.

    `lr_decay_steps`: up to 1 exponential by epoch; a list of epochs: steps; above 1 cosine with restarts over so many
    epochs, from 500 on over so many batches, counted with `steps_per_epoch` of the first stage.
    """
    if isinstance(lr_decay_steps, (list, tuple, np.ndarray)):
        return Steps(lr_base, tuple(float(s) for s in lr_decay_steps), lr_decay, 0.0, lr_warmup_steps)
    if lr_decay_steps <= 1:
        return Exponential(lr_base, lr_decay, lr_min, lr_warmup_steps)
    unit = steps_per_epoch if lr_decay_steps >= 500 else 1
    warmup = lr_warmup_steps / unit
    return Cosine(lr_base, lr_decay_steps / unit, lr_decay, lr_min, warmup)


def exp_scheduler(epoch, lr_base, decay_rate=0.05, lr_min=0, warmup_steps=0):
    """Rate of an epoch under `Exponential`."""
    return Exponential(lr_base, decay_rate, lr_min, warmup_steps)(epoch)


def constant_scheduler(epoch, lr_base, lr_decay_steps, decay_rate=0.1, warmup_steps=0):
    """Rate of an epoch under `Steps`."""
    return Steps(lr_base, tuple(lr_decay_steps), decay_rate, 0.0, warmup_steps)(epoch)


class LearningRate(keras.callbacks.Callback):
    """Sets the optimizer's rate before each batch to `factor` times a schedule."""

    def __init__(self, schedule, steps_per_epoch: int = 1, first_step: int = 0, factor: float = 1.0):
        super().__init__()
        self.schedule, self.steps_per_epoch, self.first_step, self.epoch = schedule, steps_per_epoch, first_step, 0
        self.factor = factor
        self.by_epoch = isinstance(schedule, (Exponential, Steps)) and not schedule.warmup

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self._set(epoch)

    def on_train_batch_begin(self, batch, logs=None):
        if not self.by_epoch:
            self._set(self.epoch + (self.first_step + batch) / self.steps_per_epoch)

    def on_epoch_end(self, epoch, logs=None):
        self.first_step = 0
        if logs is not None:
            logs["lr"] = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def _set(self, epoch):
        self.model.optimizer.learning_rate = self.schedule(epoch) * self.factor


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


class Ramp(keras.callbacks.Callback):
    """Moves a variable in a straight line from `first` to `last`, over `epochs` epochs from `first_epoch` on."""

    def __init__(self, variable, first, last, first_epoch: int, epochs: int, steps: int, first_step: int = 0):
        super().__init__()
        self.variable, self.first, self.last, self.steps, self.first_step = variable, first, last, steps, first_step
        self.first_epoch, self.epochs, self.epoch = first_epoch, epochs, first_epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        done = self.epoch - self.first_epoch + (self.first_step + batch) / self.steps
        self.variable.assign(self.first + (self.last - self.first) * min(done / self.epochs, 1.0))

    def on_epoch_end(self, epoch, logs=None):
        self.first_step = 0


class OptimizerWeightDecay(keras.callbacks.Callback):
    """Kept for old notebooks: our SGDW and AdamW follow the learning rate by themselves, so this changes nothing."""

    def __init__(self, lr_base=None, wd_base=None, is_lr_on_batch=False):
        super().__init__()
        log.warning(
            "OptimizerWeightDecay is not needed: optimizers.SGDW and AdamW keep weight_decay / learning_rate constant"
        )


# ------------------------------------------------------------------------------------------------------------ history


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
        """`loss` without its regularisation, as the seed kept it."""
        row = {key: float(value) for key, value in logs.items()}
        if "regular_loss" in row:
            row["loss"] -= row["regular_loss"]
        return row

    def write(self):
        if self.file:
            write_json(self.file, self.history)


def write_json(path: str, value) -> None:
    """Write beside the file and rename: a crash leaves the old one."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path + ".part", "w") as file:
        json.dump(value, file)
    os.replace(path + ".part", path)


# ----------------------------------------------------------------------------------------------------------- stopping


class Gently_stop_callback(keras.callbacks.Callback):
    """Stops at the end of the epoch once asked to: by the first Ctrl-C or SIGTERM, or by a file named `stop_file`.

    Works in terminals, Jupyter and on Windows; never waits for an answer. A second Ctrl-C stops at once.
    """

    def __init__(self, prompt=None, time_out=None, stop_file=None):
        super().__init__()
        self.stop_file, self.asked, self.before = stop_file, None, {}

    def on_train_begin(self, logs=None):
        self.asked = None
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self.before[number] = signal.signal(number, self._ask)

    def on_train_end(self, logs=None):
        while self.before:
            signal.signal(*self.before.popitem())

    def _ask(self, number, frame):
        if self.asked:
            self.on_train_end()
            raise KeyboardInterrupt
        self.asked = signal.Signals(number).name
        log.warning("%s: stopping at the end of this epoch (again to stop now)", self.asked)

    def on_epoch_end(self, epoch, logs=None):
        if self.stop_file and os.path.exists(self.stop_file):
            self.asked = self.stop_file
            os.remove(self.stop_file)
        if self.asked:
            log.warning("stopped after epoch %d as asked by %s", epoch + 1, self.asked)
            self.model.stop_training = True


class NanError(ArithmeticError):
    """The loss is not finite any more; `where` says where and what, the message also what to do."""

    def __init__(self, where: str):
        super().__init__(
            f"{where}. The last state is from before: try a lower lr_base, a warmup, or a smaller scale, and run the same call "
            "again; look at the batch's images if it stops there again."
        )
        self.where = where


class ExitOnNaN(keras.callbacks.Callback):
    """Raises `NanError` naming stage, epoch, batch and term when a number in `logs` stops being finite."""

    def __init__(self, stage: int = 0, first_step: int = 0):
        super().__init__()
        self.stage, self.first_step, self.epoch = stage, first_step, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        self.first_step = 0

    def on_train_batch_end(self, batch, logs=None):
        bad = [name for name, value in (logs or {}).items() if not np.isfinite(value)]
        if bad:
            batch = self.first_step + batch + 1
            raise NanError(f"sch[{self.stage}], epoch {self.epoch + 1}, batch {batch}: {', '.join(bad)} is not finite")


class Doctor(keras.callbacks.Callback):
    """Says in one line each, in the first hundred batches of a stage, what looks wrong and what to change.

    expected: loss of an untrained model, where one knows it; least: what it has at the least, 0 where nothing is known; alpha:
    margin of the triplet loss, where there is one.
    `findings` keeps what was said.
    """

    BATCHES, WINDOW = 100, 10

    def __init__(self, stage, expected, least, alpha, first_epoch: int, steps: int, first_step: int = 0):
        super().__init__()
        self.stage, self.expected, self.least, self.alpha = stage, expected, least, alpha
        self.first_epoch, self.steps, self.first_step = first_epoch, steps, first_step
        self.values, self.findings, self.total = [], [], 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.seen, self.total = (epoch - self.first_epoch) * self.steps + self.first_step, 0.0

    def on_epoch_end(self, epoch, logs=None):
        self.first_step = 0

    def on_train_batch_end(self, batch, logs=None):
        self.seen += 1
        if self.seen > self.BATCHES or self.seen != len(self.values) + 1 or not logs:
            return  # later than that, or a run that goes on: its beginning was looked at
        total = (logs["loss"] - logs.get("regular_loss", 0.0)) * (batch + 1)  # logs are means over the epoch
        self.values.append(total - self.total)
        self.total = total
        if self.seen == 1:
            self._first()
        elif self.seen == self.BATCHES:
            self._trend()
            self._spread(logs)

    def _say(self, text, *values):
        self.findings.append(text % values)
        log.warning(f"sch[{self.stage}]: {text}", *values)

    def _first(self):
        if self.expected and self.values[0] > 1.5 * self.expected + 1:
            self._say("the first loss is %.1f, an untrained model has about %.1f: are the images normalised, (x − 127.5) / 128, and "
                      "the labels right?", self.values[0], self.expected)  # fmt: skip
        rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        if isinstance(self.model.optimizer, keras.optimizers.Adam) and rate > 0.01:
            self._say("learning rate %g is high for Adam: use lr_base=0.001, or SGD for rates like 0.1", rate)

    def _trend(self):
        first, last = np.mean(self.values[: self.WINDOW]), np.mean(self.values[-self.WINDOW :])
        stuck = last > 0.98 * first and 0 < 0.9 * self.least < last
        if stuck:
            known = f" (an untrained model has {self.least:.1f} or more)"
            self._say("the loss has not begun to fall in %d batches: %.2f, then %.2f%s. Accuracy 0 is normal at first with a margin, a "
                      "level loss is not: try a softmax stage first, 'scale': (16, 64), 'margin': (0, 0.5), or a lower lr_base",
                      len(self.values), first, last, known)  # fmt: skip

    def _spread(self, logs):
        spread, active = logs.get("embedding_spread", 1.0), logs.get("active_triplets")
        triplet = logs.get("triplet_loss", logs["loss"] - logs.get("regular_loss", 0.0))
        if spread < 0.02:
            self._say("all faces fall on nearly one point (embedding_spread %.3f, 1 is wide): lower lr_base, or train with softmax "
                      "before", spread)  # fmt: skip
        elif active is not None and active > 0.95 and self.alpha and abs(triplet / self.alpha - 1) < 0.03:
            self._say("the triplet loss equals its margin %g: the embeddings collapse. Train with softmax or arcface before, use "
                      "SemiHardTripletLoss, or a lower lr_base", self.alpha)  # fmt: skip
        elif active is not None and active < 0.01:
            self._say("only %.1f %% of the triplets are active: raise alpha, or use BatchHardTripletLoss", 100 * active)


class Every(keras.callbacks.Callback):
    """Calls `action(epoch, batches done)` every `batches` batches and at the end of each epoch (epoch + 1, 0).

    Not after an epoch's last batch: evaluation and history still follow it, and nothing would be left to go on with.
    """

    def __init__(self, action, batches: int = 0, first_step: int = 0):
        super().__init__()
        self.action, self.batches, self.first_step, self.epoch = action, batches, first_step, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        done = self.first_step + batch + 1
        last = batch + 1 == (self.params or {}).get("steps")
        if self.batches and done % self.batches == 0 and not last:
            self.action(self.epoch, done)

    def on_epoch_end(self, epoch, logs=None):
        self.first_step = 0
        self.action(epoch + 1, 0)
