"""Optimizers that Keras lacks, and what a stage does with any: carried memory, clipping, rates of layers, sharpness-aware steps."""

from facetrainer.optimizers.decoupled import SGDW, AdamW, warn_of_rates
from facetrainer.optimizers.gradients import clip_over_replicas, clip_part, needs_loss_scale, set_layer_rates
from facetrainer.optimizers.memory import build, inner_of, successor
from facetrainer.optimizers.muon import Muon, warn_of_penalty
from facetrainer.optimizers.sharpness import sharpness_aware_step

__all__ = [
    "SGDW",
    "AdamW",
    "Muon",
    "build",
    "clip_over_replicas",
    "clip_part",
    "inner_of",
    "needs_loss_scale",
    "set_layer_rates",
    "sharpness_aware_step",
    "successor",
    "warn_of_penalty",
    "warn_of_rates",
]
