"""Learning rate over time, history, stopping, what is looked at while a stage trains."""

from facetrainer.training.callbacks.clock import Clock, Every, NextEpoch, Timed, Within
from facetrainer.training.callbacks.doctor import Doctor
from facetrainer.training.callbacks.epoch_log import EpochLog
from facetrainer.training.callbacks.history import My_history
from facetrainer.training.callbacks.learning_rate import LearningRate
from facetrainer.training.callbacks.nan import ExitOnNaN, NanError
from facetrainer.training.callbacks.patience import Patience
from facetrainer.training.callbacks.ramp import Ramp
from facetrainer.training.callbacks.schedules import (
    Cosine,
    Exponential,
    Linear,
    Listed,
    Steps,
    constant_scheduler,
    exp_scheduler,
    read_listed,
    read_schedule,
)
from facetrainer.training.callbacks.stopping import Gently_stop_callback

__all__ = [
    "Clock", "Cosine", "Doctor", "EpochLog", "Every", "ExitOnNaN", "Exponential",
    "Gently_stop_callback", "LearningRate", "Linear", "Listed",
    "My_history", "NanError", "NextEpoch", "Patience", "Ramp", "Steps", "Timed", "Within", "constant_scheduler",
    "exp_scheduler", "read_listed", "read_schedule",
]  # fmt: skip
