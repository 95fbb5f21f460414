"""Learning rate as a pure function of a fractional epoch: `schedule(12.25)` is the rate a quarter into the thirteenth.

It can be plotted without a model, and stays right when the number of steps an epoch changes between stages.
"""

import bisect
import dataclasses
import math

import numpy as np


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


@dataclasses.dataclass(frozen=True)
class Linear:
    """A straight line from lr_base to lr_min over `length` epochs, step by step, after a linear warmup; then lr_min.

    arcface_torch's PolynomialLRWarmup of power 1 with lr_min = 0, and its num_epoch = warmup + length.
    """

    lr_base: float
    length: float
    lr_min: float = 0.0
    warmup: float = 0

    def __call__(self, epoch):
        if epoch < self.warmup:
            return _warm(self, epoch)
        left = max(1 - (epoch - self.warmup) / self.length, 0.0)
        return self.lr_min + (self.lr_base - self.lr_min) * left


@dataclasses.dataclass(frozen=True)
class Listed:
    """Rates by the epoch that they begin with, as facenet's learning_rate_schedule.txt; training ends before epoch `end`."""

    epochs: tuple[float, ...]
    rates: tuple[float, ...]
    end: float = math.inf
    warmup: float = 0

    def __call__(self, epoch):
        return self.rates[max(bisect.bisect_right(self.epochs, epoch) - 1, 0)]


def read_listed(path: str) -> Listed:
    """Reads lines `epoch: rate`, in order of epochs; a rate of −1 ends the training, # begins a comment.

    Args:
        path: The file.

    Returns:
        The schedule.

    Raises:
        ValueError: A line is something else; the message has its number.
    """
    epochs, rates = [], []
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            text = line.split("#", 1)[0].strip()
            if not text:
                continue
            try:
                epoch, rate = map(float, text.split(":"))
            except ValueError:
                raise ValueError(f"{path}, line {number}: expected 'epoch: rate'. Received: {text!r}") from None
            if epochs and epoch <= epochs[-1]:
                raise ValueError(f"{path}, line {number}: epochs rise. Received: {epoch:g} after {epochs[-1]:g}")
            if rate == -1:
                return _listed(path, epochs, rates, epoch)
            epochs.append(epoch)
            rates.append(rate)
    return _listed(path, epochs, rates, math.inf)


def _listed(path, epochs, rates, end):
    if not rates or min(rates) <= 0:
        raise ValueError(f"{path}: expected rates above 0, and −1 for the end. Received: {rates}")
    return Listed(tuple(epochs), tuple(rates), end)


def _warm(schedule, epoch):
    return schedule.lr_min + (schedule.lr_base - schedule.lr_min) * epoch / schedule.warmup


def read_schedule(
    lr_base=0.001, lr_decay=0.05, lr_decay_steps=0, lr_min=1e-6, lr_warmup_steps=0, steps_per_epoch=1, listed=None
):
    """Train's `lr_*` arguments → schedule; `listed` is one that was read from a file, in their place.

    `lr_decay_steps`: up to 1 exponential by epoch; a list of epochs: steps; above 1 cosine with restarts over so many
    epochs, from 500 on over so many batches, counted with `steps_per_epoch` of the first stage. With `lr_decay="linear"` a
    straight line to lr_min over as many, and no restart.

    Returns:
        Function of the fractional epoch that returns the rate.
    """
    if listed is not None:
        return Listed(**listed)
    if isinstance(lr_decay, str):
        _check_linear(lr_decay, lr_decay_steps)
    if isinstance(lr_decay_steps, (list, tuple, np.ndarray)):
        return Steps(lr_base, tuple(float(s) for s in lr_decay_steps), lr_decay, 0.0, lr_warmup_steps)
    if lr_decay_steps <= 1:
        return Exponential(lr_base, lr_decay, lr_min, lr_warmup_steps)
    unit = steps_per_epoch if lr_decay_steps >= 500 else 1
    warmup = lr_warmup_steps / unit
    if lr_decay == "linear":
        return Linear(lr_base, lr_decay_steps / unit, lr_min, warmup)
    return Cosine(lr_base, lr_decay_steps / unit, lr_decay, lr_min, warmup)


def _check_linear(lr_decay, lr_decay_steps):
    if lr_decay != "linear":
        raise ValueError(f"lr_decay: expected a number or 'linear'. Received: {lr_decay!r}")
    if isinstance(lr_decay_steps, (list, tuple, np.ndarray)) or lr_decay_steps <= 1:
        raise ValueError(
            f"lr_decay='linear' needs lr_decay_steps above 1, the epochs from the warmup's end to lr_min. Received: {lr_decay_steps!r}"
        )


def exp_scheduler(epoch, lr_base, decay_rate=0.05, lr_min=0, warmup_steps=0):
    """Rate of an epoch under `Exponential`."""
    return Exponential(lr_base, decay_rate, lr_min, warmup_steps)(epoch)


def constant_scheduler(epoch, lr_base, lr_decay_steps, decay_rate=0.1, warmup_steps=0):
    """Rate of an epoch under `Steps`."""
    return Steps(lr_base, tuple(lr_decay_steps), decay_rate, 0.0, warmup_steps)(epoch)
