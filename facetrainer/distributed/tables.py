"""Tables with rows for each class, which several devices may share: how they are made, and what files hold of them."""

import dataclasses
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.distribution import TensorLayout

from facetrainer.distributed.mesh import AXIS, Devices, sharding


class Padded(keras.initializers.Initializer):
    """Values of another initializer, and zeros behind them: the same table on any number of devices.

    Args:
        initializer: Of the values.
        shape: Of the values.
    """

    def __init__(self, initializer, shape: tuple[int, ...]):
        self.initializer, self.shape = keras.initializers.get(initializer), shape

    def __call__(self, shape, dtype=None):
        behind = [(0, size - part) for size, part in zip(shape, self.shape, strict=True)]
        return ops.pad(self.initializer(self.shape, dtype=dtype), behind)


def add_table(
    layer: keras.layers.Layer, shape: tuple, axis: int, initializer, each: int = 1, **kwargs
) -> keras.Variable:
    """`layer.add_weight` for a weight with rows for each class, split over the devices where classes are.

    The number of classes is filled up to a multiple of the devices with rows of zeros.

    Args:
        layer: Gets the weight.
        shape: Without the filling.
        axis: That of the classes.
        initializer: Of the weight.
        each: Rows of a class. Defaults to `1`.
        **kwargs: Further arguments of `add_weight`.

    Returns:
        The weight.
    """
    found = sharding()
    if found is None:
        return layer.add_weight(shape, initializer, **kwargs)
    rows = Rows(tuple(shape), axis, each)
    with found.laid_out(rows.layout(found)):
        weight = layer.add_weight(rows.filled(found.count), Padded(initializer, shape), **kwargs)
    weight.table = rows
    return weight


@dataclasses.dataclass(frozen=True)
class Rows:
    """Of a table, what files hold of it.

    Attributes:
        shape: Without the rows that fill it up.
        axis: That of the classes.
        each: Rows of a class.
    """

    shape: tuple[int, ...]
    axis: int
    each: int

    def filled(self, devices: int) -> tuple[int, ...]:
        """The shape on so many devices."""
        return tuple(n + -n % (devices * self.each) if i == self.axis else n for i, n in enumerate(self.shape))

    def trim(self, value):
        """Without the rows that fill it up."""
        return value[tuple(slice(size) for size in self.shape)]

    def layout(self, devices: Devices) -> TensorLayout:
        """Split by class."""
        return devices.layout(*[AXIS if i == self.axis else None for i in range(len(self.shape))])


@dataclasses.dataclass(frozen=True)
class Table:
    """Value of a table as it lies on the devices, for a state that is not gathered.

    Attributes:
        value: `jax.Array`, filled up.
        rows: What of it counts.
    """

    value: Any
    rows: Rows

    @property
    def shape(self) -> tuple[int, ...]:
        """Without the filling."""
        return self.rows.shape


def shape_of(variable: keras.Variable) -> tuple[int, ...]:
    """Shape of a variable in files, without the rows that fill up a table."""
    rows = getattr(variable, "table", None)
    return tuple(variable.shape) if rows is None else rows.shape


def like(variable: keras.Variable, model: keras.Variable) -> keras.Variable:
    """Notes that a variable is a table as `model` is, such as its momentum; returns it."""
    if tuple(variable.shape) == tuple(model.shape) and hasattr(model, "table"):
        variable.table = model.table
    return variable


def value_of(variable: keras.Variable | Table) -> np.ndarray:
    """Value of a variable as files hold it. One that is split over several processes is gathered, by all of them together."""
    if keras.backend.backend() != "jax":
        return ops.convert_to_numpy(variable)
    value, rows = variable.value, variable.rows if isinstance(variable, Table) else getattr(variable, "table", None)
    if not value.is_fully_addressable and not value.is_fully_replicated:
        from jax.experimental import multihost_utils

        value = multihost_utils.process_allgather(value, tiled=True)
    value = ops.convert_to_numpy(value)
    return value if rows is None else rows.trim(value)


def kept(variable: keras.Variable) -> np.ndarray | Table:
    """Value of a variable for later: of a table as it lies on the devices, a copy, else as files hold it."""
    rows = getattr(variable, "table", None)
    return value_of(variable) if rows is None else Table(ops.copy(variable.value), rows)


def assign(variable: keras.Variable, value: np.ndarray | Table) -> None:
    """Sets a variable to a value of a file, or to what `kept` gave."""
    if isinstance(value, Table):
        is_same = tuple(value.value.shape) == tuple(variable.shape)
        value = ops.copy(value.value) if is_same else value_of(value)
    if np.shape(value) != tuple(variable.shape) and np.shape(value) == shape_of(variable):
        value = np.pad(value, [(0, size - part) for size, part in zip(variable.shape, np.shape(value), strict=True)])
    variable.assign(value)


def is_finite(variable: keras.Variable) -> bool:
    """Whether no number of a variable is NaN or infinite."""
    if not keras.backend.is_float_dtype(variable.dtype):
        return True
    if keras.backend.backend() != "jax" or variable.value.is_fully_addressable:
        return bool(np.isfinite(ops.convert_to_numpy(variable)).all())
    return bool(ops.all(ops.isfinite(variable.value)))


class WithTables:
    """Mixed into a layer that has tables: files hold them without the rows that fill them up."""

    def save_own_variables(self, store):
        """Saves tables whole, whatever devices hold them."""
        for i, v in enumerate(self._trainable_variables + self._non_trainable_variables):
            store[f"{i}"] = value_of(v)

    def load_own_variables(self, store):
        """Loads what `save_own_variables` saved."""
        self._check_load_own_variables(store)
        for i, v in enumerate(self._trainable_variables + self._non_trainable_variables):
            assign(v, store[f"{i}"])
