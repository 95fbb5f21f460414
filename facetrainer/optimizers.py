"""Optimizers that Keras lacks: SGDW and AdamW with weight decay as tensorflow_addons means it.

There `w ← w − weight_decay · w` is done beside the step and not multiplied by the learning rate (Loshchilov & Hutter,
arXiv:1711.05101), and a callback keeps weight_decay / learning_rate constant. Keras multiplies by the learning rate, so
its own `weight_decay` is set to weight_decay / first learning rate: the same at every step of any schedule.
"""

import logging
import types
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from facetrainer import distributed
from facetrainer.utils.keras_compat import skip_all_reduce

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


def successor(
    template: keras.optimizers.Optimizer, variables: list, memory_of: keras.optimizers.Optimizer | None = None,
    loss_scale: bool = False, forget: str | None = None, **options,
) -> tuple[keras.optimizers.Optimizer, int]:  # fmt: skip
    """An optimizer of the same kind for other variables.

    Args:
        template: Gives class and settings.
        variables: What the new one trains.
        memory_of: The one in use before: its memory of the variables that stay is carried over. Defaults to none.
        loss_scale: Wrap it in Keras's `LossScaleOptimizer`, as float16 needs. Defaults to `False`.
        forget: Part of the names of variables whose memory is not. Defaults to none.
        **options: Settings over those of `template`.

    Returns:
        The optimizer, built, and how many of its slots were carried over.
    """
    inner = inner_of(template)
    new = type(inner).from_config({**inner.get_config(), **options})
    skip_all_reduce(new)
    new = keras.optimizers.LossScaleOptimizer(new) if loss_scale else new
    build(new, variables)
    known = {v.path: v for v in getattr(memory_of, "variables", ()) if not (forget and forget in v.path)}
    carried = [v for v in new.variables if v.path in known and known[v.path].shape == v.shape]
    for v in carried:
        v.assign(known[v.path])
    return new, len(carried)


def build(optimizer: keras.optimizers.Optimizer, variables: list) -> None:
    """As Keras's `build`; memory of a table that is filled up to the number of devices is so in files as well.

    Args:
        optimizer: Not built yet.
        variables: What it trains.
    """
    optimizer.build(variables)
    tables = {v.path.replace("/", "_"): v for v in variables if hasattr(v, "table")}
    for slot in optimizer.variables if tables else ():
        for path, table in tables.items():
            if path in slot.path:
                distributed.like(slot, table)
    if tables:
        object.__setattr__(optimizer, "save_own_variables", types.MethodType(_save_tables, optimizer))
        object.__setattr__(optimizer, "load_own_variables", types.MethodType(_load_tables, optimizer))


def _save_tables(self, store):
    for i, v in enumerate(self.variables):
        store[str(i)] = distributed.value_of(v)


def _load_tables(self, store):
    if len(store.keys()) != len(self.variables):
        type(self).load_own_variables(self, store)  # which says so
        return
    for i, v in enumerate(self.variables):
        distributed.assign(v, store[str(i)])


def inner_of(optimizer: keras.optimizers.Optimizer | None) -> keras.optimizers.Optimizer | None:
    """The optimizer without loss scaling around it.

    Args:
        optimizer: Perhaps with loss scaling around it; None where there is none.

    Returns:
        The optimizer itself.
    """
    return getattr(optimizer, "inner_optimizer", optimizer)


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


def set_layer_rates(optimizer: keras.optimizers.Optimizer, factors: list[float]) -> None:
    """Lets some variables learn more slowly; decoupled weight decay stays that of all.

    Args:
        optimizer: Built; changed in place.
        factors: Of the learning rate, for each variable that it trains.
    """
    inner = inner_of(optimizer)
    plain = inner.update_step

    def update_step(gradient, variable, learning_rate):
        return plain(gradient, variable, learning_rate * factors[inner._get_variable_index(variable)])

    inner.update_step = update_step


def needs_loss_scale(model: keras.Model) -> bool:
    """Whether gradients of a model could vanish in float16.

    Args:
        model: Any.

    Returns:
        True where a layer computes in float16.
    """
    return any(layer.compute_dtype == "float16" for layer in model._flatten_layers())


def clip_over_replicas(optimizer: keras.optimizers.Optimizer, norm: float, mine: list[bool] | None = None) -> None:
    """Clips the gradient of all replicas together to a norm; Keras's `global_clipnorm` clips that of each.

    Args:
        optimizer: Changed in place.
        norm: Largest norm.
        mine: For each variable whether its gradient counts and is clipped. Defaults to all.
    """
    import tensorflow as tf

    inner = inner_of(optimizer)
    plain = inner.apply

    def apply(gradients, trainable_variables=None):
        replicas = tf.distribute.get_replica_context()
        whole = replicas.all_reduce(tf.distribute.ReduceOp.SUM, list(gradients))
        clipped = _clipped(whole, norm, mine or [True] * len(whole))
        plain([one / replicas.num_replicas_in_sync for one in clipped], trainable_variables)

    object.__setattr__(inner, "apply", apply)


def clip_part(optimizer: keras.optimizers.Optimizer, norm: float, mine: list[bool], replicas: int = 1) -> None:
    """Clips the gradient of some variables together to a norm; that of the others is left as it is.

    Args:
        optimizer: Built; changed in place.
        norm: Largest norm.
        mine: For each variable that it trains whether it is one of them.
        replicas: Of the `tf.distribute` strategy. Defaults to `1`.
    """
    if replicas > 1:
        clip_over_replicas(optimizer, norm, mine)
        return
    inner = inner_of(optimizer)
    plain = inner._clip_gradients
    object.__setattr__(inner, "_clip_gradients", lambda gradients: _clipped(plain(gradients), norm, mine))


def _clipped(gradients, norm, mine):
    chosen = [g for g, is_mine in zip(gradients, mine, strict=True) if is_mine]
    length = ops.sqrt(sum(ops.sum(ops.square(ops.cast(g, "float32"))) for g in chosen))
    factor = norm / ops.maximum(length, norm)
    return [g * ops.cast(factor, g.dtype) if is_mine else g for g, is_mine in zip(gradients, mine, strict=True)]


def sharpness_aware_step(model: keras.Model, rho: float, step: Callable, data: Any) -> dict:
    """A training step with the gradient taken at w + ρ g/‖g‖, g the gradient at w.

    The first gradient leaves the losses' memory alone; batch normalisation sees the batch twice. For TensorFlow, on one device;
    `models.stateless` has JAX's.

    Args:
        model: Compiled.
        rho: Radius ρ.
        step: Function of `data` that makes a training step.
        data: A batch.

    Returns:
        The step's logs.

    Raises:
        ValueError: The backend is none of TensorFlow and JAX.

    Reference:
        Foret et al., ICLR 2021, arXiv:2010.01412, algorithm 1.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError("sam_rho needs the TensorFlow or the JAX backend. Leave it at 0.")
    shifts = _climb(model, rho, *keras.utils.unpack_x_y_sample_weight(data)[:2])
    logs = step(data)
    for v, shift in zip(model.trainable_variables, shifts, strict=True):
        v.assign_sub(shift)
    return logs


def _climb(model, rho, images, targets):
    """Move the weights by ρ g/‖g‖ → the moves."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        total, *_ = model.objective(targets, model(images, training=True), training=False)
    variables = model.trainable_variables
    gradients = tape.gradient(total, [v.value for v in variables], unconnected_gradients="zero")
    scale = rho / (tf.linalg.global_norm(gradients) + 1e-12)
    shifts = [tf.convert_to_tensor(g) * tf.cast(scale, g.dtype) for g in gradients]
    for v, shift in zip(variables, shifts, strict=True):
        v.assign_add(shift)
    return shifts
