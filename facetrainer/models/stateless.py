"""Training steps on JAX, where a step is a function of the state: what `FaceModel` adds to Keras's own."""

import keras

from facetrainer.models import drawn_rows


def train_step(model, plain, state: tuple, data) -> tuple:
    """Keras's step, with the gradient at the worst point near by where the model has `sam_rho`; running means follow.

    Args:
        model: `FaceModel`.
        plain: Keras's `train_step`.
        state: Values of the trainable, the other, the optimizer's and the metrics' variables.
        data: A batch.

    Returns:
        Logs and the new state.
    """
    found = drawn_rows.tables(model)
    if found:
        drawn, state = draw(model, state, data)
        logs, state = drawn_rows.step(model, found, drawn, lambda *given: descend(model, plain, *given), state, data)
    else:
        logs, state = descend(model, plain, state, data)
    trainable, others, *rest = state
    if model.followers:
        others = averaged(model, trainable, others)
    return logs, (trainable, others, *rest)


def draw(model, state: tuple, data) -> tuple:
    """Classes of a step of the sampled head, and the state after they have been drawn."""
    trainable, others, *rest = state
    with scope_of(model, trainable, others) as scope:
        drawn = model.head.draw(model.labels_in(keras.utils.unpack_x_y_sample_weight(data)[1]))
    return drawn, (trainable, values_in(scope, model.non_trainable_variables), *rest)


def descend(model, plain, state: tuple, data) -> tuple:
    """Keras's step, from the worst point near by where the model has `sam_rho`."""
    shifts, state = climb(model, state, data) if model.sam_rho else (None, state)
    logs, (trainable, *rest) = plain(state, data)
    if shifts:
        trainable = [value - shift for value, shift in zip(trainable, shifts, strict=True)]
    return logs, (trainable, *rest)


def climb(model, state: tuple, data) -> tuple:
    """Moves the weights by ρ g/‖g‖, g the gradient at them → the moves, and the state there.

    The losses' memory stays as it is; batch normalisation's statistics move.

    Returns:
        Moves by weight, and the state.
    """
    import jax

    images, targets = keras.utils.unpack_x_y_sample_weight(data)[:2]

    def objective(trainable, others):
        with scope_of(model, trainable, others) as scope:
            total, *_ = model.objective(targets, model(images, training=True), training=False)
        return total, values_in(scope, model.non_trainable_variables)

    gradients, others = jax.grad(objective, has_aux=True)(*state[:2])
    length = sum(keras.ops.sum(keras.ops.square(keras.ops.cast(one, "float32"))) for one in gradients) ** 0.5
    shifts = [one * keras.ops.cast(model.sam_rho / (length + 1e-12), one.dtype) for one in gradients]
    moved = [value + shift for value, shift in zip(state[0], shifts, strict=True)]
    return shifts, (moved, others, *state[2:])


def averaged(model, trainable: list, others: list) -> list:
    """Values of the other variables after the running means have followed the weights."""
    with scope_of(model, trainable, others) as scope:
        for one in model.followers:
            one.update()
    return values_in(scope, model.non_trainable_variables)


def scope_of(model, trainable: list, others: list) -> keras.StatelessScope:
    """A scope in which the model's variables have these values."""
    pairs = [*zip(model.trainable_variables, trainable, strict=True)]
    return keras.StatelessScope([*pairs, *zip(model.non_trainable_variables, others, strict=True)])


def values_in(scope: keras.StatelessScope, variables: list) -> list:
    """Values of variables at the end of a scope."""
    return [scope.get_current_value(v) for v in variables]
