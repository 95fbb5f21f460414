"""Local binary patterns: texture of a face, described without learning, for sets too small to learn it from.

Ojala et al., IEEE TPAMI 24(7), 2002; on faces, Ahonen et al., IEEE TPAMI 28(12), 2006; many scales and a learnt metric behind them, Chen et
al., CVPR 2013, "Blessing of dimensionality".
"""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from facetrainer.utils.tensors import Tensor

GREY = (0.299, 0.587, 0.114)
SCALES = ((1, 1, 2, 12), (3, 4, 1, 10), (1, 2, 1, 9), (1, 3, 1, 8))


def uniform_patterns() -> np.ndarray:
    """Number of each of the 256 patterns, `(256,)`: 58 that change at most twice on the way round, all others are 58."""
    changes = [sum((code >> k & 1) != (code >> (k + 1) % 8 & 1) for k in range(8)) for code in range(256)]
    found, uniform = np.full(256, 58, np.int32), [code for code in range(256) if changes[code] <= 2]
    found[uniform] = np.arange(len(uniform))
    return found


def neighbours(radius: int) -> list[tuple[int, int]]:
    """The eight places round a pixel, `(down, right)`, in order."""
    angles = [k * math.pi / 4 for k in range(8)]
    return [(round(-radius * math.cos(a)), round(radius * math.sin(a))) for a in angles]


@keras.saving.register_keras_serializable("face")
class LocalBinaryPatterns(layers.Layer):
    """Square roots of the histograms of uniform patterns in the cells of a face, at several scales.

    Args:
        scales: `(up, down, radius, cell)` each: the image is shrunk to up / down of its size, a pixel compared with eight at a radius,
            patterns are counted in squares of `cell` pixels. Defaults to four scales, 8,673 numbers of a 112×112 image.
        margin: Pixels of each border that are not looked at, of the whole image. Defaults to `6`.

    Call arguments:
        images: Normalised images of shape `(batch, height, width, 3)`, RGB.

    Returns:
        Float tensor of shape `(batch, numbers)`.
    """

    def __init__(self, scales: Sequence[Sequence[int]] = SCALES, margin: int = 6, **kwargs):
        super().__init__(**kwargs)
        self.scales, self.margin = tuple(tuple(one) for one in scales), margin

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "scales": [list(one) for one in self.scales], "margin": self.margin}

    def build(self, shape: tuple[int, ...]) -> None:
        """Refuses images too small for a scale."""
        for up, down, radius, cell in self.scales:
            side = (min(shape[1:3]) - 2 * self.margin) * up // down - 2 * radius
            if side < cell:
                raise ValueError(
                    f"LocalBinaryPatterns: at {up}/{down} of their size images of {shape[1]}×{shape[2]} have {side} pixels and no cell of "
                    f"{cell}. Give other scales, or a smaller margin than {self.margin}."
                )

    def call(self, images: Tensor) -> Tensor:
        """Normalised images `(B, H, W, 3)` → counts of patterns in all squares `(B, D)`."""
        grey = ops.sum(ops.cast(images, "float32") * ops.convert_to_tensor(GREY, "float32"), axis=-1, keepdims=True)
        m = self.margin
        grey = grey[:, m : grey.shape[1] - m, m : grey.shape[2] - m]
        return ops.concatenate([self._described(grey, *scale) for scale in self.scales], axis=-1)

    def _described(self, grey, up, down, radius, cell):
        small = ops.repeat(ops.repeat(grey, up, axis=1), up, axis=2) if up > 1 else grey
        small = ops.average_pool(small, down, down, "valid") if down > 1 else small
        patterns = self._patterns(small[..., 0], radius)
        rows, columns = (side // cell for side in patterns.shape[1:])
        cells = ops.reshape(patterns[:, : rows * cell, : columns * cell], (-1, rows, cell, columns, cell))
        cells = ops.reshape(ops.transpose(cells, (0, 1, 3, 2, 4)), (-1, cell * cell))
        counts = ops.sum(ops.one_hot(cells, 59, dtype="float32"), axis=1)
        return ops.reshape(ops.sqrt(counts), (-1, rows * columns * 59))

    def _patterns(self, grey, r):
        """Uniform pattern of each pixel that has all its neighbours; as light as the middle counts as lighter."""
        height, width = grey.shape[1:]
        middle, code = grey[:, r : height - r, r : width - r] - 1e-5, 0
        for k, (down, right) in enumerate(neighbours(r)):
            other = grey[:, r + down : height - r + down, r + right : width - r + right]
            code = code + ops.cast(other >= middle, "int32") * 2**k
        return ops.take(ops.convert_to_tensor(uniform_patterns()), code)


def with_patterns(
    model: keras.Model,
    images: np.ndarray,
    width: int = 350,
    share: float = 1.2,
    scales: Sequence[Sequence[int]] = SCALES,
    seed: int = 0,
) -> keras.Model:
    """A basic model with the principal components of the patterns of its images behind its own embedding, each at length 1.

    What patterns tell and what a network has learnt from few images errs differently. A metric learnt on top (`facetrainer evaluate
    --backend plda`) makes use of both; the plain cosine does not.

    Args:
        model: Basic model.
        images: uint8 training images `(n, height, width, 3)` whose components are taken; five thousand will do. A model for
            images of any size takes those of this size from then on.
        width: Number of components, at most `n`. Defaults to `350`.
        share: Length of the patterns' part; the network's is 1. Defaults to `1.2`.
        scales: See `LocalBinaryPatterns`.
        seed: Of the randomised decomposition. Defaults to `0`.

    Returns:
        A model with an embedding of `D + width`; its own part stays trainable.
    """
    from sklearn.decomposition import PCA

    layer = LocalBinaryPatterns(scales, name="patterns", dtype="float32")
    found = np.concatenate([_of(layer, images[i : i + 64]) for i in range(0, len(images), 64)])
    parts = PCA(width, svd_solver="randomized", random_state=seed).fit(found)
    kernel = (parts.components_ / np.sqrt(parts.singular_values_)[:, None]).T
    dense = layers.Dense(width, name="patterns_pca", trainable=False, dtype="float32")
    inputs = keras.Input(images.shape[1:])
    own, seen = (layers.UnitNormalization(name=f"{whose}_unit", dtype="float32") for whose in ("own", "patterns"))
    x = layers.Rescaling(share, name="patterns_share", dtype="float32")(seen(dense(layer(inputs))))
    dense.set_weights([kernel, -parts.mean_ @ kernel])
    x = layers.Concatenate(name="both", dtype="float32")([own(model(inputs)), x])
    x = layers.Activation("linear", dtype="float32", name="embedding")(x)
    return keras.Model(inputs, x, name=f"{model.name}_patterns")


def _of(layer, images):
    return ops.convert_to_numpy(layer((images.astype("float32") - 127.5) / 128))
