"""`tf.data`: batches of ours as a dataset, and datasets of the user's. TensorFlow is imported when one is made."""

import dataclasses
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

from facetrainer.data.images import scaled
from facetrainer.data.stream import Clock
from facetrainer.utils.tensors import Tensor

log = logging.getLogger("facetrainer")


def is_dataset(thing: object) -> bool:
    """Whether it is a `tf.data.Dataset`; without TensorFlow nothing is."""
    tf = sys.modules.get("tensorflow")
    return tf is not None and isinstance(thing, tf.data.Dataset)


def dataset(begin: Callable[[], Iterator], specification: tuple, steps: int | None = None):
    """Batches as a `tf.data.Dataset`.

    Args:
        begin: Function that returns the iterator of one pass.
        specification: Like a batch, with `(shape, dtype)` in the place of each array.
        steps: Batches of a pass. Defaults to unknown.

    Returns:
        The dataset; each time it is iterated it begins a pass.
    """
    import tensorflow as tf

    (images, named) = specification
    signature = tf.TensorSpec(*images), {name: tf.TensorSpec(*one) for name, one in named.items()}
    whole = tf.data.Dataset.from_generator(begin, output_signature=signature)
    counted = whole if steps is None else whole.apply(tf.data.experimental.assert_cardinality(steps))
    return counted.prefetch(1)


def normalise(images: Tensor) -> Tensor:
    """The input of every model here.

    Args:
        images: uint8, 0 to 255: numpy array or tensor of TensorFlow.

    Returns:
        float32, `(x − 127.5) / 128`.
    """
    import tensorflow as tf

    return scaled(tf.cast(images, tf.float32))


@dataclasses.dataclass
class ReadyFaces:
    """A `tf.data.Dataset` of `(images, labels)` or `(images, (embeddings, labels))`, as it is.

    Args:
        dataset: Finite, batched; labels integers `(B,)` or one-hot `(B, classes)`; floating-point images are normalised already.
        classes: How many there are; counted unless given. Defaults to `0`.
        skipped: Empty: nothing is left out. Defaults to `<factory>`.
    """

    dataset: Any
    classes: int = 0
    skipped: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        import tensorflow as tf

        self.steps = int(self.dataset.cardinality())
        if self.steps < 0:
            self.steps = sum(1 for _ in self.dataset) if self.steps == tf.data.UNKNOWN_CARDINALITY else 0
        if self.steps == 0:
            raise ValueError("data_path: the dataset is empty or endless. Give it one epoch long, without repeat().")
        self.dataset = self.dataset.map(self._named)
        if not self.classes:
            log.info("counting the classes of the dataset: one pass over its labels")
            self.classes = 1 + max(int(tf.reduce_max(y["labels"])) for _, y in self.dataset)
        self.fingerprint = {"people": self.classes, "steps": self.steps}

    def _named(self, images, labels):
        import tensorflow as tf

        teacher, labels = labels if isinstance(labels, (tuple, list)) else (None, labels)
        if labels.shape.rank == 2:
            self.classes = labels.shape[1]
            labels = tf.argmax(labels, -1)
        named = {"labels": tf.cast(labels, tf.int32)}
        return images, named if teacher is None else {**named, "teacher": teacher}

    @property
    def has_teacher(self):
        """Whether batches bring a teacher's embeddings."""
        return "teacher" in self.dataset.element_spec[1]

    @property
    def teacher_width(self):
        """Length of the teacher's embeddings."""
        return self.dataset.element_spec[1]["teacher"].shape[-1]

    def batches(self, epoch: int = 0, step: int = 0) -> Any:
        """Endless dataset that begins with batch `step`."""
        return self.dataset.skip(step).concatenate(self.dataset.repeat())

    def epochs(self, clock: Clock, steps: int) -> Any:
        """The last `steps` batches, each time it is iterated."""
        import tensorflow as tf

        return self.dataset.skip(self.steps - steps).apply(tf.data.experimental.assert_cardinality(steps))

    @property
    def batch_size(self):
        """Images of a batch; None where they differ."""
        return self.dataset.element_spec[0].shape[0]
