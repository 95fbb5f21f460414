"""Scores in blocks of images, so that no step holds those of the whole batch: on JAX."""

import keras
from keras import ops

from facetrainer.models import drawn_rows


def check(model, count: int) -> None:
    """Refuses blocks where a step does not come out the same with them.

    Args:
        model: `FaceModel`, compiled.
        count: Number of blocks.

    Raises:
        ValueError: The backend, the head or a loss cannot.
    """
    if count == 1 or model.head is None:
        return
    if keras.backend.backend() != "jax":
        raise ValueError(f"logit_blocks={count} needs the JAX backend: set KERAS_BACKEND=jax, or leave it at 1.")
    batchwise = [one for one in (model.head, *model.terms) if not is_by_image(one)]
    if hasattr(model.head, "given") and not drawn_rows.tables(model):
        batchwise.append(model.head)
    if batchwise:
        names = ", ".join(dict.fromkeys(type(one).__name__ for one in batchwise))
        raise ValueError(
            f"logit_blocks={count}: {names} needs the scores of all images of a step together, or remembers something of them. "
            "Leave logit_blocks at 1, or take ArcfaceLoss, CosFaceLoss, MagFaceLoss or SoftmaxLoss."
        )


def is_by_image(part) -> bool:
    """Whether what a head or a loss makes of an image's scores depends on that image alone; losses that read no scores do not matter."""
    if not hasattr(part, "reads"):
        return part.by_image
    changing = [v for v in part.variables if not any(v is ramp for ramp in part.ramps.values())]
    return part.head is None or (part.by_image and not changing)


def in_blocks(function, count: int, tensors: dict):
    """`function(tensors)` for one block of images after the other.

    For the gradient each block is computed once more: what is kept are the tensors and the results.

    Args:
        function: Of a dict of tensors, gives nested dicts of tensors whose first axis is joined.
        count: Number of blocks.
        tensors: Those of the batch.

    Returns:
        What the function gives for the whole batch.

    Raises:
        ValueError: The batch does not divide.
    """
    import jax

    size = next(iter(tensors.values())).shape[0]
    if size % count:
        raise ValueError(
            f"logit_blocks={count}: a step's {size} images do not divide by it. Choose a divisor of {size}."
        )
    cut = {name: ops.reshape(x, (count, size // count, *x.shape[1:])) for name, x in tensors.items()}
    found = jax.lax.map(jax.checkpoint(function), cut)
    return jax.tree.map(lambda x: ops.reshape(x, (-1, *x.shape[2:])), found)
