"""Many views of each image of a dataset, drawn alike every time: what a teacher is asked about and a student learns from."""

from collections.abc import Sequence

import cv2
import numpy as np

from facetrainer.data import augment, images
from facetrainer.data.sources import Source

__all__ = ["Views"]
CHANGES = (augment.flip, augment.Affine(8, 0.12, 0.04), augment.Colour(grey=0.1))


class Views(Source):
    """Each image of a source as it is, then drawn anew `count` − 1 times, encoded as JPEG.

    View `v` of image `i` is sample `v * len(source) + i`. It depends on the seed and its number alone, so that a run that was
    broken off goes on with the same pixels. A blended view is two faces laid over each other, the image's own with the greater
    weight: a face of nobody, for which a teacher has an embedding. Its label is the image's own.

    Args:
        source: Where the images are.
        count: Views of each image, the first of them unchanged.
        blend: Part of the drawn views that are blended with another image. Defaults to `0.5`.
        seed: Of the views. Defaults to `0`.
        size: `(height, width)` of all views. Defaults to `(112, 112)`.
        changes: Augmentations of each drawn view. Defaults to flip, small turns, shifts and sizes, and colours.

    Reference:
        Beyer et al., Knowledge distillation: a good teacher is patient and consistent, CVPR 2022, arXiv:2106.05237.
    """

    def __init__(
        self, source: Source, count: int, blend: float = 0.5, seed: int = 0, size: tuple[int, int] = (112, 112),
        changes: Sequence[augment.Augmentation] = CHANGES,
    ):  # fmt: skip
        self.source, self.count, self.blend, self.seed = source, count, blend, seed
        self.size, self.changes = size, changes
        self.labels, self.class_names = np.tile(source.labels, count), source.class_names

    def name(self, i):
        view, image = divmod(int(i), len(self.source))
        return f"{self.source.name(image)} (view {view})" if view else self.source.name(image)

    def read(self, i):
        view, image = divmod(int(i), len(self.source))
        return images.encode(self._drawn(int(i), image), ".jpg", 95) if view else self.source.read(image)

    def _drawn(self, number, image):
        rng = np.random.default_rng((self.seed, number))
        drawn = self._changed(image, rng)
        if rng.random() >= self.blend:
            return drawn
        other = self._changed(int(rng.integers(len(self.source))), rng)
        share = rng.uniform(0.5, 1)
        return cv2.addWeighted(drawn, share, other, 1 - share, 0)

    def _changed(self, image, rng):
        found = images.decode(self.source.read(image), self.size)
        for change in self.changes:
            found = change(found, rng)
        return found
