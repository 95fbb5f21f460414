"""Classes drawn at random without repeats, at a cost that grows with how many are drawn and not with how many there are."""

import math

import keras
from keras import ops

ROUNDS = 6


def functions(classes: int, seed: keras.random.SeedGenerator, parts: int = 1):
    """What `permuted` shuffles by.

    Args:
        classes: Number of classes.
        seed: Advances.
        parts: Number of shuffles. Defaults to `1`.

    Returns:
        `(parts, ROUNDS, ⌈√classes⌉)`, int32.
    """
    side = math.isqrt(classes - 1) + 1
    return keras.random.randint((parts, ROUNDS, side), 0, side, dtype="int32", seed=seed)


def permuted(places, functions, classes: int):
    """What stands at some places of the shuffled classes: a Feistel network of random functions on pairs (id // side, id % side).

    Args:
        places: int32, below `classes`.
        functions: `(ROUNDS, side)`.
        classes: Number of classes; results beyond it are shuffled on until they are below, which keeps them apart.

    Returns:
        Class ids, as many as places.

    Reference:
        Black and Rogaway, "Ciphers with arbitrary finite domains", CT-RSA 2002, methods 2 and 3.
    """
    side = functions.shape[1]

    def shuffled(x):
        high, low = x // side, x % side
        for i in range(ROUNDS):
            high, low = low, (high + ops.take(functions[i], low)) % side
        return high * side + low

    def on(x):
        return (ops.where(x < classes, x, shuffled(x)),)

    return ops.while_loop(lambda x: ops.any(x >= classes), on, (shuffled(places),))[0]


def drawn(labels, functions, size: int, classes: int, real=None, spare: int = 0):
    """Classes of a step: each label, and others at random.

    Args:
        labels: `(N,)`, int32; those of `classes` or above are none of these classes.
        functions: `(ROUNDS, side)`.
        size: How many to draw, at least as many as there are different labels.
        classes: Number of classes.
        real: Ids from here on are drawn last. Defaults to none.
        spare: How many such ids there may be. Defaults to `0`.

    Returns:
        `(size,)` sorted ids, no two alike.
    """
    labels = ops.sort(labels)
    others = permuted(ops.arange(min(size + spare, classes), dtype="int32"), functions, classes)
    known = ops.take(labels, ops.minimum(ops.searchsorted(labels, others), labels.shape[0] - 1)) == others
    again = ops.concatenate([labels[:1] >= classes, (labels[1:] == labels[:-1]) | (labels[1:] >= classes)])
    ids, late = ops.concatenate([labels, others]), ops.cast(ops.concatenate([again, known]), "int32") * 2
    if real is not None:
        late = ops.maximum(late, ops.cast(ids >= real, "int32"))
    order = ops.argsort(late * ids.shape[0] + ops.arange(ids.shape[0], dtype="int32"))
    return ops.sort(ops.take(ids, order[:size]))
