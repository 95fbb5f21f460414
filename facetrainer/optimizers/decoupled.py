"""SGDW and AdamW with weight decay as tensorflow_addons means it.

There `w ← w − weight_decay · w` is done beside the step and not multiplied by the learning rate (Loshchilov & Hutter,
arXiv:1711.05101), and a callback keeps weight_decay / learning_rate constant. Keras multiplies by the learning rate, so
its own `weight_decay` is set to weight_decay / first learning rate: the same at every step of any schedule.
"""

import logging

import keras

from facetrainer.optimizers.memory import inner_of

log = logging.getLogger("facetrainer")


class _Decoupled:
    """Mixed into a Keras optimizer: translates `weight_decay` on the way in and out.

    With `decay_on="weights"` it leaves out what has one dimension: biases, normalisation's scales and offsets, slopes of PReLU.
    """

    def __init__(self, weight_decay, learning_rate, decay_on="all", **kwargs):
        if decay_on not in ("all", "weights"):
            raise ValueError(f"{type(self).__name__}: expected decay_on='all' or 'weights'. Received: {decay_on!r}")
        if not isinstance(learning_rate, (int, float)) or learning_rate <= 0:
            raise ValueError(
                f"{type(self).__name__}: expected learning_rate as a number above 0, schedules are Train's lr_* arguments. "
                f"Received: {learning_rate!r}"
            )
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay / learning_rate, **kwargs)
        self.first_rate, self.decoupled_weight_decay, self.decay_on = learning_rate, weight_decay, decay_on

    def get_config(self):
        changed = {
            "weight_decay": self.decoupled_weight_decay,
            "learning_rate": self.first_rate,
            "decay_on": self.decay_on,
        }
        return {**super().get_config(), **changed}

    def _use_weight_decay(self, variable):
        return super()._use_weight_decay(variable) and (self.decay_on == "all" or len(variable.shape) > 1)


@keras.saving.register_keras_serializable("face")
class SGDW(_Decoupled, keras.optimizers.SGD):
    """SGD with decoupled weight decay; arguments as in tensorflow_addons.

    Args:
        weight_decay: Part of a weight that a step takes off at the first learning rate; it goes with the rate. Defaults to `0.0`.
        learning_rate: Number or schedule. Defaults to `0.001`.
        momentum: Of the gradients. Defaults to `0.0`.
        nesterov: Look ahead. Defaults to `False`.
        name: Of the optimizer. Defaults to `"SGDW"`.
        **kwargs: `decay_on` and those of Keras's.
    """

    def __init__(
        self,
        weight_decay: float = 0.0,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.001,
        momentum: float = 0.0,
        nesterov: bool = False,
        name: str = "SGDW",
        **kwargs,
    ):
        super().__init__(weight_decay, learning_rate, momentum=momentum, nesterov=nesterov, name=name, **kwargs)


@keras.saving.register_keras_serializable("face")
class AdamW(_Decoupled, keras.optimizers.Adam):
    """Adam with decoupled weight decay; arguments as in tensorflow_addons.

    Args:
        weight_decay: Part of a weight that a step takes off at the first learning rate; it goes with the rate. Defaults to `0.0`.
        learning_rate: Number or schedule. Defaults to `0.001`.
        beta_1: Of the mean of gradients. Defaults to `0.9`.
        beta_2: Of the mean of their squares. Defaults to `0.999`.
        epsilon: Added to the divisor. Defaults to `1e-07`.
        amsgrad: Use the largest mean of squares so far. Defaults to `False`.
        name: Of the optimizer. Defaults to `"AdamW"`.
        **kwargs: `decay_on` and those of Keras's.
    """

    def __init__(
        self,
        weight_decay: float = 0.0,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        name: str = "AdamW",
        **kwargs,
    ):
        super().__init__(
            weight_decay, learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, amsgrad=amsgrad, name=name, **kwargs
        )  # fmt: skip


def warn_of_rates(optimizer: keras.optimizers.Optimizer, lr_base: float) -> None:
    """Says so where the decay of SGDW or AdamW was meant for quite another learning rate than is trained with.

    Args:
        optimizer: In use.
        lr_base: `Train`'s first rate.
    """
    inner = inner_of(optimizer)
    if not isinstance(inner, _Decoupled) or not inner.decoupled_weight_decay:
        return
    factor = lr_base / inner.first_rate
    if max(factor, 1 / factor) >= 10:
        log.warning(
            "%s(weight_decay=%g, learning_rate=%g) trains with lr_base=%g: weight decay follows the rate and is %g, not %g. Give the "
            "optimizer learning_rate=%g to have the latter.",
            type(inner).__name__, inner.decoupled_weight_decay, inner.first_rate, lr_base, inner.decoupled_weight_decay * factor,
            inner.decoupled_weight_decay, lr_base,
        )  # fmt: skip
