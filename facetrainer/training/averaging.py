"""Means of weights over training (EMA, SWA), and where they take the weights' place."""

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

    @property
    def state(self) -> list[keras.Variable]:
        """All that changes."""
        return self.means

    def update(self) -> None:
        """After each training step, inside its graph."""
        share = self._share()
        for mean, weight in zip(self.means, self.weights, strict=True):
            mean.assign(mean + keras.ops.cast(share, mean.dtype) * (keras.ops.convert_to_tensor(weight) - mean))

    def _share(self):
        """Of the weights, in the means."""
        return 1 - self.momentum

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


class TailMeans(Averages):
    """Means of weights over all steps after the first ones, each alike; up to then the weights themselves.

    Statistics of batch normalisation are averaged as the weights are.

    Args:
        weights: Keras variables.
        after: Number of steps that do not count.

    Reference:
        Izmailov et al., UAI 2018, arXiv:1803.05407, at a rate that goes on falling.
    """

    def __init__(self, weights: list, after: int):
        super().__init__(weights, 0.0)
        self.after = after
        self.steps = keras.Variable(
            0, trainable=False, dtype="int32", aggregation="only_first_replica", name="tail_steps"
        )

    @property
    def state(self) -> list[keras.Variable]:
        return [*self.means, self.steps]

    def _share(self):
        self.steps.assign(self.steps + 1)
        return 1 / keras.ops.cast(keras.ops.maximum(keras.ops.convert_to_tensor(self.steps) - self.after, 1), "float32")


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
