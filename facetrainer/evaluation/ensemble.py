"""Several models on parts of an image as one: their embeddings set behind one another."""

import cv2
import numpy as np

from facetrainer.evaluation.interface import image_size, interface

Box = tuple[int, int, int, int]


class Ensemble:
    """A function of normalised images: each model's embedding of its part of the image, of length 1, one behind another.

    Args:
        members: (model as `interface` takes it, (top, left, height, width) in pixels or None for all of the image).
        trusted: Whether model files may run code of their own, see `interface`. Defaults to `False`.

    Raises:
        ValueError: There is no member.

    Reference:
        Liu et al., CVPR 2017, arXiv:1704.08063, MegaFace with three patches.
    """

    def __init__(self, members: list[tuple[object, Box | None]], trusted: bool = False):
        if not members:
            raise ValueError("Ensemble: expected one model or more.")
        self.members = [(interface(model, trusted=trusted), box) for model, box in members]
        self.image_size = image_size(self.members[0][0])

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Images (B, H, W, 3) → (B, sum of the widths).

        Returns:
            float32, the parts' embeddings side by side.

        Raises:
            ValueError: A part reaches beyond the image.
        """
        parts = [np.asarray(embed(_part(images, box, image_size(embed)))) for embed, box in self.members]
        return np.concatenate([one / np.linalg.norm(one, axis=1, keepdims=True) for one in parts], axis=1)


def _part(images, box, size):
    if box is not None:
        top, left, height, width = box
        if (
            min(top, left) < 0
            or min(height, width) < 1
            or top + height > images.shape[1]
            or left + width > images.shape[2]
        ):
            raise ValueError(
                f"patch {box}: expected top, left, height, width inside {images.shape[1]}x{images.shape[2]}"
            )
        images = images[:, top : top + height, left : left + width]
    if images.shape[1:3] == tuple(size):
        return images
    return np.stack([cv2.resize(image, tuple(size)[::-1]) for image in np.asarray(images)])
