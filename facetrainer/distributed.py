"""Many devices on JAX: which there are, which part of a batch is whose, and tables that are split by class.

One mesh axis serves both: images are split over it, and so are the classes of a head. Each device computes the embeddings of its images;
all embeddings are then brought to all devices (B, D), each of which scores them against its own classes. What goes between the devices
after that are numbers an image, (B,): maxima, sums, target scores. On TensorFlow `tf.distribute` has several devices; nothing here acts.

Reference:
    An et al., CVPR 2022, arXiv:2203.15565, section 3.1, the same split.
"""

import contextlib
from collections.abc import Iterator

import keras
import numpy as np
from keras import ops
from keras.distribution import TensorLayout

AXIS = "batch"


class Devices(keras.distribution.DataParallel):
    """Devices that share the images of a batch, and the classes where asked; see `devices`.

    Args:
        names: As `keras.distribution.list_devices` gives them.
        shard_classes: Whether tables of classes are split.
        batch_norm: `"whole"` or `"device"`.
    """

    def __init__(self, names: list[str], shard_classes: bool = False, batch_norm: str = "whole"):
        super().__init__(devices=names, auto_shard_dataset=False)
        self.shard_classes, self.batch_norm, self._axes = shard_classes, batch_norm, None

    @property
    def count(self) -> int:
        """Number of devices, of all processes together."""
        return self.device_mesh.devices.size

    @property
    def mesh(self):
        """The `jax.sharding.Mesh`."""
        return self.device_mesh.backend_mesh

    def layout(self, *axes) -> TensorLayout:
        """A tensor's layout: `AXIS` for the dimension that is split, None for the others."""
        return TensorLayout(list(axes), self.device_mesh)

    @contextlib.contextmanager
    def laid_out(self, axes: list) -> Iterator[None]:
        """Weights that are made inside the block are split along these axes."""
        self._axes = axes
        try:
            yield
        finally:
            self._axes = None

    def get_variable_layout(self, variable):
        return super().get_variable_layout(variable) if self._axes is None else self.layout(*self._axes)


@contextlib.contextmanager
def devices(shard_classes: bool = False, batch_norm: str = "whole", count: int = 0) -> Iterator[Devices]:
    """Inside the block models are made, trained and measured on all devices of all processes; on the JAX backend.

    `batch_size` of `Train` is that of each device.

    Args:
        shard_classes: Split what grows with the number of people over the devices: the head's table with its momentum and running means,
            centers, what VPL remembers, and the scores. Defaults to `False`: every device has all of it.
        batch_norm: What batch normalisation takes its means and variances over in training: `"whole"`, the images of all devices, which is
            what one device with the whole batch does; or `"device"`, those of each device, as arcface_torch does. Defaults to `"whole"`.
        count: Number of devices to use, the first ones. Defaults to `0`, all.

    Yields:
        The devices.

    Raises:
        ValueError: Keras does not run on JAX, or there are fewer devices than asked for.
    """
    if keras.backend.backend() != "jax":
        raise ValueError(
            "facetrainer.devices needs the JAX backend: set KERAS_BACKEND=jax before Keras is imported. On TensorFlow, make Train inside "
            "tf.distribute.MirroredStrategy().scope()."
        )
    if batch_norm not in ("whole", "device"):
        raise ValueError(f"devices: expected batch_norm='whole' or 'device'. Received: {batch_norm!r}")
    names = keras.distribution.list_devices()
    if count > len(names):
        raise ValueError(f"devices: expected at most {len(names)} devices, which are here. Received: {count}")
    found = Devices(names[: count or None], shard_classes, batch_norm)
    with found.scope():
        yield found


def current() -> Devices | None:
    """The devices in whose scope this is called."""
    found = keras.distribution.distribution()
    return found if isinstance(found, Devices) else None


def sharding() -> Devices | None:
    """The devices over which classes are split; None where they are not."""
    found = current()
    return found if found is not None and found.shard_classes else None


def norm_parts() -> int:
    """Into how many parts a batch falls for batch normalisation."""
    found = current()
    return found.count if found is not None and found.batch_norm == "device" else 1


def process() -> tuple[int, int]:
    """Number of this process among those of the run, and how many there are."""
    found = current()
    return (0, 1) if found is None else (found._process_id, found.num_processes)


def is_first() -> bool:
    """Whether this process writes the run's files."""
    return process()[0] == 0


# ------------------------------------------------------------------------------------------------------------ tensors


def whole(x):
    """A tensor of the batch, all of it on every device where classes are split; else as it is."""
    found = sharding()
    return x if found is None else keras.distribution.distribute_tensor(x, found.layout(*[None] * len(x.shape)))


def by_class(scores):
    """Scores `(batch, classes)`, split by class where classes are; else as they are."""
    found = sharding()
    return scores if found is None else keras.distribution.distribute_tensor(scores, found.layout(None, AXIS))


# ------------------------------------------------------------------------------------------------------------- tables


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
    padded = tuple(size + -size % (found.count * each) if i == axis else size for i, size in enumerate(shape))
    axes = [AXIS if i == axis else None for i in range(len(shape))]
    with found.laid_out(axes):
        weight = layer.add_weight(padded, Padded(initializer, shape), **kwargs)
    weight.shape_in_files = tuple(shape)
    return weight


def shape_of(variable: keras.Variable) -> tuple[int, ...]:
    """Shape of a variable in files, without the rows that fill up a table."""
    return getattr(variable, "shape_in_files", tuple(variable.shape))


def like(variable: keras.Variable, model: keras.Variable) -> keras.Variable:
    """Notes that a variable is filled up as `model` is, such as its momentum; returns it."""
    if tuple(variable.shape) == tuple(model.shape) and hasattr(model, "shape_in_files"):
        variable.shape_in_files = model.shape_in_files
    return variable


def value_of(variable: keras.Variable) -> np.ndarray:
    """Value of a variable as files hold it. One that is split over several processes is gathered, by all of them together."""
    value = variable.value
    if not getattr(value, "is_fully_addressable", True) and not value.is_fully_replicated:
        from jax.experimental import multihost_utils

        value = multihost_utils.process_allgather(value, tiled=True)
    return ops.convert_to_numpy(value)[tuple(slice(size) for size in shape_of(variable))]


def assign(variable: keras.Variable, value: np.ndarray) -> None:
    """Sets a variable to a value of a file."""
    if np.shape(value) != tuple(variable.shape) and np.shape(value) == shape_of(variable):
        value = np.pad(value, [(0, size - part) for size, part in zip(variable.shape, np.shape(value), strict=True)])
    variable.assign(value)


class WithTables:
    """Mixed into a layer that has tables: files hold them without the rows that fill them up."""

    def save_own_variables(self, store):
        for i, v in enumerate(self._trainable_variables + self._non_trainable_variables):
            store[f"{i}"] = value_of(v)

    def load_own_variables(self, store):
        self._check_load_own_variables(store)
        for i, v in enumerate(self._trainable_variables + self._non_trainable_variables):
            assign(v, store[f"{i}"])


# --------------------------------------------------------------------------------------------------------- strategies


class Scope:
    """What stands in the place of a `tf.distribute.Strategy` on other backends: the devices in whose scope this is made."""

    def __init__(self):
        self.devices = current()
        self.num_replicas_in_sync = self.devices.count if self.devices else 1

    def scope(self) -> contextlib.AbstractContextManager:
        """Makes them current again."""
        return self.devices.scope() if self.devices else contextlib.nullcontext()


def strategy():
    """The `tf.distribute.Strategy` in whose scope this is called, the default one outside; off TensorFlow `Scope`."""
    if keras.backend.backend() != "tensorflow":
        return Scope()
    import tensorflow as tf

    return tf.distribute.get_strategy()
