"""Running means of weights (EMA), and where they take the weights' place."""

import contextlib
from collections.abc import Iterator

import keras


class Averages:
    """Running means of weights: mean <- momentum * mean + (1 - momentum) * weight.

    Args:
        weights: Keras variables.
        momentum: Float in (0, 1).

    Raises:
        ValueError: Keras does not run on TensorFlow.

    Reference:
        Polyak & Juditsky, SIAM Journal on Control and Optimization 30(4), 1992.
    """

    def __init__(self, weights: list, momentum: float):
        if keras.backend.backend() != "tensorflow":
            raise ValueError("'ema' needs the TensorFlow backend. Set KERAS_BACKEND=tensorflow, or leave it out.")
        self.momentum, self.weights, self.in_use = momentum, weights, False
        self.means = [
            keras.Variable(w, trainable=False, dtype=w.dtype, aggregation="only_first_replica", name=f"mean_{i}")
            for i, w in enumerate(weights)
        ]

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
            weight.assign(mean)

    def _swap(self):
        for mean, weight in zip(self.means, self.weights, strict=True):
            kept = keras.ops.convert_to_numpy(mean)
            mean.assign(weight)
            weight.assign(kept)
