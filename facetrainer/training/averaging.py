"""Running means of weights (EMA), and where they take the weights' place."""

import contextlib
from collections.abc import Iterator

import keras

from facetrainer import distributed


class Averages:
    """Running means of weights: mean <- momentum * mean + (1 - momentum) * weight.

    Args:
        weights: Keras variables.
        momentum: Float in (0, 1).

    Reference:
        Polyak & Juditsky, SIAM Journal on Control and Optimization 30(4), 1992.
    """

    def __init__(self, weights: list, momentum: float):
        self.momentum, self.weights, self.in_use = momentum, weights, False
        self.means = [_mean_of(w) for w in weights]

    def update(self) -> None:
        """After each training step, inside its graph."""
        for mean, weight in zip(self.means, self.weights, strict=True):
            mean.assign(mean + (1 - self.momentum) * (keras.ops.convert_to_tensor(weight) - mean))

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """The weights are the means inside the block and themselves after it, whatever happens; blocks may be nested."""
        if self.in_use:
            yield
            return
        self._swap()
        self.in_use = True
        try:
            yield
        finally:
            self.in_use = False
            self._swap()

    def keep(self) -> None:
        """Sets the weights to the means."""
        for mean, weight in zip(self.means, self.weights, strict=True):
            weight.assign(_value(mean))

    def _swap(self):
        for mean, weight in zip(self.means, self.weights, strict=True):
            kept = _value(mean)
            mean.assign(_value(weight))
            weight.assign(kept)


def _mean_of(weight):
    options = {"layout": weight._layout} if distributed.current() else {}
    mean = keras.Variable(
        _value(weight),
        trainable=False,
        dtype=weight.dtype,
        aggregation="only_first_replica",
        name=f"{weight.name}_mean",
        **options,
    )
    return distributed.like(mean, weight)


def _value(variable):
    """A copy: JAX would let two variables share one, and a step of training takes the values of both."""
    return keras.ops.copy(variable)
