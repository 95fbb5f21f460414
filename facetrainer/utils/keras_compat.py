"""What is done with Keras's private parts, in one place; each does nothing where Keras has changed."""

import keras


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


def put_state_back(model: keras.Model) -> None:
    """On JAX Keras keeps the values outside the variables while `fit` runs; puts them back, so that callbacks may read and write them.

    Args:
        model: The model that `fit` trains.
    """
    sync = getattr(model, "jax_state_sync", None)
    if sync is not None:
        sync()
