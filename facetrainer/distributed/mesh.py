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
        self.shard_classes, self.batch_norm, self._layout = shard_classes, batch_norm, None

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
    def laid_out(self, layout: TensorLayout) -> Iterator[None]:
        """Weights that are made inside the block have this layout."""
        self._layout = layout
        try:
            yield
        finally:
            self._layout = None

    def get_variable_layout(self, variable):
        return self._layout or super().get_variable_layout(variable)


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
    if not 0 <= count <= len(names):
        raise ValueError(f"devices: expected a count from 0 (all) to {len(names)}, the devices here. Received: {count}")
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


def whole(x):
    """A tensor of the batch, all of it on every device where classes are split; else as it is."""
    found = sharding()
    return x if found is None else keras.distribution.distribute_tensor(x, found.layout(*[None] * len(x.shape)))


def by_class(scores):
    """Scores `(batch, classes)`, split by class where classes are; else as they are."""
    found = sharding()
    return scores if found is None else keras.distribution.distribute_tensor(scores, found.layout(None, AXIS))


def spread(model: keras.Model) -> None:
    """Puts the weights of a model that was made outside the scope on all devices.

    Args:
        model: Changed in place.
    """
    found = current()
    for v in model.variables if found is not None else ():
        if v._layout is None:
            v._layout = found.get_variable_layout(v)
            v.assign(v.value)


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
