"""What is done with Keras's private parts, in one place."""

import contextlib
import math
from collections.abc import Iterable, Iterator

import keras
from keras.src.applications.efficientnet import EfficientNet
from keras.src.backend.common import global_state


def skip_all_reduce(optimizer: keras.optimizers.Optimizer) -> None:
    """Lets an optimizer of one device use its gradients as they are.

    Keras sums them over all replicas of one, by an operation with a gradient of its own: TensorFlow registers that for good, and with it
    the whole graph of the training step, once a stage.

    Args:
        optimizer: Changed in place; one made under a strategy with several replicas is left alone.
    """
    strategy = getattr(optimizer, "_distribution_strategy", None)
    if strategy is not None and strategy.num_replicas_in_sync == 1 and hasattr(optimizer, "_all_reduce_sum_gradients"):
        object.__setattr__(optimizer, "_all_reduce_sum_gradients", list)


def put_state_back(model: keras.Model | None) -> None:
    """On JAX Keras keeps the values outside the variables while `fit` runs; puts them back, so that callbacks may read and write them.

    Args:
        model: The model that `fit` trains.
    """
    sync = getattr(model, "jax_state_sync", None)
    if sync is not None:
        sync()


SETTINGS = ("dtype_policy", "floatx", "epsilon", "image_data_format")


def settings() -> dict[str, object]:
    """Keras's global settings, and whether it runs what files bring along."""
    found = {name: getattr(keras.config, name)() for name in SETTINGS}
    return {**found, "safe_mode": global_state.get_global_attribute("safe_mode_saving")}


def restore_settings(before: dict[str, object]) -> list[str]:
    """Puts settings back that have changed.

    Args:
        before: From `settings`.

    Returns:
        Names of those that had.
    """
    now = settings()
    changed = [name for name in before if now[name] != before[name]]
    for name in changed:
        if name == "safe_mode":
            global_state.set_global_attribute("safe_mode_saving", before[name])
        else:
            getattr(keras.config, f"set_{name}")(before[name])
    return changed


WIDEST = 1 << 28  # elements


def refuse_wide(name: str, shape: Iterable[int | None]) -> None:
    """For layers that a file asks for, before they are made.

    Args:
        name: What the error calls the layer.
        shape: Of its output; None, the batch, counts as one.

    Raises:
        ValueError: An image's output would have more than 2²⁸ elements.
    """
    size = math.prod(n for n in shape if n is not None)
    if size > WIDEST:
        raise ValueError(f"{name} gives {size:,} numbers an image. At most {WIDEST:,} are read from a file.")


@contextlib.contextmanager
def without_values() -> Iterator[None]:
    """Inside the block layers are built with the shapes of their weights and no memory for them."""
    waiting = global_state.get_global_attribute("uninitialized_variables", [])
    global_state.set_global_attribute("uninitialized_variables", [])
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        global_state.set_global_attribute("uninitialized_variables", waiting)


def efficientnet(width: float, depth: float, name: str, **kwargs) -> keras.Model:
    """An EfficientNet of any scale, which Keras builds for its own eight.

    Args:
        width: Factor of the channels of B0.
        depth: Factor of its units.
        name: Of the model.
        **kwargs: As for `keras.applications.EfficientNetB0`.

    Returns:
        The model.
    """
    return EfficientNet(width, depth, default_size=800, name=name, **kwargs)
