"""What happens to gradients before a step: clipping over replicas or of a part, rates of layers, the loss's scale."""

import keras
from keras import ops

from facetrainer.optimizers.memory import inner_of


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
