"""Optimizers that Keras lacks: SGDW and AdamW with weight decay as tensorflow_addons means it.

There `w ← w − weight_decay · w` is done beside the step and not multiplied by the learning rate (Loshchilov & Hutter,
arXiv:1711.05101), and a callback keeps weight_decay / learning_rate constant. Keras multiplies by the learning rate, so
its own `weight_decay` is set to weight_decay / first learning rate: the same at every step of any schedule.
"""

import keras


class _Decoupled:
    """Mixed into a Keras optimizer: translates `weight_decay` on the way in and out."""

    def __init__(self, weight_decay, learning_rate, **kwargs):
        if not isinstance(learning_rate, (int, float)) or learning_rate <= 0:
            raise ValueError(
                f"{type(self).__name__}: expected learning_rate as a number above 0, schedules are Train's lr_* arguments. "
                f"Received: {learning_rate!r}"
            )
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay / learning_rate, **kwargs)
        self.first_rate, self.decoupled_weight_decay = learning_rate, weight_decay

    def get_config(self):
        changed = {"weight_decay": self.decoupled_weight_decay, "learning_rate": self.first_rate}
        return {**super().get_config(), **changed}


@keras.saving.register_keras_serializable("face")
class SGDW(_Decoupled, keras.optimizers.SGD):
    """SGD with decoupled weight decay; arguments as in tensorflow_addons."""

    def __init__(self, weight_decay=0.0, learning_rate=0.001, momentum=0.0, nesterov=False, name="SGDW", **kwargs):
        super().__init__(weight_decay, learning_rate, momentum=momentum, nesterov=nesterov, name=name, **kwargs)


@keras.saving.register_keras_serializable("face")
class AdamW(_Decoupled, keras.optimizers.Adam):
    """Adam with decoupled weight decay; arguments as in tensorflow_addons."""

    def __init__(
        self,
        weight_decay=0.0,
        learning_rate=0.001,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-7,
        amsgrad=False,
        name="AdamW",
        **kwargs,
    ):
        super().__init__(
            weight_decay, learning_rate, beta_1=beta_1, beta_2=beta_2, epsilon=epsilon, amsgrad=amsgrad, name=name, **kwargs
        )  # fmt: skip


def successor(optimizer: keras.optimizers.Optimizer, variables: list) -> keras.optimizers.Optimizer:
    """An optimizer of the same kind for other variables: memory of those that stay is carried over."""
    new = type(optimizer).from_config(optimizer.get_config())
    new.build(variables)
    known = {v.path: v for v in optimizer.variables}
    for v in new.variables:
        if v.path in known and known[v.path].shape == v.shape:
            v.assign(known[v.path])
    return new
