"""What every loss is: a small Keras layer over named outputs."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from facetrainer import distributed
from facetrainer.utils import registry
from facetrainer.utils.tensors import Tensor

REGISTRY: dict[str, type["FaceLoss"]] = {}
EPSILON = 1e-7


def register(cls: type) -> type:
    """Class decorator: saved models and `losses.get` find the loss by its name.

    Args:
        cls: The loss.

    Returns:
        The same class.
    """
    registry.add(REGISTRY, cls.__name__, cls, "loss")
    return keras.saving.register_keras_serializable("face")(cls)


def slots(losses: "Sequence[FaceLoss]") -> list[str]:
    """Names by which the losses of a stage are known in logs and states: "arcface", "triplet", "triplet_2".

    Args:
        losses: Losses of one stage, in order.

    Returns:
        A name for each, its `short` and a number where that is taken.
    """
    shorts = [loss.short for loss in losses]
    seen = [shorts[: i + 1].count(short) for i, short in enumerate(shorts)]
    return [short if count == 1 else f"{short}_{count}" for short, count in zip(shorts, seen, strict=True)]


class FaceLoss(distributed.WithTables, keras.layers.Layer):
    """Template of all losses.

    reads: names of the outputs that `call(labels, *outputs, training)` wants: "embedding" (B, D), its "norm" (B,), "logits" or
        "cosine" (B, C), "teacher" (B, T). It returns (B,) in float32.
    config: names of the arguments. head: the head that makes what is read, "softmax", "arcface", or None for losses of the
        embedding alone. short: the name in logs and in `sch` strings. notes: numbers for the logs, see `note`.
    As a layer its memory moves with the model, saves with it, and is equal on every replica. Labels are integers 0…C−1.
    """

    reads: tuple[str, ...] = ("embedding",)
    config: tuple[str, ...] = ()
    head: str | None = None
    short: str = "loss"
    notes: tuple[str, ...] = ()
    main_margin: str | None = None  # arguments that a stage may change while it trains
    main_scale: str | None = None
    needs_groups = False
    by_image = False  # whether an image's value depends on its scores alone, as far as the loss has no memory
    class_axes: dict[str, int] = {}  # weight → its axis that counts classes

    def __init__(self, **kwargs):
        super().__init__(dtype="float32", name=self.short, **kwargs)
        self.ramps, self.noted = {}, {}

    def get_config(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.config}

    def describe(self) -> str:
        """The loss with its arguments, as one would write it."""
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.config)})"

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Memory depends on sizes, not on input shapes: `attach` makes it."""
        if config:
            self.attach(**config)

    def get_build_config(self) -> dict[str, Any] | None:
        return getattr(self, "sizes", None)

    def fresh(self) -> "FaceLoss":
        """A copy without memory: the object in the caller's schedule stays as it is."""
        return type(self).from_config(self.get_config())

    def attach(
        self, classes: int, emb_shape: int, teacher_shape: int = 0, ramps: Sequence[str] = (), slot: str | None = None
    ) -> None:
        """Makes the weights of the loss; called once, before training.

        Args:
            classes: Number of classes.
            emb_shape: Width of the embedding.
            teacher_shape: Width of the teacher's embedding; 0 where there is none.
            ramps: Arguments that change while training: `now` reads them from a weight.
            slot: Name of the loss in its stage, see `slots`. Defaults to `short`.
        """
        if not self.built:
            self.name = slot or self.name
            self.sizes = {"classes": int(classes), "emb_shape": int(emb_shape), "teacher_shape": int(teacher_shape),
                          "ramps": list(ramps)}  # fmt: skip
            for name in ramps:
                initial = keras.initializers.Constant(getattr(self, name))
                self.ramps[name] = self.add_weight(
                    (), initial, trainable=False, name=name, aggregation="only_first_replica"
                )
            self.remember(int(classes), int(emb_shape), int(teacher_shape))
            self.built = True

    def remember(self, classes: int, emb_shape: int, teacher_shape: int) -> None:
        """Losses with memory make their weights here."""

    def memory(self, name: str, value: float) -> Tensor:
        """A number that training moves, as a weight of the loss."""
        initial = keras.initializers.Constant(value)
        return self.add_weight((), initial, trainable=False, name=name, aggregation="mean")

    def now(self, name: str) -> Tensor:
        """Value of an argument at this step."""
        return self.ramps.get(name, getattr(self, name))

    def note(self, name: str, value: Tensor) -> None:
        """A number of this step for the logs: a scalar or (B,)."""
        self.noted[name] = ops.reshape(ops.cast(ops.stop_gradient(value), "float32"), (-1,))

    def expected(self, classes: int, emb_shape: int) -> float | None:
        """Value of an untrained model, where a formula tells it."""
        return None


def over_replicas(*values):
    """Tensors of the batch on every replica together, so that each replica moves its memory by the whole batch.

    Args:
        *values: Tensors whose first axis is the batch.

    Returns:
        A tuple of them; on one device as they are.
    """
    if keras.backend.backend() != "tensorflow":
        return values
    import tensorflow as tf

    replicas = tf.distribute.get_replica_context()
    if replicas is None or replicas.num_replicas_in_sync == 1:
        return values
    return tuple(replicas.all_gather(value, axis=0) for value in values)


def sparse(labels: Tensor) -> Tensor:
    """Labels as integers.

    Args:
        labels: Integers `(B,)`, or one-hot `(B, C)`.

    Returns:
        Integers `(B,)`.
    """
    return ops.argmax(labels, -1) if len(labels.shape) == 2 and labels.shape[-1] != 1 else ops.reshape(labels, (-1,))


def own(values, labels):
    """The labelled class's column: (B, C), (B,) → (B,)."""
    return ops.take_along_axis(values, labels[:, None], axis=1)[:, 0]


def cross_entropy(labels: Tensor, logits: Tensor, smoothing: float = 0.0) -> Tensor:
    """Softmax cross-entropy with integer labels.

    With smoothing ε the target is 1 − ε + ε/C on the label and ε/C elsewhere.

    Args:
        labels: Integers `(B,)`.
        logits: `(B, C)`.
        smoothing: ε, spread evenly over all classes. Defaults to `0.0`.

    Returns:
        Values `(B,)`.

    Reference:
        Smoothing: Szegedy et al., arXiv:1512.00567.
    """
    if not smoothing:
        return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    total = ops.logsumexp(logits, axis=-1)
    return total - (1 - smoothing) * own(logits, labels) - smoothing * ops.mean(logits, axis=-1)
